"""Scores of predicted numbers: how well they follow the truths, and how far off they are."""

import math
from collections.abc import Sequence

import numpy as np
import scipy

from eval.classification.scores import N_RESAMPLES, Scores
from eval.metrics.sts.score import sts
from eval.statistics import Interval, bootstrap_interval
from eval.statistics.resampling import Array, mean


def regression_scores(answers: Sequence[float], truths: Sequence[float], *, seed: int = 0) -> Scores:
    """Pearson's and Spearman's correlation (left out where one side is constant), mean absolute and squared error.

    Spearman's interval draws rows with the ranks they have among all.
    Raises: ValueError for fewer than two rows, unequal lengths, or numbers that are not finite.
    """
    given, true = np.asarray(answers, dtype=np.float64), np.asarray(truths, dtype=np.float64)
    correlations = sts(list(answers), list(truths))
    figures: dict[str, Interval] = {}
    if math.isfinite(correlations["pearson"]):
        figures["pearson"] = _correlation(given, true, seed)
        figures["spearman"] = _correlation(scipy.stats.rankdata(given), scipy.stats.rankdata(true), seed)
    off = np.abs(given - true)
    figures["mae"] = bootstrap_interval(off, n_resamples=N_RESAMPLES, seed=seed)
    figures["rmse"] = bootstrap_interval(off**2, statistic=root_mean, n_resamples=N_RESAMPLES, seed=seed)
    return Scores(len(true), figures)


def correlation_rows(answers: Array, truths: Array) -> Array:
    """Rows (n, 6) whose sums give Pearson's correlation; centred and scaled, so that nothing cancels out."""
    x, y = ((column - column.mean()) / (column.std() or 1.0) for column in (answers, truths))
    return np.stack([x, y, x * x, y * y, x * y, np.ones(len(x))], axis=1)


def correlation_of_sums(totals: Array) -> Array:
    """Pearson's correlation of sums of `correlation_rows`; 0 where one side is constant."""
    x, y, xx, yy, xy, n = np.moveaxis(totals, -1, 0)
    spread = np.sqrt(np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0))
    return np.divide(n * xy - x * y, spread, out=np.zeros(np.shape(spread)), where=spread > 1e-12)


def root_mean(totals: Array) -> Array:
    """Root of the mean, from totals of (square, 1)."""
    return np.asarray(np.sqrt(mean(totals)))


def _correlation(given: Array, true: Array, seed: int) -> Interval:
    rows = correlation_rows(given, true)
    return bootstrap_interval(rows, statistic=correlation_of_sums, n_resamples=N_RESAMPLES, seed=seed)
