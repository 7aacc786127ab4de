"""Samples that share a passage: they count together, and few passages are not taken for many."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.api import OLS

from eval.compare import TaskComparison
from eval.compare.notes import notes_of
from eval.verdict import task_verdict
from tests.eval.made_runs import compared, one, run_of


def docs(n_passages: int, n_each: int) -> list[dict[str, Any]]:
    return [
        {"passage": f"a long passage of more than forty characters {i // n_each}", "question": i}
        for i in range(n_passages * n_each)
    ]


def notes(task: TaskComparison) -> str:
    return " ".join(english for english, _ in notes_of(run_of(), run_of(), [task]))


def test_samples_of_one_passage_count_together() -> None:
    # Each passage is answered wholly right or wholly wrong: twelve passages, not sixty samples.
    before, after = [0.0] * 60, [float(i // 5 < 4) for i in range(60)]
    apart, together = one(before, after), one(before, after, docs=docs(12, 5))
    assert apart.result.p < 0.001
    assert together.result.n_clusters == 12
    assert together.result.p == pytest.approx(2 / 2**4)  # four passages that changed, all one way
    assert together.outcome == "no detectable change"


@pytest.mark.parametrize("n_passages", [5, 9, 40])
def test_the_interval_over_passages_is_that_of_statsmodels_with_a_t_of_one_less_than_the_passages(
    n_passages: int,
) -> None:
    random = np.random.default_rng(n_passages)
    n = n_passages * 6
    first = random.random(n)
    second = np.clip(first + np.repeat(random.normal(0.02, 0.1, n_passages), 6) + random.normal(0, 0.1, n), 0, 1)
    fit = OLS(second - first, np.ones(n)).fit(
        cov_type="cluster", use_t=True,
        cov_kwds={"groups": np.repeat(np.arange(n_passages), 6), "use_correction": True, "df_correction": False},
    )
    half = stats.t.ppf(0.975, n_passages - 1) * fit.bse[0]
    result = one(list(first), list(second), docs=docs(n_passages, 6)).result
    assert (result.low, result.high) == pytest.approx((fit.params[0] - half, fit.params[0] + half), rel=1e-9)


@pytest.mark.parametrize("n_passages", [5, 6, 10, 20])
def test_an_interval_over_passages_holds_the_truth_as_often_as_it_says(n_passages: int) -> None:
    n_trials, held = 400, 0
    for seed in range(n_trials):
        random = np.random.default_rng(seed)
        shift = np.repeat(random.normal(0, 0.1, n_passages), 4)
        first = random.uniform(0.3, 0.6, len(shift))
        result = one(list(first), list(first + 0.03 + shift + random.normal(0, 0.02, len(shift))),
                     docs=docs(n_passages, 4)).result
        assert result.low is not None and result.high is not None
        held += result.low <= 0.03 <= result.high
    # Of 400 intervals of 95 %, fewer than 366 would hold it in one of a thousand simulations.
    assert held >= stats.binom.ppf(0.001, n_trials, 0.95)


def test_fewer_than_five_passages_give_no_interval_and_the_note_says_why() -> None:
    random = np.random.default_rng(1)
    task = one(list(random.random(30)), list(random.random(30)), docs=docs(3, 10))
    assert (task.result.low, task.result.high, task.result.detectable, task.result.n_needed) == (None,) * 4
    assert task.result.p >= 2 / 2**3
    assert "30 samples about 3 passages" in notes(task)
    assert "So few passages give no interval, and p cannot fall below 0.25." in notes(task)


def test_less_than_ten_passages_are_called_few() -> None:
    random = np.random.default_rng(2)
    few, many = (one(list(random.random(60)), list(random.random(60)), docs=docs(n, 60 // n)) for n in (6, 12))
    assert few.result.low is not None and "With so few the interval is rough" in notes(few)
    assert many.result.low is not None and "rough" not in notes(many)


def test_what_is_the_same_in_all_samples_is_no_passage() -> None:
    first, second = [float(i % 3 == 0) for i in range(40)], [float(i % 2 == 0) for i in range(40)]
    alike = [{"context": "Answer the question with one word, and nothing else.", "question": i} for i in range(40)]
    assert one(first, second, docs=alike).result == one(first, second).result


def test_a_field_that_is_the_same_in_all_samples_hides_no_passage_behind_it() -> None:
    alike = [{"passage": "x" * 50, "story": doc["passage"]} for doc in docs(12, 5)]
    assert one([0.0] * 60, [1.0] * 60, docs=alike).result.n_clusters == 12


def test_samples_that_all_differ_alike_give_no_interval() -> None:
    for task in (one([0.2, 0.4, 0.6, 0.7, 0.1], [0.3, 0.5, 0.7, 0.8, 0.2]), one([0.25, 0.5] * 3, [0.5, 0.75] * 3)):
        assert (task.result.low, task.result.high) == (None, None)
        assert "all samples differ alike" in notes(task)


def test_a_verdict_without_an_interval_says_so() -> None:
    random = np.random.default_rng(1)
    comparison = compared(list(random.random(30)), list(random.random(30)), docs=docs(3, 10))
    assert ", no interval, p = " in task_verdict(comparison, comparison.tasks[0])
    assert "无置信区间" in task_verdict(comparison, comparison.tasks[0], "zh")
