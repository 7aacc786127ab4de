"""chrF: F-score of character n-grams of a corpus of translations; with words of order 2 it is chrF++.

Definition: F-beta (beta 2: recall counts double) of 1- to 6-grams of characters, averaged over the orders. Range: 0 to
100. Higher is better. Needs no tokeniser, so that it serves Chinese and Japanese as they are. Quote the signature.
Source: Popovic 2015, https://aclanthology.org/W15-3049, and 2017, https://aclanthology.org/W17-4770; computed by
sacreBLEU, equal to its command line.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.chrf import CHRF


class Chrf(TypedDict):
    """Score, and the signature that lets others repeat it."""

    score: float
    signature: str


def chrf(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    char_order: int = 6,
    word_order: int = 0,
    beta: int = 2,
    lowercase: bool = False,
) -> Chrf:
    """Corpus chrF (chrF++ with word_order=2); one reference or several for each prediction, the best one counts."""
    if not predictions or len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions and {len(references)} references: give one for one.")
    lists = [[given] if isinstance(given, str) else list(given) for given in references]
    if not all(lists):
        raise ValueError(f"No reference for prediction {lists.index([])}.")
    # First references of all, second of all, None where there is none: the way sacreBLEU takes them.
    streams: list[Any] = list(zip_longest(*lists))
    metric = CHRF(char_order=char_order, word_order=word_order, beta=beta, lowercase=lowercase)
    return Chrf(score=metric.corpus_score(predictions, streams).score, signature=str(metric.get_signature()))


def chrf_counts(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> NDArray[np.float64]:
    """Rows (n, 18): for each order the character n-grams of prediction, best reference, and common to both.

    Their sums make up the corpus chrF.
    """
    metric = CHRF()
    lists = [[given] if isinstance(given, str) else list(given) for given in references]
    streams: list[Any] = list(zip_longest(*lists))
    return np.array(metric._extract_corpus_statistics(predictions, streams), dtype=np.float64)


def chrf_of_counts(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corpus chrF of summed counts (..., 18): the `statistic` for bootstrap and permutation tests of chrF."""
    metric = CHRF()

    def score(sums: NDArray[np.float64]) -> float:
        return metric._compute_f_score([int(value) for value in np.rint(sums)])

    scores: NDArray[np.float64] = np.apply_along_axis(score, -1, totals)
    return scores
