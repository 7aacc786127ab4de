"""A score with the interval that fits it, from the scores of its samples."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.compare.measure import Measure, NotMeasurable, Unit, Whole, measure
from eval.compare.run import Metric
from eval.statistics import Interval, bootstrap_interval, mean_interval, mean_stderr, wilson_interval
from eval.statistics.resampling import mean

N_RESAMPLES = 2_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A score; None where it is no finite number. `method` names the interval, and is empty where there is none."""

    value: float | None
    low: float | None
    high: float | None
    stderr: float | None
    method: str
    unit: Unit
    is_binary: bool = False  # every sample is right or wrong


def estimate(
    metric: Metric, values: Sequence[Any], clusters: Sequence[Hashable] | None = None, *, n_resamples: int = N_RESAMPLES
) -> Estimate | None:
    """Score and 95 % interval; None if what the run holds does not tell how one score is made of many.

    Right or wrong: Wilson's. A mean of other numbers: Student's. Every other score: the bootstrap. Samples that share
    a passage (`clusters`) are drawn together.
    """
    try:
        measured = measure(metric, values, values)
    except NotMeasurable:
        return None
    if isinstance(measured, Whole):
        return _of_whole(measured, n_resamples)
    rows = measured.rows[0]
    with np.errstate(all="ignore"):
        value = finite(float(measured.statistic(rows.sum(axis=0))))
    if value is None or not np.isfinite(rows).all():
        return Estimate(value, None, None, None, "", measured.unit, measured.is_binary)
    interval = _interval(measured, clusters, n_resamples)
    is_mean = measured.statistic is mean and np.all(rows[:, 1] == 1)
    stderr = finite(mean_stderr(rows[:, 0])) if is_mean else None
    low, high = finite(interval.low), finite(interval.high)
    # Resamples of equal scores are all equal, which says nothing about how sure they are.
    has_both = low is not None and high is not None and (low < high or interval.method == "Wilson")
    method = interval.method if has_both else ""
    return Estimate(
        value, low if has_both else None, high if has_both else None, stderr, method, measured.unit, measured.is_binary
    )


def finite(value: Any) -> float | None:
    """A number that JSON has, or None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _interval(measured: Measure, clusters: Sequence[Hashable] | None, n_resamples: int) -> Interval:
    rows = measured.rows[0]
    if measured.statistic is not mean or not np.all(rows[:, 1] == 1):
        with np.errstate(all="ignore"):
            return bootstrap_interval(rows, clusters, statistic=measured.statistic, n_resamples=n_resamples)
    scores = rows[:, 0]
    # Passages that are all right or all wrong would give an interval of no width.
    is_one_sided = scores.min() == scores.max()
    if measured.is_binary and (clusters is None or is_one_sided):
        return wilson_interval(int(scores.sum()), len(scores))
    return mean_interval(scores, clusters)


def _of_whole(measured: Whole, n_resamples: int) -> Estimate:
    """Each resample is scored anew. One without a score (a correlation of equal numbers) is in no interval."""
    values = list(measured.values[0])
    value = _scored(measured.aggregate, values)
    random = np.random.default_rng(0)
    draws = (random.integers(len(values), size=len(values)) for _ in range(n_resamples))
    scores = [_scored(measured.aggregate, [values[i] for i in drawn]) for drawn in draws] if value is not None else []
    usable = [score for score in scores if score is not None]
    if len(usable) < max(2, n_resamples / 2) or min(usable) == max(usable):
        return Estimate(value, None, None, None, "", measured.unit)
    low, high = np.quantile(usable, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    stderr = float(np.std(usable, ddof=1))
    return Estimate(value, float(low), float(high), stderr, "percentile bootstrap", measured.unit)


def _scored(aggregate: Callable[[Sequence[Any]], float], values: Sequence[Any]) -> float | None:
    try:
        with np.errstate(all="ignore"):
            return finite(float(aggregate(values)))
    except Exception:  # a task's own function, on samples drawn at random: this draw has no score
        return None
