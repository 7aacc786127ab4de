"""The sentences: what they say word for word, and that they never say more than the tests."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.compare import Metric, compare
from eval.verdict import Language, beyond_zero, methods_text, overall_verdict, p_text, task_verdict
from tests.eval.made_runs import compared, run_of, task_run


def scores(n_both: int, n_fixed: int, n_broken: int, n_neither: int) -> tuple[list[float], list[float]]:
    first = [1.0] * n_both + [0.0] * n_fixed + [1.0] * n_broken + [0.0] * n_neither
    second = [1.0] * n_both + [1.0] * n_fixed + [0.0] * n_broken + [0.0] * n_neither
    return first, second


BETTER, SAME, WORSE = scores(120, 30, 6, 44), scores(100, 12, 10, 78), scores(100, 4, 40, 56)


def test_a_gain_is_told_with_its_numbers() -> None:
    comparison = compared(*BETTER)
    assert task_verdict(comparison, comparison.tasks[0]) == (
        "tuned is better than base on sst2: 75.0 % against 63.0 % (acc), +12.0 points, 95 % interval +6.1 to +17.6,"
        " p < 0.001."
    )
    assert task_verdict(comparison, comparison.tasks[0], "zh") == (
        "在 sst2 上，tuned 优于 base：acc 为 75.0%，base 为 63.0%，相差 +12.0 个百分点"
        "（95% 置信区间 +6.1 至 +17.6，p < 0.001）。"
    )


def test_no_change_is_told_with_the_samples_that_would_show_one() -> None:
    comparison = compared(*SAME)
    assert task_verdict(comparison, comparison.tasks[0]) == (
        "No detectable change on sst2 from base to tuned: 56.0 % against 55.0 % (acc), +1.0 points, 95 % interval"
        " −3.8 to +5.7, p = 0.83. About 2,400 samples would most likely show a difference of 2 points; these are 200."
    )
    assert task_verdict(comparison, comparison.tasks[0], "zh").endswith(
        "要看出 2 个百分点的差别，大约需要 2,400 条样本，这次只有 200 条。"
    )


def test_a_loss_is_told_and_where_less_is_better_that_is_said() -> None:
    comparison = compared([-1.0] * 30, [-1.5] * 15 + [-1.4] * 15, Metric("perplexity", "perplexity", False))
    text = task_verdict(comparison, comparison.tasks[0])
    assert text.startswith("tuned is worse than base on sst2: 4.263 against 2.718 (perplexity), +1.54, 95 % interval")
    assert text.endswith("Lower is better here.")


def test_enough_samples_are_told_to_be_enough() -> None:
    comparison = compared(*scores(2000, 5, 5, 2000))
    assert task_verdict(comparison, comparison.tasks[0]).endswith(
        "A difference of 2 points would most likely have shown with these 4,010 samples."
    )


@pytest.mark.parametrize(
    ("tasks", "english", "chinese"),
    [
        (
            (BETTER, SAME),
            "Overall: better. tuned beats base on 1 of 2 tasks (t0), and is detectably worse on none; no detectable"
            " change on the other 1.",
            "总体：有提升。tuned 在 2 个任务中的 1 个（t0）上优于 base，没有测出变差的任务；其余 1 个没有测出变化。",
        ),
        (
            (WORSE,),
            "Overall: worse. tuned falls behind base on t0, and is detectably better on none.",
            "总体：变差了。tuned 在 t0 上不如 base，没有测出变好的任务。",
        ),
        (
            (BETTER, WORSE),
            "Overall: mixed. tuned is better than base on 1 of 2 tasks (t0) and worse on 1 of 2 tasks (t1).",
            "总体：有得有失。tuned 在 2 个任务中的 1 个（t0）上优于 base，在 2 个任务中的 1 个（t1）上不如它。",
        ),
        (
            (SAME, SAME),
            "Overall: no detectable change from base to tuned on any of 2 tasks. This does not prove that they are"
            " equal.",
            "总体：tuned 与 base 相比，在全部 2 个任务上都没有测出变化；这并不证明两者相同。",
        ),
    ],
    ids=["better", "worse", "mixed", "same"],
)
def test_all_tasks_are_summed_up_in_a_sentence(
    tasks: tuple[tuple[list[float], list[float]], ...], english: str, chinese: str
) -> None:
    runs = [
        run_of(*(task_run(pair[side], name=f"t{i}") for i, pair in enumerate(tasks)), label=label)
        for side, label in enumerate(("base", "tuned"))
    ]
    (comparison,) = compare(runs[0], runs[1:])
    assert overall_verdict(comparison) == english
    assert overall_verdict(comparison, "zh") == chinese


@given(st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=8, max_size=30), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_sentence_claims_a_change_that_does_not_survive_the_correction(tasks: list[list[tuple[bool, bool]]]) -> None:
    runs = [
        run_of(*(task_run([float(x[side]) for x in t], name=f"t{i}") for i, t in enumerate(tasks)), label=label)
        for side, label in enumerate(("base", "tuned"))
    ]
    (comparison,) = compare(runs[0], runs[1:])
    claims: dict[Language, str] = {"en": " is better than | is worse than ", "zh": " 优于 | 不如 "}
    for task in comparison.tasks:
        is_sure = task.p_corrected < 0.05
        for language, claim in claims.items():
            assert (re.search(claim, task_verdict(comparison, task, language)) is not None) == is_sure
    is_any_sure = any(task.p_corrected < 0.05 for task in comparison.tasks)
    assert ("no detectable change from" in overall_verdict(comparison)) != is_any_sure


def test_a_correction_is_named_with_its_number_of_tasks() -> None:
    runs = [
        run_of(task_run(BETTER[side], name="a"), task_run(SAME[side], name="b"), label=label)
        for side, label in enumerate(("base", "tuned"))
    ]
    (comparison,) = compare(runs[0], runs[1:])
    assert "after Holm's correction over 2 tasks" in task_verdict(comparison, comparison.tasks[0])
    assert "已按 2 个任务作 Holm 校正" in task_verdict(comparison, comparison.tasks[0], "zh")


def test_p_is_never_shown_as_0() -> None:
    assert [p_text(p) for p in (0.0, 0.0004, 0.0101, 0.049, 0.3, 1.0)] == [
        "p < 0.001", "p < 0.001", "p = 0.010", "p = 0.049", "p = 0.30", "p = 1.00",
    ]


def test_an_interval_without_zero_that_the_correction_does_not_bear_out_is_named() -> None:
    # 2 fixed and 10 broken of 50: exact McNemar p = 0.039 (scipy.stats.binomtest), which Holm over 3 makes 0.12.
    tasks = {"answers": scores(12, 2, 10, 26), "first": SAME, "second": SAME}
    runs = [
        run_of(*(task_run(values[side], name=task) for task, values in tasks.items()), label=label)
        for side, label in enumerate(("base", "tuned"))
    ]
    (comparison,) = compare(runs[0], runs[1:])
    assert beyond_zero(comparison) == ["answers"] and methods_text(comparison, "zh") == "精确 McNemar 检验"
    assert beyond_zero(compared(*tasks["answers"])) == []


def test_every_test_that_is_used_has_a_chinese_name() -> None:
    for metric in (Metric("perplexity", "perplexity", False), Metric("score", "mean", True)):
        comparison = compared([-1.0] * 30, [-1.5] * 15 + [-1.4] * 15, metric)
        assert not re.search("[A-Za-z]{2,}", methods_text(comparison, "zh")), methods_text(comparison, "zh")
