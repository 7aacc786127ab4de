"""Are the probabilities of a classifier honest, and would a temperature make them so?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.classification import Bin, reliability, tempered
from llm_app.classify.training.targets import Problem
from llm_app.classify.training.temperature import fitted_temperature
from llm_app.classify.types import Prediction
from llm_app.web.classify.answers import Answers

MIN_ROWS = 20  # below which half of them would tell nothing of a temperature


@dataclass(frozen=True)
class Curve:
    """A reliability curve, and how far it is from the diagonal: the calibration error."""

    bins: tuple[Bin, ...]
    error: float


@dataclass(frozen=True)
class Calibration:
    """Before and after the temperature. `is_trained`: it was fitted in training; else on every other row, the curves
    being of the rest. `after` is None where there are too few rows.
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
    if len(true) < MIN_ROWS:
        return Calibration(_curve(table, true))
    temperature = _fitted(shown)
    rest, right = table[1::2], true[1::2]
    return Calibration(_curve(rest, right), _curve(tempered(rest, temperature), right), temperature)


def _fitted(shown: Answers) -> float:
    """The temperature that every other row asks for; rows whose true label the classifier lacks tell nothing."""
    rows = [shown.judged.rows[place] for place in shown.scored[::2]]
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
