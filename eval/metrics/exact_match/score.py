"""Exact match and F1 of short answers, as for SQuAD.

Definition: an answer matches if it equals a reference once case, punctuation, the articles a, an, the and extra white
space are gone; F1 is that of the words both have in common. Of several references the best counts; the mean over the
answers. Range: 0 to 1 (SQuAD prints it times 100). Higher is better.
In text with Chinese, Japanese or Korean characters each such character is a word, and their punctuation goes too.
Source: Rajpurkar et al. 2016, https://aclanthology.org/D16-1264; the figures of SQuAD's own script for Latin script.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


class ExactMatch(TypedDict):
    """Share of exact answers and mean F1."""

    exact_match: float
    f1: float


def words_of(text: str) -> list[str]:
    """The words of an answer after SQuAD's normalisation; wide characters are words of their own."""
    text = text.lower().translate(_PUNCTUATION)
    if any(_is_wide(character) for character in text):
        text = "".join(
            f" {c} " if _is_wide(c) else "" if unicodedata.category(c).startswith("P") else c for c in text
        )
    return _ARTICLES.sub(" ", text).split()


def _is_wide(character: str) -> bool:
    return not character.isascii() and unicodedata.east_asian_width(character) in ("W", "F") and character.isalnum()


def exact_match(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> ExactMatch:
    """Mean exact match and F1; one reference or several for each prediction."""
    scores = exact_match_scores(predictions, references)
    if not scores:
        raise ValueError("Exact match needs at least one prediction.")
    return ExactMatch(
        exact_match=sum(score["exact_match"] for score in scores) / len(scores),
        f1=sum(score["f1"] for score in scores) / len(scores),
    )


def exact_match_scores(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> list[ExactMatch]:
    """Exact match (0 or 1) and F1 of each answer, for intervals and paired tests."""
    scores = []
    for text, given in zip(predictions, references, strict=True):
        answer = words_of(text)
        golds = [words_of(gold) for gold in ([given] if isinstance(given, str) else given)]
        if not golds:
            raise ValueError(f"No reference for the answer {text!r}.")
        scores.append(ExactMatch(exact_match=float(answer in golds), f1=max(_f1(answer, gold) for gold in golds)))
    return scores


def _f1(answer: list[str], gold: list[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    n_common = sum((Counter(answer) & Counter(gold)).values())
    return 2 * n_common / (len(answer) + len(gold))
