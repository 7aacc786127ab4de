"""How large is the difference of two scores on the same samples, how sure is it, and what could it have shown?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from eval.compare.draws import Part, bootstrap_ends, permutation_p
from eval.compare.measure import Measure, NotMeasurable, Unit
from eval.statistics import (
    detectable_difference,
    detectable_rate_difference,
    mcnemar,
    mean_interval,
    paired_bootstrap,
    paired_permutation,
    samples_for_difference,
    samples_for_rate_difference,
)

POINTS = {"percent": 0.02, "coefficient": 0.02, "hundred": 2.0}  # what "2 points" are; 2 % of the baseline elsewhere


@dataclass(frozen=True)
class Difference:
    """Second minus first, with interval and p-value (not corrected).

    `low` and `high` are None where the samples do not tell how sure it is: they all differ alike, or are about fewer
    than five passages (`n_clusters`; None where no two samples share one). `detectable`: the smallest difference found
    with 80 % power at this n; `n_needed`: samples to find `points`, the difference of 2 points (2 % of the baseline for
    scores that are no share). None where it cannot be said.
    """

    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    confidence: float
    p: float
    method: str
    n: int
    n_clusters: int | None
    points: float
    detectable: float | None
    n_needed: int | None


def difference(parts: Sequence[Part], *, alpha: float, n_tests: int) -> Difference:
    """The paired test that fits one task, or several as one score by their weights.

    Exact McNemar for right and wrong; else permutation (p), with Student's interval for a mean and the bootstrap for
    what is none. Passages are swapped and drawn whole; several tasks each within itself. `alpha` is that of all
    `n_tests` together; figures for planning take the share that one test is sure to get.
    Raises: NotMeasurable if a score is no finite number, or the tasks have no common scale.
    """
    total = sum(part.weight for part in parts)
    parts = [Part(part.measured, part.clusters, part.weight / total) for part in parts]
    unit = common_unit(parts)
    if len(parts) == 1 and parts[0].clusters is None and _is_binary(parts[0]):
        return _of_rates(parts[0], alpha, n_tests)
    scores = [part.scores for part in parts]
    first, second = (sum(part.weight * pair[side] for part, pair in zip(parts, scores, strict=True)) for side in (0, 1))
    n, n_units = sum(part.n_samples for part in parts), sum(part.n_units for part in parts)
    if len(parts) == 1:
        p, ends, method = _of_one(parts[0], second - first, alpha)
    else:
        p, ends = permutation_p(parts, second - first), bootstrap_ends(parts, second - first, alpha)
        method = "stratified paired permutation, bootstrap interval"
    # Samples that all differ alike, but for rounding, do not tell how much others would.
    low, high = ends if ends is not None and ends[1] - ends[0] > 1e-12 * abs(ends[1]) else (None, None)
    # The interval's own width is the standard error that clusters and corpus scores have.
    width = 0.0 if low is None or high is None else high - low
    deviation = width / 2 / float(scipy.stats.t.ppf(1 - alpha / 2, max(1, n_units - len(parts)))) * math.sqrt(n)
    points = POINTS.get(unit, 0.02 * abs(first))
    each = alpha / n_tests
    is_clustered = any(part.clusters is not None for part in parts)
    return Difference(
        first, second, second - first, low, high, 1 - alpha, p, f"clustered {method}" if is_clustered else method, n,
        n_units if is_clustered else None, points,
        detectable_difference(n, deviation, alpha=each) if deviation > 0 else None,
        samples_for_difference(points, deviation, alpha=each) if deviation > 0 and points > 0 else None,
    )


def common_unit(parts: Sequence[Part]) -> Unit:
    """The unit of the weighted score; shares and coefficients both run up to 1.

    Raises: NotMeasurable if there is none.
    """
    units = {part.measured.unit for part in parts}
    if len(units) == 1:
        return units.pop()
    if units <= {"percent", "coefficient"}:
        return "coefficient"
    raise NotMeasurable("the scores of its tasks have no common scale", "各任务的得分没有共同的尺度")


def _of_one(part: Part, observed: float, alpha: float) -> tuple[float, tuple[float, float] | None, str]:
    """p, the ends of the interval, and how both were found."""
    measured = part.measured
    if not isinstance(measured, Measure):
        return (
            permutation_p([part], observed), bootstrap_ends([part], observed, alpha),
            "paired permutation, bootstrap interval",
        )
    first, second = measured.rows
    statistic = measured.statistic
    p = paired_permutation(first, second, part.clusters, statistic=statistic).p
    if part.is_mean:
        drawn = mean_interval(second[:, 0] - first[:, 0], part.clusters, confidence=1 - alpha)
    else:
        drawn = paired_bootstrap(first, second, part.clusters, statistic=statistic, confidence=1 - alpha)
    ends = (drawn.low, drawn.high) if np.isfinite([drawn.low, drawn.high]).all() else None
    return p, ends, f"paired permutation, {'t' if part.is_mean else 'bootstrap'} interval"


def _is_binary(part: Part) -> bool:
    return isinstance(part.measured, Measure) and part.measured.is_binary


def _of_rates(part: Part, alpha: float, n_tests: int) -> Difference:
    assert isinstance(part.measured, Measure)
    columns = [rows[:, 0] for rows in part.measured.rows]
    test = mcnemar(columns[0], columns[1], confidence=1 - alpha)
    # As in the interval, one sample is added to either side: no change among a few is no proof that there are none.
    discordance = (test.n_fixed + test.n_broken + 2) / (test.n + 2)
    points, each = POINTS["percent"], alpha / n_tests
    smallest = detectable_rate_difference(test.n, discordance, alpha=each)
    return Difference(
        float(columns[0].mean()), float(columns[1].mean()), test.difference, test.low, test.high, 1 - alpha, test.p,
        test.method, test.n, None, points,
        smallest if math.isfinite(smallest) else None,
        samples_for_rate_difference(points, max(discordance, points), alpha=each),
    )
