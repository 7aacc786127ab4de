"""Scores of predicted classes: accuracy, precision, recall, F1, MCC; with probabilities also log-loss, AUC and ECE.

Definitions, all computed by scikit-learn except ECE:
accuracy: share of right answers. Precision: share of a predicted class that is right; recall: share of a true class
that is found; F1: their harmonic mean; each 0 where nothing can be divided. macro: plain mean over the classes;
weighted: by support; micro: over all decisions, so that with one class a sample it equals accuracy. Range: 0 to 1.
mcc: Matthews' correlation of the confusion matrix, -1 to 1, 0 for guessing, fair to rare classes (Gorodkin 2004).
log_loss: mean of -ln of the true class's probability, 0 to infinity, lower is better.
roc_auc: chance that a sample of the class gets a higher probability than one of another; two classes: of the second,
more: mean over class against rest; 0 to 1; NaN unless each class occurs.
ece: expected calibration error, mean distance of accuracy from confidence over 15 bins of equal width, 0 to 1, lower is
better (Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv:1706.04599).
Else higher is better. Source: https://scikit-learn.org/stable/modules/model_evaluation.html
"""

import math
from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

Label = int | str
N_BINS = 15  # of the calibration error


class ClassScores(TypedDict):
    """Scores of one class, or a mean over classes; support: samples whose true class it is."""

    precision: float
    recall: float
    f1: float
    support: int


class Classification(TypedDict):
    """All scores; those under `probabilities` only where probabilities are given."""

    accuracy: float
    mcc: float
    macro: ClassScores
    micro: ClassScores
    weighted: ClassScores
    by_class: dict[Label, ClassScores]
    labels: list[Label]
    confusion: list[list[int]]  # [true][predicted], in the order of `labels`
    log_loss: NotRequired[float]
    roc_auc: NotRequired[float]
    ece: NotRequired[float]


def classification(
    predictions: Sequence[Label],
    references: Sequence[Label],
    *,
    labels: Sequence[Label] | None = None,
    probabilities: ArrayLike | None = None,
) -> Classification:
    """Scores of one predicted class a sample.

    `labels`: all classes, in the order of the columns of `probabilities` (n_samples, n_classes); by default those that
    occur, sorted. Raises: ValueError for no samples, unequal lengths, or a class that `labels` lacks.
    """
    from sklearn import metrics

    if len(predictions) != len(references) or not len(references):
        raise ValueError(f"{len(predictions)} predictions and {len(references)} references: give one for one.")
    seen = {*predictions, *references}
    names = sorted(seen, key=_order) if labels is None else list(labels)
    if seen - set(names) or len(set(names)) < len(names):
        missing = sorted(seen - set(names), key=_order)
        raise ValueError(f"The labels {names} must hold each class once; missing: {missing}.")
    # Classes go by number: scikit-learn would sort names, and we keep the order given.
    number = {name: index for index, name in enumerate(names)}
    guesses = np.array([number[name] for name in predictions])
    truths = np.array([number[name] for name in references])
    result = Classification(
        accuracy=float(metrics.accuracy_score(truths, guesses)),
        mcc=float(metrics.matthews_corrcoef(truths, guesses)) if len(seen) > 1 else 0.0,
        macro=_average(truths, guesses, len(names), "macro"),
        micro=_average(truths, guesses, len(names), "micro"),
        weighted=_average(truths, guesses, len(names), "weighted"),
        by_class=_by_class(truths, guesses, names),
        labels=names,
        confusion=metrics.confusion_matrix(truths, guesses, labels=range(len(names))).tolist(),
    )
    if probabilities is not None:
        table = np.asarray(probabilities, dtype=np.float64)
        if table.shape != (len(truths), len(names)):
            raise ValueError(f"Probabilities must be {len(truths)} samples by {len(names)} classes, not {table.shape}.")
        result["log_loss"] = float(metrics.log_loss(truths, table, labels=range(len(names))))
        result["roc_auc"] = _roc_auc(truths, table)
        result["ece"] = expected_calibration_error(table, truths)
    return result


def expected_calibration_error(probabilities: ArrayLike, references: ArrayLike, *, n_bins: int = N_BINS) -> float:
    """How far accuracy is from confidence, over bins of equal width; `references` are column numbers."""
    return float(calibration_error_of_sums(calibration_rows(probabilities, references, n_bins=n_bins).sum(axis=0)))


def calibration_rows(
    probabilities: ArrayLike, references: ArrayLike, *, n_bins: int = N_BINS
) -> NDArray[np.float64]:
    """Rows (n, n_bins + 1) whose sums give the error: how far each is from its confidence, in its bin, and a 1."""
    table, truths = np.asarray(probabilities, dtype=np.float64), np.asarray(references)
    confidence, places = confidence_bins(table, n_bins)
    rows = np.zeros((len(truths), n_bins + 1))
    rows[np.arange(len(truths)), places] = (table.argmax(axis=1) == truths) - confidence
    rows[:, -1] = 1
    return rows


def calibration_error_of_sums(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """The calibration error of summed `calibration_rows`: the `statistic` for the bootstrap."""
    error: NDArray[np.float64] = np.abs(totals[..., :-1]).sum(axis=-1) / totals[..., -1]
    return error


def confidence_bins(table: NDArray[np.float64], n_bins: int) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """The highest probability of each row, and which bin it falls into."""
    confidence = table.max(axis=1)
    # Bins are open below and closed above, as in the source; a confidence of 0 cannot occur.
    return confidence, np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)


def class_counts(predictions: ArrayLike, references: ArrayLike, n_classes: int) -> NDArray[np.float64]:
    """Rows (n, 3 * n_classes) of class numbers: hits, predicted and true, a block each; their sums give F1 and MCC."""
    guesses, truths = np.asarray(predictions), np.asarray(references)
    each = np.eye(n_classes)
    return np.concatenate([each[guesses] * (guesses == truths)[:, None], each[guesses], each[truths]], axis=1)


def macro_f1_of_counts(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean F1 of the classes that occur, of summed counts: the `statistic` for bootstrap and permutation tests."""
    hits, predicted, true = np.split(totals, 3, axis=-1)
    occurs = predicted + true > 0
    f1 = np.divide(2 * hits, predicted + true, out=np.zeros_like(hits), where=occurs)
    scores: NDArray[np.float64] = f1.sum(axis=-1) / occurs.sum(axis=-1)
    return scores


def mcc_of_counts(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matthews' correlation of summed counts, 0 where all truths or all guesses are one class; a `statistic` too."""
    hits, predicted, true = np.split(totals, 3, axis=-1)
    n = true.sum(axis=-1)
    covariance = hits.sum(axis=-1) * n - (predicted * true).sum(axis=-1)
    spread = np.sqrt((n**2 - (predicted**2).sum(axis=-1)) * (n**2 - (true**2).sum(axis=-1)))
    return np.divide(covariance, spread, out=np.zeros_like(covariance), where=spread > 0)


def _order(label: Label) -> tuple[bool, Label]:
    return isinstance(label, str), label  # numbers before names, should both occur


def _average(truths: NDArray[np.int_], guesses: NDArray[np.int_], n_classes: int, average: str) -> ClassScores:
    from sklearn import metrics

    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truths, guesses, labels=range(n_classes), average=average, zero_division=0
    )
    return ClassScores(precision=float(precision), recall=float(recall), f1=float(f1), support=len(truths))


def _by_class(
    truths: NDArray[np.int_], guesses: NDArray[np.int_], names: Sequence[Label]
) -> dict[Label, ClassScores]:
    from sklearn import metrics

    columns = metrics.precision_recall_fscore_support(truths, guesses, labels=range(len(names)), zero_division=0)
    return {
        name: ClassScores(precision=float(p), recall=float(r), f1=float(f1), support=int(support))
        for name, p, r, f1, support in zip(names, *columns, strict=True)
    }


def _roc_auc(truths: NDArray[np.int_], table: NDArray[np.float64]) -> float:
    from sklearn import metrics

    n_classes = table.shape[1]
    if n_classes < 2 or len(np.unique(truths)) < n_classes:
        return math.nan
    if n_classes == 2:
        return float(metrics.roc_auc_score(truths, table[:, 1]))
    return float(metrics.roc_auc_score(truths, table, multi_class="ovr", average="macro"))
