"""Figures and the goals that they are held against."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bound:
    """What a figure must reach, and what it should; at most so much, or with `is_least` at least."""

    figure: str
    must: float
    aim: float
    is_least: bool = False

    def told(self, limit: float) -> str:
        """The limit in words; an endless one says nothing."""
        return f"{'>=' if self.is_least else '<='} {limit:g}" if math.isfinite(limit) else "-"

    def holds(self, value: float, limit: float) -> bool:
        """Whether the value is within the limit."""
        return value >= limit if self.is_least else value <= limit


def line(goal: str, figures: Mapping[str, Any], *bounds: Bound) -> dict[str, Any]:
    """One line of the output. A figure that is None was not measured, and holds nothing."""
    def all_hold(limits: Sequence[float]) -> bool:
        return all(
            figures[bound.figure] is not None and bound.holds(figures[bound.figure], limit)
            for bound, limit in zip(bounds, limits, strict=True)
        )

    must, aim = [bound.must for bound in bounds], [bound.aim for bound in bounds]
    return {
        "goal": goal, **figures,
        "must": {bound.figure: bound.told(bound.must) for bound in bounds},
        "aim": {bound.figure: bound.told(bound.aim) for bound in bounds},
        "held": "no" if not all_hold(must) else "aim" if all_hold(aim) else "must",
    }  # fmt: skip


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many of a hundred do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


def milliseconds(seconds: float) -> float:
    """Rounded to a tenth."""
    return round(1000 * seconds, 1)


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each figure the median over the rounds."""
    return {name: round(statistics.median(told[name] for told in rounds), 3) for name in rounds[0]}


def slope(places: Sequence[float], values: Sequence[float]) -> float:
    """How much the values grow for each unit of their places: a line of least squares."""
    return statistics.linear_regression(places, values).slope
