"""Diversity and repetition of generated text.

Definition: distinct-n, different n-grams over all n-grams of the whole corpus; repeated-n, the share of n-grams of a
text that stood in it before, as the mean over texts that have n-grams. Range: 0 to 1. Higher distinct-n and lower
repeated-n mean more varied text; compare equal amounts of text only, since distinct-n falls with length.
Words are what white space separates, lower-cased; each Chinese, Japanese or Korean character is a word.
Source: Li et al. 2016, https://aclanthology.org/N16-1014; Welleck et al. 2020 (seq-rep-n), arXiv:1908.04319.
"""

import unicodedata
from collections.abc import Sequence
from typing import TypedDict


class Diversity(TypedDict):
    """distinct-1 to -3 of the corpus and repeated 1- to 4-grams within texts; NaN where no text is long enough."""

    distinct_1: float
    distinct_2: float
    distinct_3: float
    repeated_1: float
    repeated_2: float
    repeated_3: float
    repeated_4: float


def words_of(text: str) -> list[str]:
    """Lower-cased words; wide characters are words of their own."""
    if text.isascii():
        return text.lower().split()
    return "".join(f" {c} " if unicodedata.east_asian_width(c) in ("W", "F") else c for c in text.lower()).split()


def distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    """Different n-grams over all n-grams of texts given as words."""
    grams = [gram for words in texts for gram in _grams(words, n)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def repeated(texts: Sequence[Sequence[str]], n: int) -> float:
    """Share of n-grams that stood in the same text before; mean over the texts that have any."""
    shares = [1 - len(set(grams)) / len(grams) for grams in (_grams(words, n) for words in texts) if grams]
    return sum(shares) / len(shares) if shares else float("nan")


def diversity(predictions: Sequence[str]) -> Diversity:
    """Diversity of generated texts. Raises: ValueError for none."""
    if not predictions:
        raise ValueError("Diversity needs at least one text.")
    texts = [words_of(text) for text in predictions]
    return Diversity(
        distinct_1=distinct(texts, 1),
        distinct_2=distinct(texts, 2),
        distinct_3=distinct(texts, 3),
        repeated_1=repeated(texts, 1),
        repeated_2=repeated(texts, 2),
        repeated_3=repeated(texts, 3),
        repeated_4=repeated(texts, 4),
    )


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
