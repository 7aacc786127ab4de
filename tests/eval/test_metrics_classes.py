"""Classification, span F1 and correlations against scikit-learn, seqeval, scipy and figures worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.api import metrics as harness
from scipy import stats
from sklearn import metrics as sklearn
from sklearn.metrics import classification_report

from eval.metrics.classification.score import classification, expected_calibration_error
from eval.metrics.seqeval.score import seqeval
from eval.metrics.sts.score import sts

unhurried = settings(deadline=None)
NAMES = ["negative", "neutral", "positive"]


def random_case(n_classes: int = 3, n: int = 200) -> tuple[list[str], list[str], np.ndarray]:
    rng = np.random.default_rng(n_classes)
    probabilities = rng.dirichlet(np.ones(n_classes), size=n)
    references = [NAMES[rng.choice(n_classes, p=row)] for row in probabilities]
    return [NAMES[column] for column in probabilities.argmax(axis=1)], references, probabilities


@unhurried
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), min_size=1, max_size=40))
def test_classification_equals_the_report_of_scikit_learn(pairs):
    predictions, references = (list(side) for side in zip(*pairs, strict=True))
    found = classification(predictions, references, labels=NAMES)
    report = classification_report(references, predictions, labels=NAMES, output_dict=True, zero_division=0)
    for name, scores in {**found["by_class"], "macro avg": found["macro"], "weighted avg": found["weighted"]}.items():
        expected = [report[name][key] for key in ("precision", "recall", "f1-score", "support")]
        assert list(scores.values()) == pytest.approx(expected)
    assert found["accuracy"] == pytest.approx(sklearn.accuracy_score(references, predictions))
    assert found["micro"]["f1"] == pytest.approx(found["accuracy"])
    assert found["mcc"] == pytest.approx(sklearn.matthews_corrcoef(references, predictions))
    assert found["confusion"] == sklearn.confusion_matrix(references, predictions, labels=NAMES).tolist()


def test_f1_and_mcc_of_two_classes_are_the_harness_s():
    rng = np.random.default_rng(0)
    references = rng.integers(2, size=100).tolist()
    predictions = [gold if rng.random() < 0.8 else 1 - gold for gold in references]
    items = list(zip(references, predictions, strict=True))
    found = classification(predictions, references)
    assert found["by_class"][1]["f1"] == pytest.approx(harness.f1_score(items))
    assert found["mcc"] == pytest.approx(harness.matthews_corrcoef(items))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_of_probabilities_are_scikit_learn_s(n_classes):
    predictions, references, probabilities = random_case(n_classes)
    names = NAMES[:n_classes]
    found = classification(predictions, references, labels=names, probabilities=probabilities)
    assert found["log_loss"] == pytest.approx(sklearn.log_loss(references, probabilities, labels=names))
    one_hot = np.array([[name == gold for name in names] for gold in references])
    expected = sklearn.roc_auc_score(one_hot[:, -1], probabilities[:, -1]) if n_classes == 2 else np.mean(
        [sklearn.roc_auc_score(one_hot[:, column], probabilities[:, column]) for column in range(n_classes)]
    )
    assert found["roc_auc"] == pytest.approx(expected)


def test_columns_of_probabilities_go_by_the_order_of_the_labels_not_of_the_alphabet():
    labels = ["positive", "negative"]
    found = classification(
        ["positive", "negative"], ["positive", "negative"], labels=labels, probabilities=[[0.9, 0.1], [0.2, 0.8]]
    )
    assert found["log_loss"] == pytest.approx(-(math.log(0.9) + math.log(0.8)) / 2)
    assert (found["roc_auc"], found["labels"]) == (1, labels)


def test_calibration_error_is_the_definition_bin_by_bin():
    _, references, probabilities = random_case()
    truths = np.array([NAMES.index(name) for name in references])
    confidence, is_right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truths
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(is_right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(probabilities, truths) == pytest.approx(expected)
    assert expected_calibration_error([[0.8, 0.2]] * 5, [0, 0, 0, 0, 1]) == pytest.approx(0)
    assert expected_calibration_error([[1.0, 0.0]] * 2, [0, 1]) == pytest.approx(0.5)


def test_a_class_that_never_occurs_leaves_auc_undefined_not_wrong():
    found = classification([0, 0], [0, 0], labels=[0, 1], probabilities=[[0.9, 0.1], [0.8, 0.2]])
    assert math.isnan(found["roc_auc"])
    assert (found["by_class"][1]["f1"], found["mcc"]) == (0, 0)


def test_classes_and_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="missing: \\['c'\\]"):
        classification(["c"], ["a"], labels=["a", "b"])
    with pytest.raises(ValueError, match="2 samples by 2 classes"):
        classification([0, 1], [0, 1], probabilities=[[1.0], [1.0]])
    with pytest.raises(ValueError, match="one for one"):
        classification([], [])


tags = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])


@unhurried
@given(st.lists(st.lists(st.tuples(tags, tags), min_size=1, max_size=8), min_size=1, max_size=4))
def test_span_scores_in_iob2_are_those_of_spans_read_by_hand(sequences):
    def spans(tags_of: list[str]) -> set[tuple[str, int, int]]:
        found, start = set(), None
        for i, tag in enumerate([*tags_of, "O"]):
            if start is not None and tag != f"I-{tags_of[start][2:]}":
                found.add((tags_of[start][2:], start, i))
                start = None
            if tag.startswith("B-"):
                start = i
        return found

    predictions = [[guess for guess, _ in sequence] for sequence in sequences]
    references = [[gold for _, gold in sequence] for sequence in sequences]
    guessed = {(n, *span) for n, sequence in enumerate(predictions) for span in spans(sequence)}
    true = {(n, *span) for n, sequence in enumerate(references) for span in spans(sequence)}
    found = seqeval(predictions, references, scheme="IOB2")
    assert found["precision"] == pytest.approx(len(guessed & true) / len(guessed) if guessed else 0)
    assert found["recall"] == pytest.approx(len(guessed & true) / len(true) if true else 0)
    assert {name: row["support"] for name, row in found["by_type"].items() if row["support"]} == {
        name: sum(span[1] == name for span in true) for name in {span[1] for span in true}
    }


def test_without_a_scheme_a_broken_sequence_counts_as_conlleval_counts_it():
    predictions, references = [["I-PER", "O", "B-LOC"]], [["B-PER", "O", "B-LOC"]]
    assert seqeval(predictions, references)["f1"] == 1
    assert seqeval(predictions, references, scheme="IOB2")["f1"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="one tag for each word"):
        seqeval([["O"]], [["O", "O"]])


def test_correlations_are_scipy_s_and_constant_answers_have_none():
    rng = np.random.default_rng(0)
    references = rng.integers(6, size=50).astype(float)
    predictions = references + rng.normal(size=50)
    found = sts(predictions.tolist(), references.tolist())
    assert found["pearson"] == pytest.approx(stats.linregress(predictions, references).rvalue)
    ranks = stats.rankdata(predictions), stats.rankdata(references)
    assert found["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert found["mean"] == pytest.approx((found["pearson"] + found["spearman"]) / 2)
    assert all(math.isnan(value) for value in sts([1.0, 1.0], [1.0, 2.0]).values())
