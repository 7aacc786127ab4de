"""Which examples each step takes: shuffled anew for every epoch, decided by the seed and the step's number alone."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from llm_app.training.config import TrainConfig


@dataclass(frozen=True)
class Order:
    """The examples of all steps. The last step of an epoch takes what is left, so each is seen once an epoch."""

    n_examples: int
    n_a_step: int
    seed: int

    @classmethod
    def of(cls, n_examples: int, config: TrainConfig) -> "Order":
        """The order of a run over so many examples."""
        return cls(n_examples, config.batch_size * config.accumulation, config.seed)

    @property
    def n_an_epoch(self) -> int:
        """Steps of one epoch."""
        return math.ceil(self.n_examples / self.n_a_step)

    def n_steps(self, config: TrainConfig) -> int:
        """Steps of the whole run."""
        return config.max_steps or max(1, math.ceil(config.epochs * self.n_an_epoch))

    def examples(self, step: int) -> list[int]:
        """Which examples step `step`, from 0, learns from."""
        epoch, place = divmod(step, self.n_an_epoch)
        shuffled = _shuffled(self.n_examples, self.seed, epoch)
        return list(shuffled[place * self.n_a_step : (place + 1) * self.n_a_step])


@lru_cache(maxsize=1)
def _shuffled(n: int, seed: int, epoch: int) -> tuple[int, ...]:
    """The numbers below n as this epoch takes them; kept, since every step of the epoch asks."""
    shuffled = list(range(n))
    random.Random(f"{seed} {epoch}").shuffle(shuffled)  # noqa: S311 - an order, not a secret
    return tuple(shuffled)


def passes(lengths: Sequence[int], n_a_pass: int, room: int) -> Iterator[range]:
    """The examples of one step as they go through the model together, in their order.

    `n_a_pass` of them at a time, and as many more as all fit into `room` tokens: short examples alone leave a processor
    waiting for the weights.
    """
    start = 0
    while start < len(lengths):
        end, n_tokens = start + n_a_pass, sum(lengths[start : start + n_a_pass])
        while end < len(lengths) and n_tokens + lengths[end] <= room:
            n_tokens += lengths[end]
            end += 1
        yield range(start, min(end, len(lengths)))
        start = end
