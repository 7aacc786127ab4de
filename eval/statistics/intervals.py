"""How sure is one score: standard errors and confidence intervals, also where samples share a passage."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy  # its parts come when they are used: scipy.stats takes a third of a second
from numpy.typing import ArrayLike

from eval.statistics.resampling import (
    CHUNK_SIZE,
    N_RESAMPLES,
    Array,
    Statistic,
    as_rows,
    bootstrap_totals,
    mean,
    totals_of_draws,
)

# Fewer clusters, or fewer samples to draw from, do not tell how much they vary: no interval is given then.
MIN_UNITS = 5


@dataclass(frozen=True)
class Interval:
    """A score and the range that holds the true one in `confidence` of all repetitions; NaN ends where none is known.

    n counts what was drawn independently: samples, or clusters where they are given.
    """

    estimate: float
    low: float
    high: float
    n: int
    confidence: float
    method: str


def mean_stderr(scores: ArrayLike, clusters: Sequence[Hashable] | None = None) -> float:
    """Standard error of the mean, sd / sqrt(n) with sd over n - 1; NaN for one sample or one cluster.

    With clusters: samples that share a passage, a subject or a prompt are not independent, so that only the spread
    between the groups counts. Groups of one give the plain figure.
    Source: `mean_stderr` of lm-evaluation-harness; clusters: Miller 2024, "Adding Error Bars to Evals", section 2.2,
    with the usual correction g / (g - 1) for g clusters.
    """
    rows = as_rows(scores)
    n, n_clusters = len(rows), len(rows) if clusters is None else len(set(clusters))
    if n_clusters < 2:
        return math.nan
    centred = rows[:, 0] - rows[:, 0].mean()
    residuals = as_rows(centred, clusters)[:, 0]
    return float(np.sqrt(np.sum(residuals**2) * n_clusters / (n_clusters - 1)) / n)


def bootstrap_stderr(rows: ArrayLike, statistic: Statistic = mean, *, n_resamples: int = 100_000) -> float:
    """Standard error of a corpus score by the bootstrap, with the very draws of lm-evaluation-harness.

    Equal to its `bootstrap_stderr` for any statistic that is a function of sums, and quick, since it draws in arrays.
    Source: `_bootstrap_internal` of lm_eval 0.4.13: chunks of 1000, each seeded with its number.
    """
    rows = as_rows(rows)
    n, n_chunk = len(rows), min(1000, n_resamples)
    results: list[Array] = []
    for number in range(n_resamples // n_chunk):
        # Seeded by an array this generator gives the numbers of random.Random(number); `choices` floors them times n.
        generator = np.random.RandomState([number])
        for start in range(0, n_chunk, block := max(1, CHUNK_SIZE // n)):
            uniform = generator.random_sample((min(block, n_chunk - start), n))
            results.append(statistic(totals_of_draws(rows, (uniform * n).astype(np.int64))))
    return float(np.std(np.concatenate(results), ddof=1))


def wilson_interval(n_right: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; honest near 0 and 1, where sd / sqrt(n) is not.

    Source: Wilson 1927, JASA 22:209, without continuity correction.
    """
    if not 0 <= n_right <= n or n == 0:
        raise ValueError(f"{n_right} right of {n} is no proportion.")
    z = _quantile(confidence)
    rate = n_right / n
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # Rounding must not push the ends past the estimate or out of [0, 1].
    low = 0.0 if n_right == 0 else middle - half
    high = 1.0 if n_right == n else middle + half
    return Interval(rate, low, high, n, confidence, "Wilson")


def mean_interval(
    scores: ArrayLike, clusters: Sequence[Hashable] | None = None, *, confidence: float = 0.95
) -> Interval:
    """Student's interval of a mean, from `mean_stderr`; for 0/1 scores prefer Wilson's.

    n - 1 degrees of freedom, n the number of samples, or of clusters. NaN ends for one sample, and for fewer clusters
    than MIN_UNITS. Source: Donald and Lang 2007, Rev Econ Stat 89:221; Cameron, Gelbach and Miller 2008, Rev Econ Stat
    90:414, whose simulations begin at five clusters.
    """
    rows = as_rows(scores)
    n = len(rows) if clusters is None else len(set(clusters))
    middle, stderr = float(rows[:, 0].mean()), mean_stderr(scores, clusters)
    is_enough = n > 1 if clusters is None else n >= MIN_UNITS
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, n - 1)) * stderr if is_enough else math.nan
    return Interval(middle, middle - half, middle + half, n, confidence, "t" if clusters is None else "clustered t")


def bootstrap_interval(
    scores: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    statistic: Statistic = mean,
    method: Literal["percentile", "BCa"] = "BCa",
    confidence: float = 0.95,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of the mean, or of any function of sums over samples; whole clusters are drawn if given.

    BCa corrects for bias and skew. Samples that all score alike give an interval of no width; Wilson's does not. NaN
    ends for fewer samples, or clusters, than MIN_UNITS.
    Source: Efron and Tibshirani 1993, chapters 13 and 14; the same figures as scipy.stats.bootstrap.
    """
    rows = as_rows(scores, clusters)
    estimate = float(statistic(rows.sum(axis=0)))
    resampled = np.sort(statistic(bootstrap_totals(rows, n_resamples=n_resamples, seed=seed)))
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "BCa":
        tails = _bca_tails(tails, estimate, resampled, statistic(rows.sum(axis=0) - rows) if len(rows) > 1 else None)
    low, high = np.quantile(resampled, tails) if len(rows) >= MIN_UNITS else (math.nan, math.nan)
    name = f"{method} bootstrap" if clusters is None else f"clustered {method} bootstrap"
    return Interval(estimate, float(low), float(high), len(rows), confidence, name)


def expanded_percentiles(n: int, confidence: float) -> tuple[float, float]:
    """Which percentiles of a bootstrap over n samples or clusters hold `confidence`: further out, the fewer they are.

    Makes up for resamples that vary less than samples do, by (n - 1) / n, and for a deviation that is itself estimated.
    Source: Hesterberg 2015, Am Stat 69:371 ("expanded percentile interval").
    """
    reach = math.sqrt(n / (n - 1)) * float(scipy.stats.t.ppf((1 + confidence) / 2, n - 1))
    return float(scipy.stats.norm.cdf(-reach)), float(scipy.stats.norm.cdf(reach))


def _bca_tails(tails: Array, estimate: float, resampled: Array, jackknife: Array | None) -> Array:
    """The quantiles that stand for the tails once bias and acceleration are taken into account."""
    n = len(resampled)
    below = (np.searchsorted(resampled, estimate, "left") + np.searchsorted(resampled, estimate, "right")) / 2
    bias = scipy.stats.norm.ppf(np.clip(below, 0.5, n - 0.5) / n)
    acceleration = 0.0
    if jackknife is not None:
        spread = jackknife.mean() - jackknife
        variance = float(np.sum(spread**2))
        acceleration = float(np.sum(spread**3)) / (6 * variance**1.5) if variance > 0 else 0.0
    shifted = bias + scipy.stats.norm.ppf(tails)
    corrected: Array = scipy.stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))
    return corrected


def _quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"A confidence lies between 0 and 1, not at {confidence}.")
    return float(scipy.stats.norm.ppf((1 + confidence) / 2))
