"""Matrices of 4, 8 and 16 bits in the order in which `tile_product` reads them, and products with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numba import carray, cfunc, njit, types
from torch import Tensor

from llm_app.engine.compiled import panels, team
from llm_app.engine.compiled.numbers import PLAIN, rounded, total_rounded
from llm_app.engine.compiled.products import GROUP, STEPS, group_bytes, tile_product
from llm_app.engine.compiled.records import TASK
from llm_app.engine.compiled.vectors import LANES, floats, ints


@dataclass(frozen=True)
class Tiles:
    """A matrix (n_out, n_in) whose numbers are scale * q + offset, with a scale and an offset for each 32 of a row.

    Or in bfloat16, which is 16 bits.
    """

    data: Tensor  # uint8 (n_out / 16, n_in / 32, bytes of a group)
    n_bits: int

    @classmethod
    def of(cls, quants: np.ndarray, scales: np.ndarray, offsets: np.ndarray | None) -> "Tiles":
        """From (n_out, groups, 32) whole numbers: 0 to 15 with offsets, -128 to 127 without; (n_out, groups) others."""
        n_bits = 8 if offsets is None else 4
        headers = [scales] if offsets is None else [scales, offsets]
        parts = [each.astype(np.float16)[..., None].view(np.uint8) for each in headers]
        values = quants if offsets is None else quants[..., :STEPS] | quants[..., STEPS:] << 4
        n_tiles, n_groups = len(quants) // LANES, quants.shape[1]
        # (tiles, lanes, groups, values) to (tiles, groups, values, lanes)
        sides = [
            np.moveaxis(each.reshape(n_tiles, LANES, n_groups, -1, size), 1, 3).reshape(n_tiles, n_groups, -1)
            for each, size in ((values.view(np.uint8), 1), *((part, 2) for part in parts))
        ]
        return cls(torch.from_numpy(np.concatenate([*sides[1:], sides[0]], -1)), n_bits)

    @classmethod
    def of_dense(cls, weight: Tensor) -> "Tiles":
        """From a matrix (n_out, n_in), in bfloat16."""
        n_out, n_in = weight.shape
        sides = weight.detach().to(torch.bfloat16).view(n_out // LANES, LANES, n_in // GROUP, 2, STEPS)
        data = sides.permute(0, 2, 4, 1, 3).contiguous()  # (tiles, groups, steps, lanes, sides)
        return cls(data.view(torch.uint8).view(n_out // LANES, n_in // GROUP, -1), 16)

    @classmethod
    def joined(cls, parts: Sequence["Tiles"]) -> "Tiles":
        """One matrix whose outputs are those of matrices of as many bits, side by side."""
        return cls(torch.cat([part.data for part in parts]), parts[0].n_bits)

    def split(self, sizes: Sequence[int]) -> list["Tiles"]:
        """Matrices of so many outputs each, which share this one's memory."""
        return [Tiles(data, self.n_bits) for data in self.data.split([size // LANES for size in sizes])]

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in)"""
        return self.data.shape[0] * LANES, self.data.shape[1] * GROUP

    def dense(self) -> Tensor:
        """The matrix in float32."""
        if self.n_bits == 16:
            n_tiles, n_groups, _ = self.data.shape
            sides = self.data.view(torch.bfloat16).view(n_tiles, n_groups, STEPS, LANES, 2)
            return sides.permute(0, 3, 1, 4, 2).reshape(self.shape).float()
        n_tiles, n_groups, _ = self.data.shape
        n_headers = 2 if self.n_bits == 4 else 1
        data = self.data.numpy()
        headers = np.ascontiguousarray(data[..., : 2 * LANES * n_headers]).view(np.float16).astype(np.float32)
        scales, *offsets = np.split(headers, n_headers, -1)
        values = data[..., 2 * LANES * n_headers :].reshape(n_tiles, n_groups, -1, LANES)
        quants = np.concatenate([values & 15, values >> 4], 2) if offsets else values.view(np.int8)
        numbers = quants * scales[:, :, None] + (offsets[0][:, :, None] if offsets else 0)
        return torch.from_numpy(np.ascontiguousarray(numbers.transpose(0, 3, 1, 2)).reshape(self.shape))

    def __matmul__(self, x: Tensor) -> Tensor:
        """With x (tokens, n_in), which is rounded to bfloat16: (tokens, n_out) of float32."""
        return self._multiplied(x, blocks_for(len(x)), torch.float32)

    def times_many(self, x: Tensor) -> Tensor:
        """The same for many tokens, whose matrix is unpacked first, and in bfloat16."""
        return self._multiplied(x, panels.blocks_for(len(x)), torch.bfloat16)

    @property
    def suits_many(self) -> bool:
        """Whether `times_many` takes this matrix, and is the way to go on this processor."""
        return panels.SUIT and len(self.data) % 2 == 0

    def _multiplied(self, x: Tensor, blocks: tuple[int, int], dtype: torch.dtype) -> Tensor:
        n_tokens, (n_out, n_in) = len(x), self.shape
        if x.shape != (n_tokens, n_in) or x.device.type != "cpu":
            raise ValueError(f"a matrix {self.shape} on the CPU cannot take {tuple(x.shape)} on {x.device}")
        (block, n_padded), is_many, n_threads = blocks, dtype == torch.bfloat16, team.n_threads()
        x = x.float().contiguous()
        pairs = torch.empty(n_padded, n_in // 2, dtype=torch.int32)
        sums, out = x.new_empty(n_padded, n_in // GROUP), torch.empty(n_padded, n_out, dtype=dtype)
        own_bytes = 2 * n_in // GROUP * panels.TILE_GROUP + block * panels.WIDTH * 4
        own = torch.empty(n_threads * own_bytes if is_many else 0, dtype=torch.uint8)
        task = np.array(
            [(self.data.data_ptr(), self.n_bits, n_in // GROUP, n_out // LANES, out.data_ptr(), n_tokens, n_padded,
              block, own.data_ptr(), own_bytes, (x.data_ptr(), pairs.data_ptr(), sums.data_ptr()))],
            TASK,
        )  # fmt: skip
        team.run(_multiply_many if is_many else _multiply, task.ctypes.data, n_threads)
        return out[:n_tokens]


def blocks_for(n_tokens: int) -> tuple[int, int]:
    """How many tokens are multiplied at once, and how many there are then; the last of them may be none."""
    for block in (1, 2, 4, 8):
        if n_tokens <= block:
            return block, block
    n_padded = {block: -(-n_tokens // block) * block for block in (12, 8)}
    block = min(n_padded, key=lambda block: n_padded[block])
    return block, n_padded[block]


_4x1, _4x2, _4x4, _4x8, _4x12 = (tile_product(4, block) for block in (1, 2, 4, 8, 12))
_8x1, _8x2, _8x4, _8x8, _8x12 = (tile_product(8, block) for block in (1, 2, 4, 8, 12))
_16x1, _16x2, _16x4, _16x8, _16x12 = (tile_product(16, block) for block in (1, 2, 4, 8, 12))


@njit(**PLAIN)
def _multiply_4(tile: int, groups: int, block: int, pairs: int, sums: int, out: int, stride: int) -> None:
    if block == 1:
        _4x1(tile, groups, pairs, sums, out, stride)
    elif block == 2:
        _4x2(tile, groups, pairs, sums, out, stride)
    elif block == 4:
        _4x4(tile, groups, pairs, sums, out, stride)
    elif block == 8:
        _4x8(tile, groups, pairs, sums, out, stride)
    else:
        _4x12(tile, groups, pairs, sums, out, stride)


@njit(**PLAIN)
def _multiply_8(tile: int, groups: int, block: int, pairs: int, sums: int, out: int, stride: int) -> None:
    if block == 1:
        _8x1(tile, groups, pairs, sums, out, stride)
    elif block == 2:
        _8x2(tile, groups, pairs, sums, out, stride)
    elif block == 4:
        _8x4(tile, groups, pairs, sums, out, stride)
    elif block == 8:
        _8x8(tile, groups, pairs, sums, out, stride)
    else:
        _8x12(tile, groups, pairs, sums, out, stride)


@njit(**PLAIN)
def _multiply_16(tile: int, groups: int, block: int, pairs: int, sums: int, out: int, stride: int) -> None:
    if block == 1:
        _16x1(tile, groups, pairs, sums, out, stride)
    elif block == 2:
        _16x2(tile, groups, pairs, sums, out, stride)
    elif block == 4:
        _16x4(tile, groups, pairs, sums, out, stride)
    elif block == 8:
        _16x8(tile, groups, pairs, sums, out, stride)
    else:
        _16x12(tile, groups, pairs, sums, out, stride)


@njit(**PLAIN)
def multiply(tile: int, n_bits: int, groups: int, block: int, n_padded: int, read: Any, out: int, stride: int) -> None:
    """A tile with all tokens; `stride` in bytes."""
    for first in range(0, n_padded, block):
        pairs, sums, to = read.pairs + first * groups * STEPS * 4, read.sums + first * groups * 4, out + first * stride
        if n_bits == 4:
            _multiply_4(tile, groups, block, pairs, sums, to, stride)
        elif n_bits == 8:
            _multiply_8(tile, groups, block, pairs, sums, to, stride)
        else:
            _multiply_16(tile, groups, block, pairs, sums, to, stride)


@njit(**PLAIN)
def pack(x: Any, first: int, end: int, token: int, block: int, to: Any) -> None:
    """Groups `first` to `end` of a token's numbers, float32, to where and how products read them."""
    groups = len(x) // GROUP
    start = (token // block) * groups * block + token % block
    totals = carray(floats(to.sums + token * groups * 4), groups)
    for group in range(first, end):
        pairs = carray(ints(to.pairs + (start + group * block) * STEPS * 4), STEPS)
        for j in range(STEPS):
            low, high = rounded(x[group * GROUP + j]), rounded(x[group * GROUP + STEPS + j])
            pairs[j] = (low >> np.uint32(16)) | high
        totals[group] = total_rounded(x[group * GROUP : (group + 1) * GROUP])


@njit(**PLAIN)
def _pack_all(task: Any) -> None:
    """What products read of all tokens: this thread's groups."""
    n_in = task.groups * GROUP
    first, end = team.share(task.groups)
    for token in range(task.n_tokens):
        pack(carray(floats(task.read.plain + token * n_in * 4), n_in), first, end, token, task.block, task.read)
    team.wait_for_all()


@cfunc(types.void(types.CPointer(numba.from_dtype(TASK))), **PLAIN)
def _multiply(tasks: Any) -> None:
    """A matrix with all tokens."""
    task = carray(tasks, 1)[0]
    groups, n_bits, block = task.groups, task.n_bits, task.block
    _pack_all(task)
    for tile in range(*team.share(task.n_tiles)):
        start, out = task.tiles + tile * groups * group_bytes(n_bits), task.out + tile * LANES * 4
        multiply(start, n_bits, groups, block, task.n_padded, task.read, out, task.n_tiles * LANES * 4)


def _through_panels(tasks: Any) -> None:
    """A matrix with all of many tokens, to bfloat16."""
    task = carray(tasks, 1)[0]
    groups, own = task.groups, task.own + team.number() * task.own_bytes
    made, n_bytes = own + 2 * groups * panels.TILE_GROUP, task.n_tiles * LANES * 2
    _pack_all(task)
    for panel in range(*team.share(task.n_tiles // 2)):
        at = panels.unpacked(task, panel, own)
        for token in range(0, task.n_padded, task.block):
            pairs = task.read.pairs + token * groups * STEPS * 4
            ahead = panels.ahead_of(task, panel, token // task.block)
            panels.multiply_panel(at, groups, task.block, pairs, made, panels.WIDTH * 4, ahead)
            for i in range(min(task.block, task.n_tokens - token)):
                out = task.out + (token + i) * n_bytes + panel * panels.WIDTH * 2
                panels.rounded_to(made + i * panels.WIDTH * 4, out)


_KIND = types.void(types.CPointer(numba.from_dtype(TASK)))
_multiply_many: Any = cfunc(_KIND, **PLAIN)(_through_panels) if panels.SUIT else None
