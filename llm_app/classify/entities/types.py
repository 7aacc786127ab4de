"""What finds entities, and what it says. No third-party imports."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Span:
    """An entity from `start` up to, not with, `end`: words of a sentence, or characters of a text.

    `probability`: mean over its words of the probability of each one's tag.
    """

    start: int
    end: int
    type: str
    probability: float


@dataclass(frozen=True)
class Tagging:
    """A tag in BIO for each word of a sentence, and its probability; `index` is the sentence's place.

    Words that were not read are O with probability 0: `n_cut` of them, since the sentence was too long, and those of
    characters that the tokenizer drops. `n_unknown`: words that the vocabulary does not hold.
    """

    index: int
    tags: tuple[str, ...]
    probabilities: tuple[float, ...]
    n_cut: int = 0
    n_unknown: int = 0


class Tagger(Protocol):
    """Whoever finds entities: a trained encoder, or the baseline."""

    @property
    def types(self) -> tuple[str, ...]:
        """All types of entities that it tells apart."""
        ...

    @property
    def learned(self) -> frozenset[str]:
        """Digests of the sentences that it learned from, as learned.py makes them; empty where nobody knows."""
        ...

    def tag(self, sentences: Sequence[Sequence[str]]) -> Iterator[Tagging]:
        """One tagging a sentence of words, in any order; closing stops between two passes."""
        ...
