"""Baselines, temperature: each against scikit-learn or scipy on the same rows."""

import math
import random
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier

from llm_app.classify.folder import ClassifierFile
from llm_app.classify.tfidf import Features, Tfidf
from llm_app.classify.training.baselines import (
    CHOOSE_FROM,
    Learned,
    best,
    features_for,
    fit_tfidf,
    shares,
    terms_of,
)
from llm_app.classify.training.events import FEW
from llm_app.classify.training.targets import Problem
from llm_app.classify.training.temperature import fitted_temperature
from llm_app.classify.types import Item, Prediction, Truth
from llm_app.errors import UserError
from tests.classify.learning import SINGLE, rows

NOBODY: tuple[Sequence[Item], Sequence[Truth]] = ([], [])


def scores(problem: Problem, learned: Learned, items: Sequence[Item]) -> np.ndarray:
    made = Tfidf(ClassifierFile("tfidf", problem.kind, problem.labels), learned.model)
    return np.array([each.scores for each in made.predict(items) if isinstance(each, Prediction)])


def vectorizer() -> TfidfVectorizer:
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")


@pytest.mark.parametrize("labels", [("negative", "positive"), ("a", "b", "c")])
def test_the_words_baseline_equals_scikit_learns_pipeline(labels: tuple[str, ...]) -> None:
    items, truths = rows(60)
    truths = truths if len(labels) == 2 else [labels[number % 3] for number in range(60)]
    problem = Problem("single", labels)
    (learned,) = fit_tfidf(problem, (items, truths), NOBODY)
    counted = vectorizer().fit(item.text for item in items)
    theirs = LogisticRegression(max_iter=1000).fit(counted.transform([item.text for item in items]), truths)
    new, _ = rows(20, seed=5)
    expected = theirs.predict_proba(counted.transform([item.text for item in new]))
    assert scores(problem, learned, new) == pytest.approx(expected, abs=1e-6)


def test_several_labels_equal_scikit_learns_one_against_the_rest() -> None:
    items, truths = rows(60)
    several: list[Truth] = [(str(truth), "even")[: 1 + bool(n % 3)] for n, truth in enumerate(truths)]
    problem = Problem("multi", ("even", "negative", "positive"))
    (learned,) = fit_tfidf(problem, (items, several), NOBODY)
    counted = vectorizer().fit(item.text for item in items)
    texts = counted.transform([item.text for item in items])
    theirs = OneVsRestClassifier(LogisticRegression(max_iter=1000)).fit(texts, problem.tensor(several).numpy())
    assert scores(problem, learned, items) == pytest.approx(theirs.predict_proba(texts), abs=1e-6)


def test_a_regression_equals_scikit_learns_ridge() -> None:
    items, truths = rows(60)
    values: list[Truth] = [
        3.0 + (truth == "positive") + len(item.text) / 50 for item, truth in zip(items, truths, strict=True)
    ]
    problem = Problem("regression", ("stars",))
    (learned,) = fit_tfidf(problem, (items, values), NOBODY)
    counted = vectorizer().fit(item.text for item in items)
    texts = counted.transform([item.text for item in items])
    theirs = Ridge().fit(texts, values).predict(texts)
    assert scores(problem, learned, items)[:, 0] == pytest.approx(theirs, abs=1e-2)


def test_the_strength_that_does_best_on_the_validation_rows_is_kept() -> None:
    found = list(fit_tfidf(SINGLE, rows(60), rows(CHOOSE_FROM, seed=1)))
    assert len(found) == 4 and best(found).score == max(each.score for each in found)


def test_of_strengths_that_do_equally_well_the_one_nearest_to_the_usual_is_kept() -> None:
    (one,) = fit_tfidf(SINGLE, rows(40), NOBODY)
    came_to = {0.1: 0.5, 10.0: 0.9, 100.0: 0.9}
    found = [replace(one, strength=strength, score=score) for strength, score in came_to.items()]
    assert best(found).strength == 10.0
    assert best([replace(each, score=math.nan) for each in [*found, one]]).strength == 1.0


def test_a_few_rows_held_back_choose_nothing_and_a_small_table_is_fitted_as_scikit_learn_fits_it() -> None:
    """Four rows whose words are those of the other label: every strength that learns gets them wrong."""
    items, truths = rows(33)
    against = [Item("great brilliant"), Item("great"), Item("boring terrible"), Item("boring")]
    (learned,) = fit_tfidf(SINGLE, (items, truths), (against, ["negative", "negative", "positive", "positive"]))
    counted = vectorizer().fit(item.text for item in items)
    texts = counted.transform([item.text for item in items])
    theirs = LogisticRegression().fit(texts, truths)
    found = scores(SINGLE, learned, items)
    assert found == pytest.approx(theirs.predict_proba(texts), abs=1e-3)
    assert [SINGLE.labels[place] for place in found.argmax(1)] == truths


def test_a_label_that_no_row_to_train_on_has_is_never_answered() -> None:
    problem = Problem("single", ("absent", "negative", "positive"))
    (learned,) = fit_tfidf(problem, rows(40), NOBODY)
    found = scores(problem, learned, rows(20, seed=3)[0])
    assert found[:, 0].max() < 1e-12 and found.argmax(1).min() == 1


@pytest.mark.parametrize(("text", "analyzer"), [("这部电影很好看", "char"), ("a very good film", "word")])
def test_characters_count_where_a_script_has_no_spaces(text: str, analyzer: str) -> None:
    assert features_for([Item(text)] * 3).analyzer == analyzer


def test_texts_without_a_word_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="no words"):
        list(fit_tfidf(SINGLE, ([Item("!!"), Item("??")], ["negative", "positive"]), NOBODY))


def test_the_majority_baseline_gives_each_label_its_share() -> None:
    assert shares(SINGLE, ["positive", "positive", "negative", "positive"]) == (0.25, 0.75)
    assert shares(Problem("multi", ("a", "b")), [("a", "b"), ("a",), (), ("a",)]) == (0.75, 0.25)
    assert shares(Problem("regression", ("x",)), [1.0, 2.0, 6.0]) == (3.0,)


def test_the_temperature_is_the_one_of_the_lowest_loss() -> None:
    """Oracle: scipy's bounded search over the same loss."""
    drawn = np.random.default_rng(0)
    logits = drawn.normal(size=(400, 3)) * 4  # far too sure of itself
    true = np.array([drawn.choice(3, p=np.exp(log_softmax(row / 4))) for row in logits])

    def loss(temperature: float) -> float:
        return -float(log_softmax(logits / temperature, axis=1)[np.arange(400), true].mean())

    expected = minimize_scalar(loss, bounds=(0.1, 20), method="bounded", options={"xatol": 1e-6}).x
    problem = Problem("single", ("a", "b", "c"))
    scores = np.exp(log_softmax(logits, axis=1)).tolist()
    found = fitted_temperature(problem, scores, [problem.labels[number] for number in true])
    assert found == pytest.approx(expected, rel=1e-4) and 3 < found < 5


def test_rows_that_are_all_right_do_not_say_how_sure_to_be() -> None:
    assert fitted_temperature(SINGLE, [(0.8, 0.2), (0.3, 0.7)] * 10, ["negative", "positive"] * 10) == 1.0


def test_a_handful_of_rows_sets_no_temperature() -> None:
    wrong: list[Truth] = ["positive"]
    assert fitted_temperature(SINGLE, [(0.9, 0.1)] * (FEW - 1), wrong * (FEW - 1)) == 1.0
    assert fitted_temperature(SINGLE, [(0.9, 0.1)] * FEW, wrong * FEW) > 10


def test_the_temperature_of_several_labels_is_fitted_over_all_decisions() -> None:
    problem = Problem("multi", ("a", "b"))
    sure_and_half_right = [(0.99, 0.01)] * 20
    truths: list[Truth] = [("a",), ("b",)] * 10
    assert fitted_temperature(problem, sure_and_half_right, truths) > 10


def test_without_validation_rows_and_for_values_the_temperature_is_one() -> None:
    assert fitted_temperature(SINGLE, [], []) == 1.0
    assert fitted_temperature(Problem("regression", ("x",)), [(2.0,)], [2.0]) == 1.0


def test_the_terms_of_a_large_table_are_those_that_scikit_learn_counts_twice_at_least() -> None:
    items, _ = rows(1200)
    texts = [f"{item.text} only{number}" for number, item in enumerate(items)]
    expected = vectorizer().set_params(min_df=2).fit(texts).get_feature_names_out().tolist()
    assert terms_of(Features(), texts, 10**6) == expected


def test_however_many_terms_a_table_has_only_so_many_are_held_at_once() -> None:
    drawn = random.Random(0)
    texts = [f"good film w{drawn.getrandbits(64)} w{drawn.getrandbits(64)}" for _ in range(4000)]
    tracemalloc.start()
    found = terms_of(Features(), texts, 3, n_candidates=500)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == ["film", "good", "good film"]
    assert most < 500_000  # all terms of these texts take ten times as much
