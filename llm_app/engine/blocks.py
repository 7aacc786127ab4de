"""Large pieces of memory, used again before the system is asked for more.

Memory that a process has not had before costs more than what is written there: the system gives it page by page, and
a virtual machine may have given what was free to its host. So what is free is held, for a while, and comes in large
pages where Linux has them.
"""

import contextlib
import ctypes
import mmap
import sys
import weakref
from collections import deque
from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

PAGE = 2 << 20  # bytes of a large page
LEAST_BLOCK = 2 * PAGE  # less comes from the heap
MOST_HELD = 256 << 20  # bytes that nobody needs


class _Unused:
    """Blocks that nobody needs any more, for those who ask next.

    Any thread may put one here, in the middle of anything. One that looks while another does may miss a block, and
    take a new one.
    """

    def __init__(self) -> None:
        self._blocks: deque[mmap.mmap] = deque()  # whose operations no other thread comes between

    def put(self, block: mmap.mmap) -> None:
        """The block is free."""
        self._blocks.append(block)
        while self.n_bytes > MOST_HELD:
            self.take()

    def take(self, n_bytes: int | None = None) -> mmap.mmap | None:
        """One of this size, or the one that has been here for longest; None where there is none."""
        for _ in range(len(self._blocks)):
            try:
                block = self._blocks.popleft()
            except IndexError:
                break
            if n_bytes in (None, len(block)):
                return block
            self._blocks.append(block)
        return None

    @property
    def n_bytes(self) -> int:
        """Of all of them."""
        return sum(map(len, list(self._blocks)))

    def clear(self) -> None:
        """Give them to the system."""
        self._blocks.clear()


unused = _Unused()


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Numbers of the kind of `like`, whatever they are. Much memory comes from what is unused, and goes back there.

    Raises: MemoryError, or RuntimeError as torch does.
    """
    found = _from_block(shape, like)
    return like.new_empty(shape) if found is None else found[0]


def zeros(shape: Sequence[int], like: Tensor) -> Tensor:
    """The same, but all 0."""
    found = _from_block(shape, like)
    if found is None:
        return like.new_zeros(shape)
    tensor, is_new = found
    return tensor if is_new else tensor.zero_()


def _from_block(shape: Sequence[int], like: Tensor) -> tuple[Tensor, bool] | None:
    """A tensor in a block of its own, and whether that is new: all 0 then. None for what comes from the heap."""
    n = prod(shape)
    n_bytes = n * like.itemsize
    if like.device.type != "cpu" or n_bytes < LEAST_BLOCK or sys.platform != "linux":
        return None
    step = max(PAGE, 1 << n_bytes.bit_length() - 3)  # few sizes, so that blocks fit others; at most a quarter too large
    length = -(-n_bytes // step) * step
    block = unused.take(length)
    is_new = block is None
    if block is None:
        try:
            block = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"the system has no {n_bytes:,} bytes") from error
        with contextlib.suppress(OSError):  # a kernel without large pages
            block.madvise(mmap.MADV_HUGEPAGE, 0, n_bytes // PAGE * PAGE)  # what is behind takes no more than it needs
    held = np.frombuffer(block, np.uint8, n_bytes)  # the tensor's storage holds it
    weakref.finalize(held, unused.put, block).atexit = False
    return torch.from_numpy(held).view(like.dtype).view(*shape), is_new


def give_back() -> None:
    """Give memory that is free in this process back to the system. Threads that ask for memory meanwhile wait."""
    unused.clear()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # musl has no malloc_trim and gives memory back by itself
            ctypes.CDLL(None).malloc_trim(0)
