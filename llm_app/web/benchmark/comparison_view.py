"""Did it help? The verdict in a sentence, the table behind it, the plot, and what cannot be compared, and why."""

from collections.abc import Sequence

from eval.compare import Comparison, TaskComparison
from eval.report.markup import Child, Markup, element, joined
from eval.verdict import (
    SIGNS,
    beyond_zero,
    change_text,
    interval_text,
    methods_text,
    metric_text,
    overall_verdict,
    p_text,
    rounded,
    score_text,
    task_verdict,
)
from llm_app.options import Text
from llm_app.web.benchmark.plots import differences
from llm_app.web.benchmark.results_markup import block, said, told, written
from llm_app.web.text import STRINGS

OUTCOMES = {"better": "outcome_better", "no detectable change": "outcome_none", "worse": "outcome_worse"}
HEADS = (
    "col_task", "col_metric", "col_n", "col_baseline", "col_candidate", "col_change", "col_interval",
    "result_p_holm", "result_won_lost", "result_smallest_shown", "result_needed_n",
)  # fmt: skip
HELPS = {
    "result_p_holm": "result_p_holm_help", "result_smallest_shown": "result_smallest_help",
    "result_needed_n": "result_needed_help", "result_won_lost": "result_won_lost_help",
}  # fmt: skip
TEXT_COLUMNS = ("col_task", "col_metric")
MAX_ODD = 20  # runs that cannot be compared, of which the reasons are shown


def offers(others: Sequence[tuple[str, Sequence[Text]]]) -> str:
    """What can be compared with the run that is shown; of each run that cannot, why. `others`: title, reasons."""
    odd = [(name, reasons) for name, reasons in others if reasons]
    hint = "result_compare_hint" if len(odd) < len(others) else "result_compare_none" if others else (
        "result_compare_needs_two"
    )  # fmt: skip
    lines = [
        element("li", element("b", written(name)), element("ul", *(element("li", told(reason)) for reason in reasons)))
        for name, reasons in odd[:MAX_ODD]
    ]  # fmt: skip
    fold = element(
        "details", element("summary", said("result_odd_runs", n=len(odd))), element("ul", *lines, class_="refused"),
        class_="fold-line", open="" if len(odd) == len(others) else None,
    ) if odd else None  # fmt: skip
    return block(element("p", said(hint), class_="notice info", role="status"), fold)


def verdicts(comparisons: Sequence[Comparison]) -> str:
    """Each run against the baseline."""
    return block(*(_one(comparison) for comparison in comparisons))


def _one(comparison: Comparison) -> Markup:
    parts: list[Child] = [
        element("p", written(comparison.baseline), " → ", written(comparison.candidate), class_="quiet pair"),
        *(element("p", told(alarm), class_="notice warning", role="status") for alarm in comparison.alarms),
    ]
    if comparison.tasks:
        sentence = overall_verdict(comparison, "en"), overall_verdict(comparison, "zh")
        table = element("div", comparison_table(comparison), class_="scroll", tabindex="0")
        parts += [element("p", told(sentence), class_="verdict"), table, _about(comparison)]
        parts.append(element("figure", element("figcaption", said("plot_differences")), differences(comparison)))
        each = [(task_verdict(comparison, task, "en"), task_verdict(comparison, task, "zh"))
                for task in comparison.tasks]  # fmt: skip
        summary = element("summary", said("result_in_words"))
        parts.append(element("details", summary, _sentences(each), class_="fold-line", data_fold="words"))
    else:
        parts.append(element("p", said("result_not_comparable"), class_="verdict"))
    return element("section", *parts, _refused(comparison), _notes(comparison), class_="comparison")


def comparison_table(comparison: Comparison) -> Markup:
    """A line for each score."""
    heads = [
        element("th", said(name), scope="col", title=_hover(name), class_=None if name in TEXT_COLUMNS else "num")
        for name in HEADS
    ]  # fmt: skip
    lines = [_line(line) for task in comparison.tasks for line in (task, *task.parts)]
    return element("table", element("thead", element("tr", *heads)), element("tbody", *lines), class_="scores paired")


def _line(task: TaskComparison) -> Markup:
    """A line of the table; a task of a group, which is described and not tested, stands back."""
    result, is_part = task.result, task.p_corrected is None
    cells: tuple[Child, ...] = (
        written(f"– {task.task}" if is_part else task.task),
        joined(written(metric_text(task)), " ", "↑" if task.is_higher_better else "↓"),
        f"{result.n:,}", _score(result.first, task), _score(result.second, task),
        element("span", change_text(result.difference, task), " ", _outcome(task)),
        interval_text(task, ", ", ("[", "]")) or "–",
        p_text(task.p_corrected).removeprefix("p ").removeprefix("= "),
        f"{task.wins:,} / {task.losses:,} / {task.ties:,}",
        "–" if result.detectable is None or is_part else change_text(result.detectable, task).lstrip("+"),
        "–" if result.n_needed is None or is_part else f"{rounded(result.n_needed):,}",
    )  # fmt: skip
    return element("tr", *(
        element(
            "td", None if name in TEXT_COLUMNS else element("span", said(name), " ", class_="label"), cell,
            class_=name.removeprefix("col_") if name in TEXT_COLUMNS else "num",
        )
        for name, cell in zip(HEADS, cells, strict=True)
    ), class_="first part-of" if is_part else "first")  # fmt: skip


def _outcome(task: TaskComparison) -> Markup | None:
    """Better, worse or no change, by a sign and a word; nothing is claimed of a part."""
    if task.outcome not in OUTCOMES:
        return None
    name = OUTCOMES[task.outcome]
    return element("span", SIGNS[task.outcome], " ", said(name), class_=f"outcome {name}")


def _score(value: float, task: TaskComparison) -> Markup:
    return told((score_text(value, task, "en"), score_text(value, task, "zh")))


def _about(comparison: Comparison) -> Markup:
    methods = told((f"{methods_text(comparison, 'en')}. ", f"{methods_text(comparison, 'zh')}。"))
    beyond = beyond_zero(comparison)
    has_parts = any(task.parts for task in comparison.tasks)
    about = element(
        "p", said("result_paired_about", n=comparison.n_tests), " ", said("result_tests_used"), " ", methods,
        said("result_smallest_about"), " ", said("result_parts_about") if has_parts else None, class_="quiet below",
    )  # fmt: skip
    many = said("result_many_asked", tasks=", ".join(beyond), n=comparison.n_tests)
    return joined(element("p", many, class_="quiet below") if beyond else None, about)


def _hover(name: str) -> str | None:
    """A word of statistics explained in a sentence."""
    return " · ".join(STRINGS[HELPS[name]]) if name in HELPS else None


def _sentences(texts: Sequence[tuple[str, str]]) -> Markup:
    return element("ul", *(element("li", told(text)) for text in texts), class_="sentences")


def _refused(comparison: Comparison) -> Markup | None:
    if not comparison.refused:
        return element("p", said("result_no_common_task"), class_="quiet") if not comparison.tasks else None
    lines = [
        element(
            "li", element("b", written(refusal.task)), " ", said("result_not_comparable_because"),
            element("ul", *(element("li", told(reason)) for reason in refusal.reasons)),
        )
        for refusal in comparison.refused
    ]  # fmt: skip
    return element("ul", *lines, class_="refused")


def _notes(comparison: Comparison) -> Markup | None:
    if not comparison.notes:
        return None
    notes = [element("li", told(note)) for note in comparison.notes]
    return element("details", element("summary", said("result_remarks_on")), element("ul", *notes), class_="quiet")
