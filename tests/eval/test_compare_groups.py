"""One hypothesis for each thing that was asked for: a group of tasks is tested as the one score that it has."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from lm_eval.api import metrics as harness
from scipy import stats
from statsmodels.stats import contingency_tables, multitest

from eval.compare import Comparison, Metric, Run, compare, to_json
from eval.report import comparison_section
from eval.types import GroupMetric, TaskGroup
from eval.verdict import overall_verdict, task_verdict
from llm_app.compare_cli import json_text, text
from tests.eval.made_runs import coins, run_of, task_run

Columns = Mapping[str, tuple[Sequence[Any], Sequence[Any]]]


def group(tasks: Columns, *, name: str = "mmlu", weights: Mapping[str, float] | None = None, **given: Any) -> TaskGroup:
    fields: dict[str, Any] = {"version": "2", "metrics": (GroupMetric("acc", weights=weights),)}
    return TaskGroup(name=name, tasks=tuple(tasks), **(fields | given))


def runs(tasks: Columns, *groups: TaskGroup, metrics: Mapping[str, Metric] | None = None, **fields: Any) -> list[Run]:
    return [
        run_of(
            *(task_run(columns[side], name=name, **({"metric": metrics[name]} if metrics else {}))
              for name, columns in tasks.items()),
            label=label, groups={one.name: one for one in groups}, **fields,
        )
        for side, label in enumerate(("base", "tuned"))
    ]


def compared(tasks: Columns, *groups: TaskGroup, **fields: Any) -> Comparison:
    baseline, candidate = runs(tasks, *groups, **fields)
    return compare(baseline, [candidate])[0]


def subjects(n_tasks: int, n_each: int, gain: float, seed: int = 0) -> dict[str, tuple[list[float], list[float]]]:
    """A model, and one that is better by `gain` in each subject, mostly on the same questions."""
    random = np.random.default_rng(seed)
    made = {}
    for number in range(n_tasks):
        first = random.random(n_each) < 0.4
        second = np.where(random.random(n_each) < 0.15, random.random(n_each) < 0.4 + gain / 0.15, first)
        made[f"subject_{number:02}"] = ([float(x) for x in first], [float(x) for x in second])
    return made


UNEVEN = {f"t{n}": (coins(n, 0.5, n), coins(n, 0.58, n + 1)) for n in (20, 60, 150)}


def test_a_gain_over_57_subjects_is_found_in_the_group_though_no_subject_shows_it() -> None:
    tasks = subjects(57, 50, 0.04)
    apart, together = compared(tasks), compared(tasks, group(tasks))
    assert {task.outcome for task in apart.tasks} == {"no detectable change"}
    assert [(task.task, task.outcome) for task in together.tasks] == [("mmlu", "better")]
    assert (apart.n_tests, together.n_tests) == (57, 1)


def test_a_group_that_weighs_by_size_is_tested_as_statsmodels_tests_all_samples_together() -> None:
    (task,) = compared(UNEVEN, group(UNEVEN)).tasks
    first, second = (np.concatenate([columns[side] for columns in UNEVEN.values()]) for side in (0, 1))
    table = [[np.sum((first == x) & (second == y)) for y in (1, 0)] for x in (1, 0)]
    assert task.result.p == pytest.approx(contingency_tables.mcnemar(table, exact=True).pvalue)
    assert (task.losses, task.wins, task.result.n) == (table[0][1], table[1][0], 230)


@pytest.mark.parametrize("by_size", [True, False])
def test_the_score_of_a_group_is_that_of_the_harness(by_size: bool) -> None:
    weights = None if by_size else dict.fromkeys(UNEVEN, 1.0)
    (task,) = compared(UNEVEN, group(UNEVEN, weights=weights)).tasks
    for side, score in enumerate((task.result.first, task.result.second)):
        means, sizes = zip(*((np.mean(columns[side]), len(columns[side])) for columns in UNEVEN.values()), strict=True)
        assert score == pytest.approx(harness.aggregate_subtask_metrics(means, sizes, by_size))
    assert task.weighting == ("by size" if by_size else "equal")


def test_a_group_that_weighs_its_tasks_alike_is_tested_as_scipy_does() -> None:
    (task,) = compared(UNEVEN, group(UNEVEN, weights=dict.fromkeys(UNEVEN, 1.0))).tasks
    first, second = (np.concatenate([columns[side] for columns in UNEVEN.values()]) for side in (0, 1))
    share = np.concatenate([np.full(len(columns[0]), 1 / len(columns[0]) / 3) for columns in UNEVEN.values()])
    oracle = stats.permutation_test(
        (second, first), lambda a, b, axis: np.sum((a - b) * share, axis=axis), permutation_type="samples",
        vectorized=True, n_resamples=20_000, rng=np.random.default_rng(0), batch=500,
    )
    # Of strata drawn within themselves: the error of a sum of independent means.
    error = np.sqrt(sum(np.var(np.subtract(b, a), ddof=1) / len(a) for a, b in UNEVEN.values())) / 3
    assert task.result.difference == pytest.approx(oracle.statistic)
    assert task.result.p == pytest.approx(oracle.pvalue, abs=0.012)
    assert task.result.low is not None and task.result.high is not None
    assert (task.result.high - task.result.low) / 2 == pytest.approx(stats.t.ppf(0.975, 227) * error, rel=0.03)


def test_what_was_asked_for_is_corrected_for_and_nothing_else() -> None:
    tasks = subjects(12, 60, 0.05)
    tasks["sst2"] = (coins(300, 0.6, 1), coins(300, 0.69, 2))
    comparison = compared(tasks, group({name: tasks[name] for name in tasks if name != "sst2"}))
    assert [task.task for task in comparison.tasks] == ["mmlu", "sst2"]
    oracle = multitest.multipletests([task.result.p for task in comparison.tasks], method="holm")[1]
    assert [task.p_corrected for task in comparison.tasks] == pytest.approx(list(oracle))


def test_a_task_that_was_asked_for_beside_its_group_is_tested_too() -> None:
    tasks = subjects(4, 60, 0.05)
    comparison = compared(tasks, group(tasks), asked=("mmlu", "subject_02"))
    assert [task.task for task in comparison.tasks] == ["mmlu", "subject_02"]
    assert [task.task for task in comparison.single_tasks] == list(tasks)


def test_the_tasks_of_a_group_are_described_and_nothing_is_claimed_of_them() -> None:
    tasks = subjects(3, 200, 0.0) | {"subject_99": ([0.0] * 200, [1.0] * 200)}  # a change that nobody could overlook
    (task,) = compared(tasks, group(tasks)).tasks
    assert {(part.outcome, part.p_corrected) for part in task.parts} == {("described", None)}
    assert task.parts[-1].result.difference == 1.0 and len(task.parts[-1].changes) == 200
    assert task.changes == () and task.wins == sum(part.wins for part in task.parts)


def test_verdict_table_json_and_report_speak_of_the_group_and_show_its_tasks() -> None:
    tasks = subjects(3, 200, 0.06)
    comparison = compared(tasks, group(tasks))
    said = task_verdict(comparison, comparison.tasks[0])
    assert said.startswith("tuned is better than base on mmlu: ")
    assert "(acc over 3 tasks, weighted by size)" in said and "Holm" not in said
    assert "3 个子任务的 acc（按样本数加权）" in task_verdict(comparison, comparison.tasks[0], "zh")
    assert overall_verdict(comparison) == (
        "Overall: better. tuned beats base on mmlu, and is detectably worse on none."
    )
    lines = text(comparison, "en").splitlines()
    assert [line.split()[:2] for line in lines if line.startswith((" - ", "mmlu "))][:4] == [
        ["mmlu", "acc"], ["-", "subject_00"], ["-", "subject_01"], ["-", "subject_02"],
    ]
    (written,) = json.loads(json_text([comparison]))["comparisons"]
    assert [part["task"] for part in written["tasks"][0]["parts"]] == list(tasks)
    assert [part["p_corrected"] for part in written["tasks"][0]["parts"]] == [None] * 3
    assert to_json(comparison)["n_tests"] == 1
    page = str(comparison_section(comparison, "en").body)
    assert page.index("mmlu") < page.index("– subject_00") < page.index("– subject_02")


def test_a_group_is_refused_as_a_whole_where_one_of_its_tasks_is() -> None:
    tasks = subjects(3, 40, 0.1)
    baseline, candidate = runs(tasks, group(tasks))
    other = run_of(
        *(task_run(tasks[name][1], name=name, version="9" if name == "subject_01" else "1.0") for name in tasks),
        label="tuned", groups=candidate.groups,
    )
    (comparison,) = compare(baseline, [other])
    assert comparison.tasks == () and [refusal.task for refusal in comparison.refused] == ["mmlu"]
    assert comparison.refused[0].reasons[0][0] == "subject_01: the version of the task differs: 1.0 and 9"


def test_another_version_of_a_group_is_not_compared() -> None:
    tasks = subjects(3, 40, 0.1)
    baseline, candidate = runs(tasks, group(tasks))[0], runs(tasks, group(tasks, version="3"))[1]
    (comparison,) = compare(baseline, [candidate])
    assert comparison.refused[0].reasons[0][0] == "the definition of the group differs"


def test_of_a_run_that_was_stopped_the_tasks_that_both_have_begun_are_compared() -> None:
    tasks = subjects(3, 40, 0.1)
    baseline, candidate = runs(tasks, group(tasks))
    stopped = run_of(
        *(task_run(tasks[name][1] if name != "subject_02" else [], name=name, n_asked=40) for name in tasks),
        label="tuned", groups=candidate.groups,
    )
    (comparison,) = compare(baseline, [stopped])
    assert comparison.tasks[0].left_out == ("subject_02",) and comparison.tasks[0].result.n == 80
    assert any("1 of its tasks were not begun in both runs" in note[0] for note in comparison.notes)


def test_tasks_of_a_group_that_one_run_has_in_part_stand_for_themselves() -> None:
    tasks = subjects(3, 40, 0.1)
    baseline = runs(tasks, group(tasks))[0]
    some = {name: tasks[name] for name in list(tasks)[:2]}
    (comparison,) = compare(baseline, [runs(some)[1]])
    assert [task.task for task in comparison.tasks] == list(some)


def test_the_metric_that_was_asked_for_is_that_of_the_group_too() -> None:
    tasks = {name: ([[1, 1], [0, 0], [1, 0], [0, 1]] * 10, [[1, 1], [0, 0], [1, 1], [0, 1]] * 10) for name in "ab"}
    metrics = {name: Metric("f1", "f1", True) for name in tasks}
    baseline, candidate = runs(tasks, group(tasks), metrics=metrics)
    (comparison,) = compare(baseline, [candidate], metric="f1")
    pairs = np.array([*tasks["a"][1], *tasks["b"][1]])
    assert comparison.tasks[0].metric == "f1,none"
    # Two tasks of equal size and equal answers: the mean of their F1 is that of all.
    assert comparison.tasks[0].result.second == pytest.approx(sklearn.metrics.f1_score(pairs[:, 0], pairs[:, 1]))


def test_tasks_with_metrics_of_their_own_have_the_mean_of_the_first_as_glue_does() -> None:
    random = np.random.default_rng(4)
    labels = [[int(a), int(b)] for a, b in random.integers(0, 2, (80, 2))]
    better = [[gold, gold if i % 3 else guess] for i, (gold, guess) in enumerate(labels)]
    tasks: Columns = {"cola": (labels, better), "sst2": UNEVEN["t150"]}
    metrics = {"cola": Metric("mcc", "matthews_corrcoef", True), "sst2": Metric("acc", "mean", True)}
    glue = group(tasks, name="glue", metrics=(GroupMetric("", weights={"cola": 1.0, "sst2": 0.5}),))
    (task,) = compared(tasks, glue, metrics=metrics).tasks
    mcc = sklearn.metrics.matthews_corrcoef(*zip(*better, strict=True))
    assert task.result.second == pytest.approx((mcc + 0.5 * np.mean(UNEVEN["t150"][1])) / 1.5)
    assert (task.unit, task.metric) == ("coefficient", "mean") and task.outcome == "better"


def test_scores_without_a_common_scale_are_refused_as_one() -> None:
    tasks: Columns = {"text": ([-4.0] * 9, [-3.0] * 9), "sst2": ([0.0] * 9, [1.0] * 9)}
    metrics = {"text": Metric("perplexity", "perplexity", True), "sst2": Metric("acc", "mean", True)}
    mixed = group(tasks, metrics=(GroupMetric("", weights=dict.fromkeys(tasks, 1.0)),))
    (refusal,) = compared(tasks, mixed, metrics=metrics).refused
    assert refusal.reasons[0][0] == "the scores of its tasks have no common scale"


def test_passages_of_a_group_count_together_within_their_task() -> None:
    docs = [{"passage": f"a long passage of more than forty characters {i // 5}"} for i in range(30)]
    both = [
        run_of(
            task_run([float(side)] * 30, name="read", docs=docs), task_run([0.0, 1.0] * 5, name="plain"), label=label,
            groups={"mmlu": TaskGroup("mmlu", "2", ("read", "plain"), (GroupMetric("acc"),))},
        )
        for side, label in enumerate(("base", "tuned"))
    ]
    (task,) = compare(both[0], both[1:])[0].tasks
    assert task.result.n_clusters == 6 + 10
    assert task.result.p == pytest.approx(2 / 2**6)  # six passages that changed, all one way; ten samples did not
