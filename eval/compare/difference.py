"""How large is the difference of two scores on the same samples, how sure is it, and what could it have shown?"""

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from eval.compare.measure import Measure, NotMeasurable, Whole
from eval.statistics import (
    detectable_difference,
    detectable_rate_difference,
    mcnemar,
    paired_bootstrap,
    paired_permutation,
    samples_for_difference,
    samples_for_rate_difference,
)
from eval.statistics.resampling import Array

N_RESAMPLES_WHOLE = 2_000  # where each resample is scored anew
POINTS = {"percent": 0.02, "coefficient": 0.02, "hundred": 2.0}  # what "2 points" are; 2 % of the baseline elsewhere


@dataclass(frozen=True)
class Difference:
    """Second minus first, with interval and p-value (not corrected).

    `detectable`: the smallest difference found with 80 % power at this n; `n_needed`: samples to find `points`, the
    difference of 2 points (2 % of the baseline for scores that are no share). None where it cannot be said.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    confidence: float
    p: float
    method: str
    n: int
    n_clusters: int | None
    points: float
    detectable: float | None
    n_needed: int | None


def difference(
    measured: Measure | Whole, clusters: Sequence[Hashable] | None, *, alpha: float, n_tests: int
) -> Difference:
    """The paired test that fits: exact McNemar for right and wrong, else permutation (p) and bootstrap (interval).

    `alpha` is that of all `n_tests` together; figures for planning take the share that one test is sure to get.
    Raises: NotMeasurable if a score is no finite number.
    """
    if isinstance(measured, Measure) and measured.is_binary and clusters is None:
        return _of_rates(measured, alpha, n_tests)
    if isinstance(measured, Measure):
        rows_first, rows_second = measured.rows
        n = len(rows_first)
        first, second = (float(measured.statistic(rows.sum(axis=0))) for rows in measured.rows)
        _check(first, second)
        statistic = measured.statistic
        swapped = paired_permutation(rows_first, rows_second, clusters, statistic=statistic)
        drawn = paired_bootstrap(rows_first, rows_second, clusters, statistic=statistic, confidence=1 - alpha)
        assert drawn.low is not None and drawn.high is not None
        p, low, high = swapped.p, drawn.low, drawn.high
    else:
        n = len(measured.values[0])
        first, second = (float(measured.aggregate(values)) for values in measured.values)
        _check(first, second)
        p, low, high = _resampled(measured, clusters, second - first, alpha)
    _check(low, high)
    # The interval's own width is the standard error that clusters and corpus scores have.
    deviation = (high - low) / 2 / float(stats.norm.ppf(1 - alpha / 2)) * math.sqrt(n)
    points = POINTS.get(measured.unit, 0.02 * abs(first))
    each = alpha / n_tests
    name = "paired permutation, bootstrap interval"
    return Difference(
        first, second, second - first, low, high, 1 - alpha, p, name if clusters is None else f"clustered {name}", n,
        None if clusters is None else len(set(clusters)), points,
        detectable_difference(n, deviation, alpha=each) if deviation > 0 else None,
        samples_for_difference(points, deviation, alpha=each) if deviation > 0 and points > 0 else None,
    )


def _of_rates(measured: Measure, alpha: float, n_tests: int) -> Difference:
    columns = [rows[:, 0] for rows in measured.rows]
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


def _resampled(
    whole: Whole, clusters: Sequence[Hashable] | None, observed: float, alpha: float
) -> tuple[float, float, float]:
    """p of the permutation test and the ends of the bootstrap interval, each resample scored by `aggregate`."""
    first, second = whole.values
    groups = _groups(clusters, len(first))
    random = np.random.default_rng(0)

    def scored(draws: Iterator[list[tuple[int, bool]]]) -> Array:
        """Differences over draws of (sample, whether its two answers are swapped)."""
        found = [
            whole.aggregate([first[i] if is_swapped else second[i] for i, is_swapped in draw])
            - whole.aggregate([second[i] if is_swapped else first[i] for i, is_swapped in draw])
            for draw in draws
        ]
        return np.asarray(found, dtype=np.float64)

    def drawn() -> Iterator[list[tuple[int, bool]]]:
        for _ in range(N_RESAMPLES_WHOLE):
            yield [(i, False) for group in random.integers(len(groups), size=len(groups)) for i in groups[group]]

    def swapped() -> Iterator[list[tuple[int, bool]]]:
        for _ in range(N_RESAMPLES_WHOLE):
            sides = random.integers(2, size=len(groups), dtype=np.int8)
            yield [(i, bool(side)) for group, side in zip(groups, sides, strict=True) for i in group]

    permuted, resampled = scored(swapped()), scored(drawn())
    # A resample that has no score (a correlation of equal numbers) is as large as any, and in no interval.
    n_as_large = np.sum(~(np.abs(permuted) < abs(observed) * (1 - 1e-9) - 1e-15))
    usable = resampled[np.isfinite(resampled)]
    if len(usable) < N_RESAMPLES_WHOLE / 2:
        raise NotMeasurable(
            "most resamples have no score; there are too few different samples", "重抽样大多没有得分：不同的样本太少"
        )
    low, high = np.quantile(usable, [alpha / 2, 1 - alpha / 2])
    return float((1 + n_as_large) / (1 + len(permuted))), float(low), float(high)


def _groups(clusters: Sequence[Hashable] | None, n: int) -> list[list[int]]:
    if clusters is None:
        return [[i] for i in range(n)]
    groups: dict[Hashable, list[int]] = {}
    for i, name in enumerate(clusters):
        groups.setdefault(name, []).append(i)
    return list(groups.values())


def _check(*scores: float) -> None:
    if not all(math.isfinite(score) for score in scores):
        raise NotMeasurable("the score is too large, or no number", "得分过大，或不是数")


