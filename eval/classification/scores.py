"""All scores of one classifier on one table, each with its 95 % interval."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.classification import counts
from eval.classification.auc import roc_auc
from eval.metrics.classification.score import calibration_error_of_sums, calibration_rows, mcc_of_counts
from eval.statistics import Interval, bootstrap_interval, wilson_interval
from eval.statistics.intervals import MIN_UNITS, expanded_percentiles
from eval.statistics.resampling import Array, bootstrap_totals

N_RESAMPLES = 2_000
CONFIDENCE = 0.95
LOWER_IS_BETTER = ("log_loss", "ece", "hamming_loss", "mae", "rmse")
LEAST_PROBABILITY = float(np.finfo(np.float64).eps)  # scikit-learn's: a label that was ruled out must not cost infinity


@dataclass(frozen=True)
class ClassFigures:
    """One class against the rest; `support`: rows whose truth it is. NaN ends where no row tells."""

    label: str
    support: int
    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True)
class Scores:
    """Figures by name over `n` rows; what these rows do not define is left out. Empty `by_class` for a regression."""

    n: int
    figures: Mapping[str, Interval]
    by_class: tuple[ClassFigures, ...] = ()


def single_scores(
    answers: Sequence[str], truths: Sequence[str], labels: Sequence[str], probabilities: ArrayLike | None = None,
    *, seed: int = 0,
) -> Scores:
    """Scores of one label a row. `probabilities` (n_rows, n_labels), columns in the order of `labels`.

    A truth that `labels` lacks is a class of its own, which is never found; log-loss and AUC are not defined then.
    Raises: ValueError for no rows, or unequal lengths.
    """
    n = _same_length(answers, truths)
    names = list(dict.fromkeys([*labels, *truths]))
    number = {name: place for place, name in enumerate(names)}
    true, guessed = (np.array([number[name] for name in column]) for column in (truths, answers))
    totals, drawn = counts.drawn_counts(true, guessed, len(names), n_resamples=N_RESAMPLES, seed=seed)
    figures = {"accuracy": wilson_interval(int((true == guessed).sum()), n)}
    figures["mcc"] = _percentiles(mcc_of_counts(totals), mcc_of_counts(drawn), n)
    figures |= _averages(totals, drawn, n, counts_absent=False)
    # With one label a row, what is pooled is the accuracy, of which Wilson tells more than the bootstrap.
    figures |= {f"micro_{name}": figures["accuracy"] for name in counts.FIGURES}
    if probabilities is not None:
        table = np.asarray(probabilities, dtype=np.float64)
        figures |= _of_probabilities(table, true, n_labels=len(labels), has_unknown=len(names) > len(labels))
    return Scores(n, figures, _by_class(names, totals, drawn, n))


def multi_scores(
    answers: Sequence[Collection[str]], truths: Sequence[Collection[str]], labels: Sequence[str],
    probabilities: ArrayLike | None = None, *, seed: int = 0,
) -> Scores:
    """Scores of any number of labels a row: exact rows, single decisions, and F1 by label and by row.

    Macro figures are over all labels; a row with neither label nor answer has an F1 of 0, as in scikit-learn.
    Raises: ValueError for no rows, or unequal lengths.
    """
    n = _same_length(answers, truths)
    names = list(dict.fromkeys([*labels, *(label for truth in truths for label in truth)]))
    true, guessed = (_indicator(column, names) for column in (truths, answers))
    rows = np.concatenate([true & guessed, guessed, true], axis=1).astype(np.float64)
    totals, drawn = rows.sum(axis=0), bootstrap_totals(rows, n_resamples=N_RESAMPLES, seed=seed)
    of_row = counts.by_class(np.stack([(true & guessed).sum(1), guessed.sum(1), true.sum(1)], axis=1).astype(float))
    figures = {
        "subset_accuracy": wilson_interval(int((true == guessed).all(axis=1).sum()), n),
        "hamming_loss": _bootstrapped((true != guessed).mean(axis=1), seed),
        "samples_f1": _bootstrapped(of_row["f1"][:, 0], seed),
        **_averages(totals, drawn, n, counts_absent=True),
    }
    if probabilities is not None and len(names) == len(labels):
        area = roc_auc(true, np.asarray(probabilities, dtype=np.float64))
        figures |= {} if area is None else {"roc_auc": area}
    return Scores(n, figures, _by_class(names, totals, drawn, n))


def plain(scores: Scores) -> dict[str, Any]:
    """Everything as values that JSON has; None where an end is not known."""
    return {
        "n": scores.n,
        "scores": {name: _plain(figure) for name, figure in scores.figures.items()},
        "by_class": [
            {
                "label": one.label, "support": one.support,
                **{name: _plain(getattr(one, name)) for name in counts.FIGURES},
            }
            for one in scores.by_class
        ],
    }


def _plain(figure: Interval) -> dict[str, Any]:
    low, high = (end if math.isfinite(end) else None for end in (figure.low, figure.high))
    return {
        "value": figure.estimate, "low": low, "high": high, "confidence": figure.confidence, "method": figure.method,
    }


def _of_probabilities(
    table: Array, true: NDArray[np.int_], *, n_labels: int, has_unknown: bool
) -> dict[str, Interval]:
    if table.shape != (len(true), n_labels):
        raise ValueError(f"Probabilities must be {len(true)} rows by {n_labels} labels, not {table.shape}.")
    found = {"ece": _calibration_error(table, true)}
    if has_unknown or n_labels < 2:
        return found
    each = table[np.arange(len(true)), true] / table.sum(axis=1)
    found["log_loss"] = _bootstrapped(-np.log(np.clip(each, LEAST_PROBABILITY, 1)), seed=0)
    is_class = true[:, None] == np.arange(n_labels)
    area = roc_auc(is_class[:, 1:], table[:, 1:]) if n_labels == 2 else roc_auc(is_class, table)
    return found | ({} if area is None else {"roc_auc": area})


def _calibration_error(table: Array, true: NDArray[np.int_]) -> Interval:
    rows = calibration_rows(table, true)
    drawn = bootstrap_totals(rows, n_resamples=N_RESAMPLES, seed=0)
    return _percentiles(calibration_error_of_sums(rows.sum(axis=0)), calibration_error_of_sums(drawn), len(true))


def _averages(totals: Array, drawn: Array, n: int, *, counts_absent: bool) -> dict[str, Interval]:
    resampled = counts.averaged(drawn, counts_absent=counts_absent)
    return {
        name: _percentiles(value, resampled[name], n)
        for name, value in counts.averaged(totals, counts_absent=counts_absent).items()
    }


def _by_class(names: Sequence[str], totals: Array, drawn: Array, n: int) -> tuple[ClassFigures, ...]:
    hits, predicted, true = (part.astype(int).tolist() for part in np.split(totals, 3))
    f1, drawn_f1 = counts.by_class(totals)["f1"], counts.by_class(drawn)["f1"]
    return tuple(
        ClassFigures(
            name, true[place], _share(hits[place], predicted[place]), _share(hits[place], true[place]),
            _percentiles(f1[place], drawn_f1[:, place], n),
        )
        for place, name in enumerate(names)
    )


def _share(part: int, whole: int) -> Interval:
    return wilson_interval(part, whole) if whole else Interval(0.0, math.nan, math.nan, 0, CONFIDENCE, "Wilson")


def _percentiles(estimate: Any, drawn: Array, n: int) -> Interval:
    """The bootstrap's interval; of a figure that drawing again shifts, such as ECE, it holds the estimate still."""
    value, name = float(estimate), "percentile bootstrap"
    if n < MIN_UNITS:
        return Interval(value, math.nan, math.nan, n, CONFIDENCE, name)
    low, high = np.quantile(drawn, expanded_percentiles(n, CONFIDENCE))
    return Interval(value, min(value, float(low)), max(value, float(high)), n, CONFIDENCE, name)


def _bootstrapped(values: Array, seed: int) -> Interval:
    return bootstrap_interval(values, n_resamples=N_RESAMPLES, seed=seed)


def _indicator(column: Sequence[Collection[str]], names: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([[name in labels for name in names] for labels in column], dtype=bool)


def _same_length(answers: Sequence[Any], truths: Sequence[Any]) -> int:
    if len(answers) != len(truths) or not truths:
        raise ValueError(f"{len(answers)} answers and {len(truths)} truths: give one for one.")
    return len(truths)
