"""Are the probabilities of a classifier honest, and would a temperature make them so?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.classification import Bin, reliability, tempered, threshold_curve
from llm_app.classify.table import item_digest
from llm_app.classify.training.targets import Problem
from llm_app.classify.training.temperature import fitted_temperature
from llm_app.classify.types import Item, Prediction
from llm_app.web.classify.answers import Answers

MIN_ROWS = 20  # below which half of them would tell nothing of a temperature


@dataclass(frozen=True)
class Curve:
    """A reliability curve, and how far it is from the diagonal: the calibration error."""

    bins: tuple[Bin, ...]
    error: float


@dataclass(frozen=True)
class Calibration:
    """Before and after the temperature. `is_trained`: it was fitted in training; else on one half of the rows, the
    curves being of the other. `after` is None where there are too few rows, or all stand in one half.
    """

    before: Curve
    after: Curve | None = None
    temperature: float = 1.0
    is_trained: bool = False


def calibration_of(shown: Answers) -> Calibration | None:
    """None for what has no single label, or nothing to compare with."""
    if shown.kind != "single" or not shown.scored:
        return None
    table, true = shown.probabilities, shown.true_numbers(shown.scored)
    if shown.temperature != 1.0:
        before = tempered(table, 1 / shown.temperature)
        return Calibration(_curve(before, true), _curve(table, true), shown.temperature, is_trained=True)
    rest = held_back(shown)
    if len(true) < MIN_ROWS or rest.all() or not rest.any():
        return Calibration(_curve(table, true))
    temperature = _fitted(shown, [place for place, is_rest in zip(shown.scored, rest, strict=True) if not is_rest])
    after = _curve(tempered(table[rest], temperature), true[rest])
    return Calibration(_curve(table[rest], true[rest]), after, temperature)


@dataclass(frozen=True)
class BestThreshold:
    """Where F1 of the second label is highest on one half of the rows, and what it comes to on the other."""

    at: float
    f1: float


def best_threshold(shown: Answers) -> BestThreshold | None:
    """None where a half has no row of the label."""
    label, likely = shown.labels[1], shown.probabilities[:, 1]
    rest = held_back(shown)
    is_label = np.array([shown.judged.rows[place].truth == label for place in shown.scored], dtype=bool)
    if not is_label[rest].any() or not is_label[~rest].any():
        return None
    curve = threshold_curve(likely[~rest], is_label[~rest].tolist())
    at = curve.thresholds[curve.best]
    reached = likely[rest] >= at
    n_hits = int((reached & is_label[rest]).sum())
    return BestThreshold(at, 2 * n_hits / int(reached.sum() + is_label[rest].sum()))


def held_back(shown: Answers) -> NDArray[np.bool_]:
    """Which of the scored rows stand in the half by which nothing is chosen."""
    return np.array([is_held_back(shown.table.items[place]) for place in shown.scored], dtype=bool)


def is_held_back(item: Item) -> bool:
    """Which half a row stands in, by what it says: rows that say the same are in one, in whatever order they come."""
    return int(item_digest(item)[:8], 16) % 2 == 1


def _fitted(shown: Answers, places: Sequence[int]) -> float:
    """The temperature that these rows ask for; those whose true label the classifier lacks tell nothing."""
    rows = [shown.judged.rows[place] for place in places]
    known = [
        (row.outcome.scores, row.truth)
        for row in rows if isinstance(row.outcome, Prediction) and row.truth is not None and row.truth in shown.labels
    ]
    problem = Problem(shown.kind, shown.labels)
    return fitted_temperature(problem, [scores for scores, _ in known], [truth for _, truth in known])


def _curve(table: NDArray[np.float64], true: NDArray[np.int_]) -> Curve:
    bins = reliability(table, true)
    error = sum(one.accuracy.n * abs(one.confidence - one.accuracy.estimate) for one in bins) / len(true)
    return Curve(bins, error)
