"""The two sentences about a tuned model: what they say word for word, and that they never say more than the tests."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from eval.compare import Comparison, Metric, compare
from eval.tuned import forgotten_sentence, trained_for_sentence
from tests.eval.made_runs import run_of, task_run

HELD_BACK = ("held_back",)
Column = Sequence[float]


def columns(n_both: int, n_fixed: int, n_broken: int, n_neither: int) -> tuple[Column, Column]:
    first = [1.0] * n_both + [0.0] * n_fixed + [1.0] * n_broken + [0.0] * n_neither
    second = [1.0] * n_both + [1.0] * n_fixed + [0.0] * n_broken + [0.0] * n_neither
    return first, second


GAINED, SAME, LOST = columns(0, 24, 0, 6), columns(50, 3, 4, 43), columns(20, 1, 30, 9)


def compared(**tasks: tuple[Column, Column]) -> Comparison:
    runs = [
        run_of(*(task_run(pair[side], name=name) for name, pair in tasks.items()), label=label)
        for side, label in enumerate(("base", "tuned"))
    ]
    return compare(runs[0], runs[1:])[0]


def test_a_gain_on_what_it_was_trained_for_is_told_with_its_numbers() -> None:
    comparison = compared(held_back=GAINED, answers=SAME)
    assert trained_for_sentence(comparison, HELD_BACK) == (
        "On what it was trained for, tuned is better than base in acc: on examples that training did not see, acc"
        " 80.0 % against 0.0 % (n = 30, +80.0, 95 % interval +57.7 to +92.3, p < 0.001), corrected over 2 tests."
    )
    assert trained_for_sentence(comparison, HELD_BACK, "zh") == (
        "训练的目标：就 acc 而言，tuned 优于 base。在训练时没有见过的样本上，acc 为 80.0%，原为 0.0%"
        "（n = 30，相差 +80.0，95% 置信区间 +57.7 至 +92.3，p < 0.001）（已按 2 次检验校正）。"
    )


def test_each_metric_has_its_own_outcome_and_number_and_that_of_the_answers_comes_first() -> None:
    likely = [2.0 + number / 10 for number in range(40)]
    runs = [
        run_of(
            task_run(scores, name="held_back_perplexity", metric=Metric("loss", "mean", False)),
            task_run(right, name="held_back"), label=label,
        )
        for label, scores, right in (("base", likely, SAME[0]), ("tuned", [each - 1 for each in likely], SAME[1]))
    ]
    comparison = compare(runs[0], runs[1:])[0]
    trained_for = ("held_back", "held_back_perplexity")
    text, chinese = (trained_for_sentence(comparison, trained_for, language) for language in ("en", "zh"))
    assert text.startswith(
        "On what it was trained for, no detectable change from base to tuned in acc; better in loss: on examples that"
        " training did not see, acc 53.0 % against 54.0 % (n = 100, "
    )
    assert " and loss " in text and "(n = 40, " in text
    assert "就 acc 而言，tuned 与 base 相比没有测出变化；就 loss 而言，tuned 优于 base" in chinese


def test_no_loss_is_told_as_not_found_with_what_would_have_been_missed() -> None:
    comparison = compared(held_back=GAINED, answers=SAME)
    text = forgotten_sentence(comparison, HELD_BACK)
    assert text == (
        "What it may have forgotten: no detectable loss on the one other task. This does not prove that nothing was"
        " lost: to see a loss of 2 points on answers, for one, it would take about 2,100 samples, not 100."
    )
    assert "其他 1 个任务都没有测出变差；这并不证明什么都没有丢失" in forgotten_sentence(comparison, HELD_BACK, "zh")


def test_a_loss_is_told_task_by_task() -> None:
    comparison = compared(held_back=GAINED, answers=LOST, choices=SAME)
    assert forgotten_sentence(comparison, HELD_BACK) == (
        "What it may have forgotten: it is worse on 1 of 2 other tasks: answers (acc 35.0 % against 83.3 %, p < 0.001);"
        " no detectable change on 1."
    )
    assert forgotten_sentence(comparison, HELD_BACK, "zh") == (
        "可能遗忘的：其他 2 个任务中有 1 个变差：answers（acc 为 35.0%，原为 83.3%，p < 0.001）；有 1 个没有测出变化。"
    )


def test_where_nothing_else_was_asked_what_was_forgotten_is_called_unknown() -> None:
    comparison = compared(held_back=GAINED)
    assert "unknown" in forgotten_sentence(comparison, HELD_BACK)
    assert "未知" in forgotten_sentence(comparison, HELD_BACK, "zh")


PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=8, max_size=30)


@given(st.lists(PAIRS, min_size=2, max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_sentence_claims_a_change_that_does_not_survive_the_correction(tasks: list[list[tuple[bool, bool]]]) -> None:
    made = {
        name: ([float(a) for a, _ in pairs], [float(b) for _, b in pairs])
        for name, pairs in zip(("held_back", "a", "b", "c"), tasks, strict=False)
    }
    comparison = compared(**made)
    sure = {task.task for task in comparison.tasks if task.p_corrected is not None and task.p_corrected < 0.05}
    trained, forgotten = (sentence(comparison, HELD_BACK) for sentence in (trained_for_sentence, forgotten_sentence))
    assert (" is better than " in trained or " is worse than " in trained) == ("held_back" in sure)
    lost = {task.task for task in comparison.tasks if task.task in sure and task.outcome == "worse"} - {"held_back"}
    assert ("it is worse on" in forgotten) == bool(lost)
    assert all(f"{name} (acc" in forgotten for name in lost)
