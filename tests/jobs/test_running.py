"""The score on the progress line."""

import math

import pytest
from statsmodels.stats.proportion import proportion_confint

from eval.compare import Metric
from eval.report import rows_of
from eval.types import Result
from llm_app.jobs import running
from tests.eval.made_runs import LOGS, run_of, task_run
from tests.eval.reported_runs import reported

ACCURACY = Metric("acc", "mean", True)


def running_score(metrics: list[Metric], answered: list[Result], *, shares_passages: bool = False) -> str:
    return running.running_score(metrics, answered, n_total=1_000, shares_passages=shares_passages)


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


@pytest.mark.parametrize(("metric", "scores"), [
    (Metric("word_perplexity", "weighted_perplexity", False), [(9 * log, 7 + i % 9) for i, log in enumerate(3 * LOGS)]),
    (Metric("mcc", "matthews_corrcoef", True), [(i % 2, (i % 3) % 2) for i in range(90)]),
    (ACCURACY, [1.0] * 62 + [0.0] * 38),
], ids=["perplexity", "mcc", "accuracy"])  # fmt: skip
def test_with_the_last_sample_score_and_interval_are_those_of_the_finished_run(metric, scores):  # oracle: the report
    (row,) = rows_of(reported(run=run_of(task_run(scores, metric=metric))))
    came = results(scores, metric.name)[::-1]  # samples may be answered in any order
    found = running.estimate_so_far([metric], came, n_total=len(scores), shares_passages=False)
    assert found is not None and row.low is not None
    assert (found[1].value, found[1].low, found[1].high) == (row.value, row.low, row.high)
