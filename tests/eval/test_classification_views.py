"""Confusion, calibration, thresholds, orders and comparisons of classifiers, against scikit-learn and by hand."""

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sklearn

from eval.classification import compare_classifiers, confusion, ordered, reliability, tempered, threshold_curve
from eval.metrics.classification.score import expected_calibration_error
from eval.statistics import mcnemar
from eval.verdict import task_verdict


def test_confusion_equals_scikit_learn_and_knows_its_rows() -> None:
    rng = np.random.default_rng(0)
    labels = ("b", "a", "c")
    answers, truths = (rng.choice(labels, 60).tolist() for _ in range(2))
    found = confusion(answers, truths, labels)
    assert [list(row) for row in found.counts] == sklearn.confusion_matrix(truths, answers, labels=labels).tolist()
    for (truth, answer), places in found.rows.items():
        assert {(truths[place], answers[place]) for place in places} == {(truth, answer)}
    assert sorted(place for places in found.rows.values() for place in places) == list(range(60))


def test_confusion_leaves_out_rows_without_truth_or_answer() -> None:
    found = confusion(["a", None, "b"], ["a", "a", None], ("a", "b"))
    assert found.counts == ((1, 0), (0, 0)) and found.rows == {("a", "a"): (0,)}


def test_bins_of_reliability_make_up_the_calibration_error() -> None:
    rng = np.random.default_rng(1)
    table = rng.dirichlet(np.ones(3), 400)
    truths = [int(rng.choice(3, p=row)) for row in table]
    bins = reliability(table, truths)
    weighted = sum(one.accuracy.n * abs(one.accuracy.estimate - one.confidence) for one in bins) / 400
    assert weighted == pytest.approx(expected_calibration_error(table, truths))
    assert all(one.low < one.confidence <= one.high for one in bins)


def test_a_temperature_divides_the_logits() -> None:
    logits = np.random.default_rng(2).normal(size=(20, 4)) * 3
    assert tempered(softmax(logits, axis=1), 2.5) == pytest.approx(softmax(logits / 2.5, axis=1))  # oracle: scipy


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_the_curve_holds_precision_recall_and_f1_of_every_threshold(threshold: float) -> None:
    rng = np.random.default_rng(3)
    shares = rng.random(200).round(2)
    truths = rng.random(200) < shares
    curve = threshold_curve(shares, truths.tolist())
    place = curve.place_of(threshold)
    assert place is not None
    found = curve.precision[place], curve.recall[place], curve.f1[place]
    given = shares >= threshold
    assert found == pytest.approx(sklearn.precision_recall_fscore_support(truths, given, average="binary")[:3])


def test_the_best_threshold_has_the_highest_f1() -> None:
    curve = threshold_curve([0.1, 0.4, 0.6, 0.9], [False, True, False, True])
    assert curve.thresholds[curve.best] == 0.4 and curve.f1[curve.best] == pytest.approx(0.8)
    assert curve.place_of(0.95) is None


def test_orders_put_the_rows_that_say_most_first() -> None:
    is_right, sure = [True, False, False, None, False], [0.9, 0.6, 0.95, 0.7, None]
    assert ordered("all", is_right, sure) == [0, 1, 2, 3, 4]
    assert ordered("errors", is_right, sure) == [1, 2, 4]
    assert ordered("confident errors", is_right, sure) == [2, 1]
    assert ordered("least confident", is_right, sure) == [1, 3, 0, 2]


def two_classifiers(n: int = 120, share: float = 0.25) -> tuple[list[str], list[str], list[str]]:
    rng = np.random.default_rng(4)
    truths = rng.choice(["a", "b"], n).tolist()
    other = {"a": "b", "b": "a"}
    worse = [other[truth] if rng.random() < share else truth for truth in truths]
    better = [truth if rng.random() < 0.7 else given for truth, given in zip(truths, worse, strict=True)]
    return worse, better, truths


def test_accuracies_are_compared_by_the_exact_mcnemar_test() -> None:
    worse, better, truths = two_classifiers()
    accuracy, *_ = compare_classifiers("reviews", ("rule", "model"), (worse, better), truths)
    right = [[int(a == t) for a, t in zip(column, truths, strict=True)] for column in (worse, better)]
    found, expected = accuracy.tasks[0].result, mcnemar(*right)
    assert (found.p, found.difference, found.low, found.high) == (
        expected.p, expected.difference, expected.low, expected.high,
    )  # fmt: skip
    assert (accuracy.tasks[0].wins, accuracy.tasks[0].losses) == (expected.n_fixed, expected.n_broken)


def test_the_p_values_of_three_metrics_are_corrected_together() -> None:
    worse, better, truths = two_classifiers()
    found = [one.tasks[0] for one in compare_classifiers("reviews", ("rule", "model"), (worse, better), truths)]
    assert [task.metric for task in found] == ["accuracy", "macro F1", "MCC"]
    smallest = min(task.result.p for task in found)
    assert min(task.p_corrected or 0 for task in found) == pytest.approx(min(1, 3 * smallest))
    expected = [sklearn.f1_score(truths, column, average="macro") for column in (worse, better)]
    assert [found[1].result.first, found[1].result.second] == pytest.approx(expected)
    assert found[2].result.second == pytest.approx(sklearn.matthews_corrcoef(truths, better))


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_of_a_thousand_labels_on_many_rows_only_the_share_of_right_answers_is_compared(kind: Any) -> None:
    """A column for each label would take gigabytes."""
    truths = [f"label {number % 1000}" for number in range(7000)]
    other = [truth if number % 3 else "label 0" for number, truth in enumerate(truths)]
    rows = [[(label,) if kind == "multi" else label for label in column] for column in (truths, other)]
    (found,) = compare_classifiers("many", ("right", "other"), (rows[0], rows[1]), rows[0], kind)
    n_right = sum(a == b for a, b in zip(truths, other, strict=True))
    assert found.tasks[0].result.second == pytest.approx(n_right / 7000)


def test_the_verdict_is_one_sentence_in_two_languages() -> None:
    worse, better, truths = two_classifiers()
    accuracy, *_ = compare_classifiers("reviews", ("rule", "model"), (worse, better), truths)
    assert task_verdict(accuracy, accuracy.tasks[0]).startswith("model is better than rule on reviews: ")
    assert task_verdict(accuracy, accuracy.tasks[0], "zh").startswith("在 reviews 上，model 优于 rule")


def test_equal_classifiers_show_no_detectable_change() -> None:
    worse, _, truths = two_classifiers()
    for one in compare_classifiers("reviews", ("rule", "rule 2"), (worse, worse), truths):
        assert one.tasks[0].outcome == "no detectable change" and one.tasks[0].result.p == 1


def test_numbers_nearer_to_the_truth_are_better_where_lower_is() -> None:
    rng = np.random.default_rng(5)
    truths = rng.uniform(0, 5, 150)
    far, near = (truths + rng.normal(0, spread, 150) for spread in (1.5, 0.3))
    found = compare_classifiers("sts", ("far", "near"), (far.tolist(), near.tolist()), truths.tolist(), "regression")
    assert [one.tasks[0].outcome for one in found] == ["better"] * 4
    assert found[0].tasks[0].result.second == pytest.approx(sklearn.mean_absolute_error(truths, near))


def test_several_labels_are_compared_by_whole_rows_and_by_f1() -> None:
    truths = [("a",), ("a", "b"), (), ("b",)] * 20
    poor, good = [("b",)] * 80, truths
    rows, micro, macro = compare_classifiers("tags", ("poor", "good"), (poor, good), truths, "multi")
    assert rows.tasks[0].outcome == micro.tasks[0].outcome == macro.tasks[0].outcome == "better"
    given = np.array([[False, True]] * 80)
    true = np.array([["a" in row, "b" in row] for row in truths])
    assert micro.tasks[0].result.first == pytest.approx(sklearn.f1_score(true, given, average="micro"))
