"""Standard errors of scores that are no mean: our own tasks get theirs as the harness's tasks do."""

import math

import numpy as np
import pytest
from lm_eval.api import metrics as harness

from eval.metrics.bleu.score import bleu_counts, bleu_of_counts
from eval.tasks.corpus import CorpusScore
from eval.tasks.glue import pearson, spearman
from eval.tasks.own import CLASSES
from eval.tasks.stderr import N_CORRELATIONS, standard_error


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")  # the harness would fork a pool for its bootstrap


def marks(n: int, seed: int = 0) -> list[tuple[float, float]]:
    human, error = np.random.default_rng(seed).normal(size=(2, n))
    return [(float(h), float(h + e)) for h, e in zip(human, error, strict=True)]


@pytest.mark.parametrize("correlation", [pearson, spearman])
def test_a_correlation_has_the_error_that_the_harness_s_bootstrap_gives(correlation) -> None:
    values = marks(60)
    expected = harness.bootstrap_stderr(correlation, values, iters=N_CORRELATIONS)
    assert standard_error("r", correlation, values, 100_000) == pytest.approx(expected, rel=1e-12)


def test_the_error_of_pearson_s_r_is_that_of_the_theory() -> None:
    values = marks(2000)
    r = pearson(values)
    # Of normal pairs: (1 - r**2) / sqrt(n - 1).
    assert standard_error("pearson", pearson, values, 1000) == pytest.approx((1 - r**2) / math.sqrt(1999), rel=0.1)


def test_fewer_resamples_are_taken_where_fewer_are_asked_for_and_none_where_none_are() -> None:
    values = marks(60)
    assert standard_error("pearson", pearson, values, 0) == "N/A"
    expected = harness.bootstrap_stderr(pearson, values, iters=50)
    assert standard_error("pearson", pearson, values, 50) == pytest.approx(expected, rel=1e-12)


def test_equal_marks_have_no_error_rather_than_a_wrong_one() -> None:
    assert standard_error("pearson", pearson, [(1.0, 2.0)] * 8, 100) == "N/A"


def test_bleu_from_counts_has_the_error_of_the_harness_s_draws() -> None:
    texts = ["the cat sat on the mat", "a dog ran over the green hill", "it rains in the north today"] * 5
    given = ["the cat sat on a mat", "the dog ran over a green hill", "it rained in the north all day"] * 5
    rows = [row.tolist() for row in bleu_counts(texts, [[text] for text in given])]
    score = CorpusScore(bleu_of_counts)
    expected = harness.bootstrap_stderr(score.__call__, rows, iters=200)
    assert standard_error("bleu", score, rows, 200) == pytest.approx(expected, rel=1e-9)


def test_distinct_n_has_none_since_a_resample_repeats_whole_texts() -> None:
    texts = [f"word{i} other{i} third{i}" for i in range(30)]
    aggregate = _distinct(CLASSES["generation"])
    assert aggregate(texts) == 1.0
    drawn = [aggregate([texts[i] for i in np.random.default_rng(seed).integers(30, size=30)]) for seed in range(200)]
    assert max(drawn) < 0.85  # no resample comes near the score that it should be about
    assert standard_error("distinct_1", aggregate, texts, 1000) == "N/A"


def _distinct(kind):
    return kind.scores(None)["distinct_1"][0]
