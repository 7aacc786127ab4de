"""Scores of classifiers against scikit-learn and scipy on the same predictions, and what their intervals promise."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn

from eval.classification import multi_scores, plain, regression_scores, single_scores
from eval.classification.scores import Scores
from eval.metrics.classification.score import expected_calibration_error
from eval.statistics import wilson_interval

LABELS = ("sport", "world", "trade", "science")


def predicted(n_labels: int, n: int = 300) -> tuple[list[str], list[str], np.ndarray]:
    """Answers, truths and probabilities of a classifier that is somewhat too sure."""
    rng = np.random.default_rng(n_labels)
    shares = rng.dirichlet(np.full(n_labels, 0.7), size=n)
    truths = [LABELS[rng.choice(n_labels, p=0.7 * row + 0.3 / n_labels)] for row in shares]
    return [LABELS[place] for place in shares.argmax(axis=1)], truths, shares


def values(scores: Scores) -> dict[str, float]:
    return {name: figure.estimate for name, figure in scores.figures.items()}


@pytest.mark.parametrize("n_labels", [2, 4])
def test_scores_of_single_labels_equal_scikit_learn(n_labels: int) -> None:
    answers, truths, shares = predicted(n_labels)
    labels = LABELS[:n_labels]
    found = values(single_scores(answers, truths, labels, shares))
    numbers = [labels.index(truth) for truth in truths]  # scikit-learn takes columns in the order of sorted names
    area = shares[:, 1] if n_labels == 2 else shares
    expected = {
        "accuracy": sklearn.accuracy_score(truths, answers), "mcc": sklearn.matthews_corrcoef(truths, answers),
        "log_loss": sklearn.log_loss(numbers, shares), "ece": expected_calibration_error(shares, numbers),
        "roc_auc": sklearn.roc_auc_score(numbers, area, multi_class="ovr"),
    }
    for average in ("macro", "micro", "weighted"):
        of_all = sklearn.precision_recall_fscore_support(truths, answers, average=average, zero_division=0)
        expected |= {f"{average}_{name}": of_all[place] for place, name in enumerate(("precision", "recall", "f1"))}
    assert found == pytest.approx(expected)


def test_classes_equal_the_report_of_scikit_learn() -> None:
    answers, truths, _ = predicted(4)
    report = sklearn.classification_report(truths, answers, output_dict=True, zero_division=0)
    for one in single_scores(answers, truths, LABELS).by_class:
        found = [one.precision.estimate, one.recall.estimate, one.f1.estimate, one.support]
        assert found == pytest.approx(list(report[one.label].values())), one.label


def several(n: int = 250) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]], np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    shares = rng.random((n, len(LABELS)))
    given, true = shares > 0.6, shares + rng.normal(0, 0.3, shares.shape) > 0.6
    names = [[tuple(np.array(LABELS)[row]) for row in columns] for columns in (given, true)]
    return names[0], names[1], shares, given, true


def test_scores_of_several_labels_equal_scikit_learn() -> None:
    answers, truths, shares, given, true = several()
    found = values(multi_scores(answers, truths, LABELS, shares))
    expected = {
        "subset_accuracy": sklearn.accuracy_score(true, given), "hamming_loss": sklearn.hamming_loss(true, given),
        "samples_f1": sklearn.f1_score(true, given, average="samples", zero_division=0),
        "roc_auc": sklearn.roc_auc_score(true, shares, average="macro"),
    }
    for average in ("macro", "micro", "weighted"):
        of_all = sklearn.precision_recall_fscore_support(true, given, average=average, zero_division=0)
        expected |= {f"{average}_{name}": of_all[place] for place, name in enumerate(("precision", "recall", "f1"))}
    assert found == pytest.approx(expected)


def test_scores_of_numbers_equal_scipy_and_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    truths = rng.uniform(0, 5, 200).round(1)
    answers = truths + rng.normal(0, 0.8, 200)
    found = values(regression_scores(answers.tolist(), truths.tolist()))
    assert found == pytest.approx({
        "pearson": stats.pearsonr(answers, truths).statistic, "spearman": stats.spearmanr(answers, truths).statistic,
        "mae": sklearn.mean_absolute_error(truths, answers), "rmse": sklearn.root_mean_squared_error(truths, answers),
    })  # fmt: skip


def test_the_interval_of_accuracy_is_wilson_s() -> None:
    answers, truths, _ = predicted(2)
    n_right = sum(a == t for a, t in zip(answers, truths, strict=True))
    assert single_scores(answers, truths, LABELS[:2]).figures["accuracy"] == wilson_interval(n_right, len(truths))


def drawn_ends(rows: Sequence[Any], figure: Any, n_draws: int) -> tuple[float, float]:
    """An interval by plain resampling of rows, each scored anew by scikit-learn or scipy."""
    rng = np.random.default_rng(1)
    columns = [np.array(column) for column in rows]
    places = rng.integers(len(columns[0]), size=(n_draws, len(columns[0])))
    found = [figure(*(column[place] for column in columns)) for place in places]
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


@pytest.mark.parametrize(("name", "figure"), [
    ("macro_f1", lambda a, t, p: sklearn.f1_score(t, a, average="macro")),
    ("roc_auc", lambda a, t, p: sklearn.roc_auc_score(t == LABELS[1], p)),
])  # fmt: skip
def test_intervals_are_those_of_resampled_rows(name: str, figure: Any) -> None:
    answers, truths, shares = predicted(2)
    found = single_scores(answers, truths, LABELS[:2], shares).figures[name]
    low, high = drawn_ends((answers, truths, shares[:, 1]), figure, 200)
    width = high - low
    assert found.low == pytest.approx(low, abs=0.15 * width)
    assert found.high == pytest.approx(high, abs=0.15 * width)


def test_every_interval_holds_its_estimate() -> None:
    answers, truths, shares = predicted(4, n=40)
    scores = single_scores(answers, truths, LABELS, shares)
    for name, figure in scores.figures.items():
        assert figure.low <= figure.estimate <= figure.high, name


def test_a_perfect_order_has_an_area_of_one_and_no_interval() -> None:
    answers, truths = ["sport", "world"] * 10, ["sport", "world"] * 10
    shares = [[0.9, 0.1], [0.2, 0.8]] * 10
    found = single_scores(answers, truths, LABELS[:2], shares).figures["roc_auc"]
    assert found.estimate == 1 and math.isnan(found.low) and math.isnan(found.high)


def test_a_truth_that_the_classifier_lacks_counts_as_wrong() -> None:
    truths = ["sport", "world", "weather", "weather"]
    scores = single_scores(["sport", "world", "sport", "world"], truths, LABELS[:2], [[0.6, 0.4]] * 4)
    assert scores.figures["accuracy"].estimate == 0.5
    assert "log_loss" not in scores.figures and "roc_auc" not in scores.figures
    assert [one.support for one in scores.by_class] == [1, 1, 2]


def test_a_class_that_is_never_given_has_no_interval_of_precision() -> None:
    never = single_scores(["sport"] * 6, ["sport", "world"] * 3, LABELS[:2]).by_class[1]
    assert never.precision.estimate == 0 and math.isnan(never.precision.low)
    scores = plain(single_scores(["sport"] * 6, ["sport", "world"] * 3, LABELS[:2]))
    assert scores["by_class"][1]["precision"]["low"] is None


def test_scores_without_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="one for one"):
        single_scores([], [], LABELS)
