"""Did it help? Tests for two models, or one model twice, that answered the same samples.

The difference is always second minus first: positive means that the second did better, where higher is better.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from eval.statistics.intervals import MIN_UNITS, Interval, expanded_percentiles
from eval.statistics.resampling import N_RESAMPLES, Array, Statistic, as_rows, bootstrap_totals, half_totals, mean


@dataclass(frozen=True)
class PairedTest:
    """A difference, and how often chance alone would make one as large. n counts samples, or clusters if given."""

    difference: float
    p: float
    n: int
    method: str


@dataclass(frozen=True)
class McNemar:
    """A difference of two accuracies on the same samples, which only the samples that changed can tell."""

    difference: float
    low: float
    high: float
    p: float  # exact: never wrong more often than it says, with few changes less often
    n: int
    n_fixed: int  # first wrong, second right
    n_broken: int  # first right, second wrong
    confidence: float
    method: str = "exact McNemar"


def mcnemar(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> McNemar:
    """Exact two-sided McNemar test on right/wrong answers, with an interval of the difference in accuracy.

    Source: McNemar 1947, Psychometrika 12:153, in its exact binomial form; interval: Bonett and Price 2012, J Educ
    Behav Stat 37:479 (adjusted Wald).
    """
    before, after = _right_or_wrong(first), _right_or_wrong(second)
    n = _same_length(before, after)
    n_fixed, n_broken = int(np.sum(~before & after)), int(np.sum(before & ~after))
    n_changed, fewer = n_fixed + n_broken, min(n_fixed, n_broken)
    p = min(1.0, 2 * float(scipy.stats.binom.cdf(fewer, n_changed, 0.5)))
    # One sample added to either side keeps the interval honest when few or no answers changed.
    fixed, broken = (n_fixed + 1) / (n + 2), (n_broken + 1) / (n + 2)
    middle = fixed - broken
    half = float(scipy.stats.norm.ppf((1 + confidence) / 2)) * float(np.sqrt((fixed + broken - middle**2) / (n + 2)))
    low, high = max(-1.0, middle - half), min(1.0, middle + half)
    return McNemar((n_fixed - n_broken) / n, low, high, p, n, n_fixed, n_broken, confidence)


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    statistic: Statistic = mean,
    confidence: float = 0.95,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Difference of two scores with its percentile interval; the same samples (or clusters) are drawn for both.

    The percentiles lie further out the fewer there are; NaN ends for fewer than MIN_UNITS.
    Source: Koehn 2004, EMNLP; percentiles: see `expanded_percentiles`.
    """
    rows_first, rows_second = _rows_of_both(first, second, clusters)
    n, width = rows_first.shape
    observed = _difference(rows_first.sum(axis=0), rows_second.sum(axis=0), statistic)
    totals = bootstrap_totals(np.hstack([rows_first, rows_second]), n_resamples=n_resamples, seed=seed)
    resampled = _difference(totals[:, :width], totals[:, width:], statistic)
    low, high = np.quantile(resampled, expanded_percentiles(n, confidence)) if n >= MIN_UNITS else (np.nan, np.nan)
    name = "paired bootstrap" if clusters is None else "clustered paired bootstrap"
    return Interval(float(observed), float(low), float(high), n, confidence, name)


def paired_permutation(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    statistic: Statistic = mean,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> PairedTest:
    """Two-sided paired permutation test: if nothing changed, the two answers to a sample may as well be swapped.

    Whole clusters are swapped if given, which keeps the level however few they are: p is then at least 2 / 2**n. All
    swaps are tried when there are no more than n_resamples of them.
    Source: Fisher 1935; approximate randomisation: Noreen 1989, as in sacreBLEU's --paired-ar; few clusters: Canay,
    Romano and Shaikh 2017, Econometrica 85:1013.
    """
    rows_first, rows_second = _rows_of_both(first, second, clusters)
    total_first, total_second = rows_first.sum(axis=0), rows_second.sum(axis=0)
    observed = _difference(total_first, total_second, statistic)
    moved, is_complete = half_totals(rows_second - rows_first, n_resamples=n_resamples, seed=seed)
    permuted = _difference(total_first + moved, total_second - moved, statistic)
    n_as_large = np.sum(_as_large(permuted, observed))
    # The observed order is one of the draws, or else p could be 0.
    p = n_as_large / len(permuted) if is_complete else (1 + n_as_large) / (1 + len(permuted))
    name = "paired permutation" if clusters is None else "clustered paired permutation"
    return PairedTest(float(observed), float(p), len(rows_first), name)


def _rows_of_both(first: ArrayLike, second: ArrayLike, clusters: Sequence[Hashable] | None) -> tuple[Array, Array]:
    _same_length(np.asarray(first), np.asarray(second))
    return as_rows(first, clusters), as_rows(second, clusters)


def _difference(first: Array, second: Array, statistic: Statistic) -> Array:
    return statistic(second) - statistic(first)


def _as_large(differences: Array, observed: Array) -> NDArray[np.bool_]:
    # The margin lets sums that are equal on paper count as equal, whatever the order they were added in.
    return np.abs(differences) >= np.abs(observed) * (1 - 1e-9) - 1e-15


def _right_or_wrong(answers: ArrayLike) -> NDArray[np.bool_]:
    array = np.asarray(answers)
    if not np.isin(array, (0, 1)).all():
        raise ValueError("McNemar's test needs right or wrong (1 or 0); use paired_bootstrap for scores.")
    return array.astype(bool)


def _same_length(first: NDArray[Any], second: NDArray[Any]) -> int:
    if first.shape != second.shape or len(first) == 0:
        raise ValueError(f"A paired test needs the same samples on both sides, not {first.shape} and {second.shape}.")
    return len(first)
