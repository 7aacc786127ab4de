"""Which rows each step takes: of like length together, shuffled anew for every epoch, by seed and step alone."""

import math
import random
from collections.abc import Iterator, Sequence

POOL = 50  # batches whose rows are sorted by length together: little padding, and still nearly any company


class Batches:
    """The rows of all steps. Each is seen once an epoch; one batch of an epoch takes what is left."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths, self._size, self._seed = lengths, batch_size, seed
        self.n_an_epoch = math.ceil(len(lengths) / batch_size)
        self._epoch, self._batches = -1, list[list[int]]()

    def n_steps(self, epochs: float) -> int:
        """Steps of the whole run."""
        return max(1, math.ceil(epochs * self.n_an_epoch))

    def rows(self, step: int) -> list[int]:
        """The rows of step `step`, from 0."""
        epoch, place = divmod(step, self.n_an_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._drawn(epoch)
        return self._batches[place]

    def _drawn(self, epoch: int) -> list[list[int]]:
        order = random.Random(f"{self._seed} {epoch}")  # noqa: S311 - an order, not a secret
        rows = list(range(len(self._lengths)))
        order.shuffle(rows)
        batches: list[list[int]] = []
        for start in range(0, len(rows), POOL * self._size):
            pool = sorted(rows[start : start + POOL * self._size], key=lambda row: self._lengths[row])
            batches += [pool[place : place + self._size] for place in range(0, len(pool), self._size)]
        order.shuffle(batches)
        return batches


def passes(lengths: Sequence[int], room: int) -> Iterator[range]:
    """Rows in their order as they go through the model together: padded to the longest, at most `room` tokens.

    A row that is longer than the room goes alone.
    """
    start = 0
    while start < len(lengths):
        end, longest = start + 1, lengths[start]
        while end < len(lengths) and max(longest, lengths[end]) * (end - start + 1) <= room:
            longest = max(longest, lengths[end])
            end += 1
        yield range(start, end)
        start = end
