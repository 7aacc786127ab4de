"""The score on the progress line."""

import math

import pytest
from statsmodels.stats.proportion import proportion_confint

from eval.compare import Metric
from eval.types import Result
from llm_app.jobs import running

ACCURACY = Metric("acc", "mean", True)


def running_score(metrics: list[Metric], answered: list[Result], *, shares_passages: bool = False) -> str:
    return running.running_score(metrics, answered, shares_passages=shares_passages)


def results(scores: list[object], name: str = "acc") -> list[Result]:
    return [Result(i, (), {f"{name},none": score}) for i, score in enumerate(scores)]


def test_an_accuracy_goes_with_half_of_wilsons_interval():  # oracle: statsmodels
    low, high = proportion_confint(62, 100, method="wilson")
    assert running_score([ACCURACY], results([1.0] * 62 + [0.0] * 38)) == f"acc 0.62 ± {(high - low) / 2:.2f}"


def test_a_perplexity_goes_with_half_of_its_bootstrap_interval():
    metric = Metric("word_perplexity", "weighted_perplexity", False)
    line = running_score([metric], results([(-31.0, 10), (-38.0, 11), (-29.0, 9)] * 2, "word_perplexity"))
    value, _, half = line.removeprefix("word_perplexity ").partition(" ± ")
    assert float(value) == pytest.approx(math.exp(98 / 30), abs=0.01) and 0 < float(half) < float(value)


def test_the_first_metric_with_a_score_is_shown():
    assert running_score([Metric("other", "mean", True), ACCURACY], results([1.0, 1.0])).startswith("acc 1.00 ± ")


@pytest.mark.parametrize(
    "answered", [[], [Result(0, (), {}, "too long")], results([math.nan]), results([None])],
    ids=["nothing yet", "not scored", "nan", "none"],
)
def test_nothing_is_shown_while_there_is_no_score(answered):
    assert running_score([ACCURACY], answered) == ""


def test_what_only_the_task_can_put_together_is_not_guessed():
    assert running_score([Metric("odd", "somebody.function", True)], results([1.0, 0.0], "odd")) == ""


def test_samples_that_share_passages_have_no_interval_while_the_run_goes_on():
    assert running_score([ACCURACY], results([1.0] * 62 + [0.0] * 38), shares_passages=True) == "acc 0.62"
