"""Differences under chance: answers swapped between the models, samples drawn anew; one task, or several as strata."""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from eval.compare.measure import Measure, NotMeasurable, Unit, Whole
from eval.statistics.intervals import MIN_UNITS
from eval.statistics.resampling import N_RESAMPLES, Array, as_rows, bootstrap_totals, half_totals, mean

N_RESAMPLES_WHOLE = 2_000  # where each resample is scored anew


@dataclass(frozen=True)
class Part:
    """One task's two columns; its weight in the score of all parts, and the passages that its samples share."""

    measured: Measure | Whole
    clusters: Sequence[Hashable] | None
    weight: float = 1.0

    @property
    def scores(self) -> tuple[float, float]:
        """The scores of both sides."""
        measured = self.measured
        if isinstance(measured, Measure):
            first, second = (float(measured.statistic(rows.sum(axis=0))) for rows in measured.rows)
        else:
            first, second = (float(measured.aggregate(values)) for values in measured.values)
        if not (math.isfinite(first) and math.isfinite(second)):
            raise NotMeasurable("the score is too large, or no number", "得分过大，或不是数")
        return first, second

    @property
    def n_samples(self) -> int:
        """Samples that both sides have scored."""
        measured = self.measured
        return len(measured.rows[0] if isinstance(measured, Measure) else measured.values[0])

    @property
    def n_units(self) -> int:
        """What is drawn and swapped as one: passages, or samples where none is shared."""
        return self.n_samples if self.clusters is None else len(set(self.clusters))

    @property
    def is_mean(self) -> bool:
        """Whether the score is the plain mean of the samples' scores."""
        measured = self.measured
        if not isinstance(measured, Measure) or measured.statistic is not mean:
            return False
        return all(bool(np.all(rows[:, 1] == 1)) for rows in measured.rows)


def pooled(parts: Mapping[str, Part]) -> list[Part]:
    """Parts that weigh by their samples: where all are means, all samples as one; else each with that weight."""
    ones = list(parts.values())
    if not all(part.is_mean for part in ones):
        return [Part(part.measured, part.clusters, float(part.n_samples)) for part in ones]
    measures = [part.measured for part in ones if isinstance(part.measured, Measure)]
    clusters: list[Hashable] | None = None
    if any(part.clusters is not None for part in ones):
        # A passage is one of its task; a sample that shares none is one by itself.
        clusters = [
            (name, cluster) for name, part in parts.items() for cluster in part.clusters or range(part.n_samples)
        ]
    rows, each = (
        tuple(np.concatenate([getattr(measured, name)[side] for measured in measures]) for side in (0, 1))
        for name in ("rows", "each")
    )
    is_binary = all(measured.is_binary for measured in measures)
    unit: Unit = "percent" if all(measured.unit == "percent" for measured in measures) else "plain"
    return [Part(Measure((rows[0], rows[1]), mean, unit, (each[0], each[1]), is_binary), clusters)]


def permutation_p(parts: Sequence[Part], observed: float) -> float:
    """How often swapped answers give a weighted difference as large as the observed, either way."""
    n = n_resamples(parts)
    permuted = sum(part.weight * _swapped(part, n, seed) for seed, part in enumerate(parts))
    # One that has no score (a correlation of equal numbers) is as large as any. The margin lets sums that are equal on
    # paper count as equal. The observed order is one of the draws, or else p could be 0.
    n_as_large = np.sum(~(np.abs(permuted) < abs(observed) * (1 - 1e-9) - 1e-15))
    return float((1 + n_as_large) / (1 + n))


def bootstrap_ends(parts: Sequence[Part], observed: float, alpha: float) -> tuple[float, float] | None:
    """Ends of the interval of the weighted difference, each part drawn within itself; None where there are too few.

    Resamples of n units vary less than samples do, by (n - 1) / n; that is made up for part by part, and the
    percentiles are those of Student's t.
    Source: Hesterberg 2015, Am Stat 69:371, for one part and for strata.
    """
    units = [part.n_units for part in parts]
    if sum(units) < MIN_UNITS or min(units) < 2:
        return None
    n = n_resamples(parts)
    strayed = np.zeros(n)
    for seed, part in enumerate(parts):
        first, second = part.scores
        widened = math.sqrt(part.n_units / (part.n_units - 1))
        strayed += part.weight * widened * (_drawn(part, n, seed) - (second - first))
    usable = strayed[np.isfinite(strayed)]
    if len(usable) < n / 2:
        raise NotMeasurable(
            "most resamples have no score; there are too few different samples", "重抽样大多没有得分：不同的样本太少"
        )
    reach = float(scipy.stats.t.ppf(1 - alpha / 2, sum(units) - len(units)))
    low, high = np.quantile(usable, scipy.stats.norm.cdf([-reach, reach]))
    return observed + float(low), observed + float(high)


def n_resamples(parts: Sequence[Part]) -> int:
    """As many as are quick."""
    return N_RESAMPLES if all(isinstance(part.measured, Measure) for part in parts) else N_RESAMPLES_WHOLE


def _swapped(part: Part, n: int, seed: int) -> Array:
    """Differences with the two answers to random samples, or passages, swapped."""
    measured = part.measured
    if isinstance(measured, Measure):
        first, second = (as_rows(rows, part.clusters) for rows in measured.rows)
        moved = half_totals(second - first, n_resamples=n, seed=seed, tries_all=False)[0]
        with np.errstate(all="ignore"):
            return measured.statistic(second.sum(axis=0) - moved) - measured.statistic(first.sum(axis=0) + moved)
    random = np.random.default_rng(seed)
    groups = _groups(part.clusters, part.n_samples)

    def draws() -> Iterator[list[tuple[int, bool]]]:
        for _ in range(n):
            sides = random.integers(2, size=len(groups), dtype=np.int8)
            yield [(i, bool(side)) for group, side in zip(groups, sides, strict=True) for i in group]

    return _scored(measured, draws())


def _drawn(part: Part, n: int, seed: int) -> Array:
    """Differences over samples, or passages, drawn with replacement."""
    measured = part.measured
    if isinstance(measured, Measure):
        first, second = (as_rows(rows, part.clusters) for rows in measured.rows)
        width = first.shape[1]
        totals = bootstrap_totals(np.hstack([first, second]), n_resamples=n, seed=seed)
        with np.errstate(all="ignore"):
            return measured.statistic(totals[:, width:]) - measured.statistic(totals[:, :width])
    random = np.random.default_rng(seed)
    groups = _groups(part.clusters, part.n_samples)

    def draws() -> Iterator[list[tuple[int, bool]]]:
        for _ in range(n):
            yield [(i, False) for group in random.integers(len(groups), size=len(groups)) for i in groups[group]]

    return _scored(measured, draws())


def _scored(whole: Whole, draws: Iterator[list[tuple[int, bool]]]) -> Array:
    """Differences over draws of (sample, whether its two answers are swapped), each scored by `aggregate`."""
    first, second = whole.values
    found = [
        whole.aggregate([first[i] if is_swapped else second[i] for i, is_swapped in draw])
        - whole.aggregate([second[i] if is_swapped else first[i] for i, is_swapped in draw])
        for draw in draws
    ]
    return np.asarray(found, dtype=np.float64)


def _groups(clusters: Sequence[Hashable] | None, n: int) -> list[list[int]]:
    if clusters is None:
        return [[i] for i in range(n)]
    groups: dict[Hashable, list[int]] = {}
    for i, name in enumerate(clusters):
        groups.setdefault(name, []).append(i)
    return list(groups.values())
