"""How many threads a pass of one row gets: all of them, or one where something else computes on this machine.

A row of a small model is a hundred products of some ten microseconds, between which all threads wait for each other.
Where each has a core for itself that is worth it; where another program wants the cores too, a thread that is not
running holds up all others each time, and one alone is several times as fast. Nothing tells which it is but the clock.
"""

import ctypes
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from llm_app.engine.packed import PackedLinear

MOST_ROWS = 2  # of a pass whose threads are chosen: with more, they have more to do between two waits
LOOK_EVERY = 64  # passes between two looks at how the other number of threads does now
LOOK_PASSES = 4  # of a look: the first has to wake or to make the threads
SLOWER, SOONEST = 1.3, 8  # passes so much slower than they were are a reason to look, after so many of them
FULL = torch.get_num_threads()


def use_all_threads() -> None:
    """For a thread that is about to compute much: one that came while a chat had one thread would keep that one."""
    torch.set_num_threads(FULL)


def _pause() -> Callable[[int], int] | None:
    """The function of GNU's OpenMP that ends the calling thread's team; another OpenMP has no need of it."""
    try:
        library = ctypes.CDLL(torch._C.__file__)
        return None if hasattr(library, "__kmpc_fork_call") else library.omp_pause_resource_all
    except (OSError, AttributeError):
        return None


_PAUSE, _SOFT = _pause(), 1


def end_team() -> None:
    """End the threads that compute for the calling one; its next product makes new ones, in some 50 microseconds.

    Each thread that computes has a team of its own. Once all teams together have more threads than there are cores,
    libgomp no longer lets any wait awake, idle though the others are, and a pass of one row takes half as long again.
    """
    if _PAUSE is not None:
        _PAUSE(_SOFT)


class Pace:
    """Times passes with all threads and with one, and goes on with what was faster. For one thread's use.

    `is_free`: whether the number of threads may change at all; the blocks' kernel gives the same bits with any.
    """

    def __init__(self, *, is_free: bool, clock: Callable[[], float] = time.perf_counter) -> None:
        self._is_free, self._clock = is_free and FULL > 1, clock
        self.n_threads = FULL  # in use
        self._lately: deque[float] = deque(maxlen=LOOK_PASSES)  # seconds of passes with these
        self._usual = math.inf  # seconds, when they were chosen
        self._n_until_look = SOONEST
        self._look: list[float] = []  # seconds of passes with the other number

    @classmethod
    def of(cls, model: nn.Module) -> "Pace":
        """Free where every product of one row goes through blocks, of which a file is made."""
        layers = [module for module in model.modules() if isinstance(module, (nn.Linear, Conv1D))]
        return cls(is_free=all(isinstance(layer, PackedLinear) and layer.tiles.n_bits < 16 for layer in layers))

    @contextmanager
    def passing(self, n_rows: int) -> Iterator[None]:
        """Around one pass; the calling thread has all threads again afterwards."""
        if not self._is_free or n_rows > MOST_ROWS:
            yield
            return
        is_look = self._n_until_look <= 0
        started = self._clock()
        torch.set_num_threads(self._other if is_look else self.n_threads)
        try:
            yield
        finally:
            torch.set_num_threads(FULL)
        (self._look if is_look else self._lately).append(self._clock() - started)
        self._decide()

    @property
    def _other(self) -> int:
        return 1 if self.n_threads == FULL else FULL

    def _decide(self) -> None:
        """Change to what was faster in a look that is over; else see whether it is time for one."""
        usual = min(self._lately)
        if len(self._look) == LOOK_PASSES:
            seconds = min(self._look)
            if seconds < usual:
                self.n_threads, usual = self._other, seconds
                self._lately = deque(self._look, maxlen=LOOK_PASSES)
            self._look, self._usual, self._n_until_look = [], usual, LOOK_EVERY
        elif not self._look:
            self._n_until_look -= 1
            if usual > SLOWER * self._usual and self._n_until_look < LOOK_EVERY - SOONEST:
                self._n_until_look = 0
