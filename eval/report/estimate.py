"""A score with the interval that fits it, from the scores of its samples."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eval.compare.measure import Measure, NotMeasurable, Unit, Whole, measure
from eval.compare.run import Metric
from eval.statistics import Interval, bootstrap_interval, mean_interval, mean_stderr, wilson_interval
from eval.statistics.intervals import MIN_UNITS
from eval.statistics.resampling import as_rows, bootstrap_totals, mean

N_RESAMPLES = 2_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A score; None where it is no finite number. `method` names the interval, and is empty where there is none.

    `stderr` is of what the interval is of: of whole passages where samples share them, `n_clusters` in number.
    """

    value: float | None
    low: float | None
    high: float | None
    stderr: float | None
    method: str
    unit: Unit
    is_binary: bool = False  # every sample is right or wrong
    n_clusters: int | None = None


def estimate(
    metric: Metric, values: Sequence[Any], clusters: Sequence[Hashable] | None = None, *, n_resamples: int = N_RESAMPLES
) -> Estimate | None:
    """Score and 95 % interval; None if what the run holds does not tell how one score is made of many.

    Right or wrong: Wilson's. A mean of other numbers: Student's. Every other score: the bootstrap. Samples that share
    a passage (`clusters`) are drawn together; fewer passages than five give no interval.
    """
    try:
        measured = measure(metric, values, values)
    except NotMeasurable:
        return None
    if isinstance(measured, Whole):
        return _of_whole(measured, clusters, n_resamples)
    rows, n_clusters = measured.rows[0], _number(clusters)
    with np.errstate(all="ignore"):
        value = finite(float(measured.statistic(rows.sum(axis=0))))
    if value is None or not np.isfinite(rows).all():
        return Estimate(value, None, None, None, "", measured.unit, measured.is_binary, n_clusters)
    interval = _interval(measured, clusters, n_resamples)
    low, high = finite(interval.low), finite(interval.high)
    # Resamples of equal scores are all equal, which says nothing about how sure they are.
    has_both = low is not None and high is not None and (low < high or interval.method.endswith("Wilson"))
    return Estimate(
        value, low if has_both else None, high if has_both else None, _stderr(measured, clusters, n_resamples),
        interval.method if has_both else "", measured.unit, measured.is_binary, n_clusters,
    )


def finite(value: Any) -> float | None:
    """A number that JSON has, or None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _number(clusters: Sequence[Hashable] | None) -> int | None:
    return None if clusters is None else len(set(clusters))


def _is_mean(measured: Measure) -> bool:
    return measured.statistic is mean and bool(np.all(measured.rows[0][:, 1] == 1))


def _interval(measured: Measure, clusters: Sequence[Hashable] | None, n_resamples: int) -> Interval:
    rows = measured.rows[0]
    if not _is_mean(measured):
        with np.errstate(all="ignore"):
            return bootstrap_interval(rows, clusters, statistic=measured.statistic, n_resamples=n_resamples)
    scores, n_clusters = rows[:, 0], _number(clusters)
    if measured.is_binary and n_clusters is None:
        return wilson_interval(int(scores.sum()), len(scores))
    if measured.is_binary and scores.min() == scores.max() and n_clusters is not None and n_clusters >= MIN_UNITS:
        # Passages that are all right or all wrong would give no width: each of them counts as one right or wrong.
        found = wilson_interval(n_clusters if scores.min() else 0, n_clusters)
        return replace(found, method="clustered Wilson")
    return mean_interval(scores, clusters)


def _stderr(measured: Measure, clusters: Sequence[Hashable] | None, n_resamples: int) -> float | None:
    """Of a mean by its formula; of another score by drawing passages, None where no two samples share one."""
    rows = measured.rows[0]
    if _is_mean(measured):
        return finite(mean_stderr(rows[:, 0], clusters))
    if clusters is None:
        return None
    with np.errstate(all="ignore"):
        drawn = bootstrap_totals(as_rows(rows, clusters), n_resamples=n_resamples, seed=0)
        return finite(float(np.std(measured.statistic(drawn), ddof=1)))


def _of_whole(measured: Whole, clusters: Sequence[Hashable] | None, n_resamples: int) -> Estimate:
    """Each resample is scored anew. One without a score (a correlation of equal numbers) is in no interval."""
    values = list(measured.values[0])
    value, n_clusters = _scored(measured.aggregate, values), _number(clusters)
    groups: dict[Hashable, list[Any]] = {}
    for name, one in zip(range(len(values)) if clusters is None else clusters, values, strict=True):
        groups.setdefault(name, []).append(one)
    units = list(groups.values())
    random = np.random.default_rng(0)
    draws = (random.integers(len(units), size=len(units)) for _ in range(n_resamples))
    scores = [
        _scored(measured.aggregate, [one for i in drawn for one in units[i]]) for drawn in draws
    ] if value is not None else []
    usable = [score for score in scores if score is not None]
    if len(usable) < max(2, n_resamples / 2) or min(usable) == max(usable):
        return Estimate(value, None, None, None, "", measured.unit, n_clusters=n_clusters)
    stderr = float(np.std(usable, ddof=1))
    if len(units) < MIN_UNITS:
        return Estimate(value, None, None, stderr, "", measured.unit, n_clusters=n_clusters)
    low, high = np.quantile(usable, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    method = "percentile bootstrap" if clusters is None else "clustered percentile bootstrap"
    return Estimate(value, float(low), float(high), stderr, method, measured.unit, n_clusters=n_clusters)


def _scored(aggregate: Callable[[Sequence[Any]], float], values: Sequence[Any]) -> float | None:
    try:
        with np.errstate(all="ignore"):
            return finite(float(aggregate(values)))
    except Exception:  # a task's own function, on samples drawn at random: this draw has no score
        return None
