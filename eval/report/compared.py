"""A comparison as a part of the HTML report: verdicts, the table behind them, and the samples that changed."""

from collections.abc import Sequence

from eval.compare import Comparison, SampleChange, TaskComparison
from eval.report.markup import Child, Markup, element, joined
from eval.report.page import Section
from eval.report.text import Language, text
from eval.verdict import (
    SIGNS,
    beyond_zero,
    change_text,
    interval_text,
    metric_text,
    overall_verdict,
    p_text,
    score_text,
    task_verdict,
)

MAX_CHANGES = 20  # of one kind and task; compare --json has all
MAX_HEAD = 120
MAX_PROMPT = 600  # characters, from the end: before the question stand examples that all samples share
CHANGED = ("fixed", "broken", "better", "worse", "changed")


def comparison_section(comparison: Comparison, language: Language, *, lead: Sequence[str] = ()) -> Section:
    """Did it help? The section of one comparison. `lead`: sentences that stand before all others."""
    spoken = 1 if language == "zh" else 0
    parts: list[Child] = [
        element("p", f"{comparison.baseline} → {comparison.candidate}", class_="about"),
        *(element("p", sentence) for sentence in lead),
        *(element("p", alarm[spoken], class_="alarm") for alarm in comparison.alarms),
        element("p", element("b", overall_verdict(comparison, language))),
        _table(comparison, language),
        element("ul", *(element("li", task_verdict(comparison, task, language)) for task in comparison.tasks)),
        *(_changes(task, language) for task in comparison.single_tasks),
    ]
    notes = [note[spoken] for note in comparison.notes]
    because = text("not_comparable", language)
    notes += [f"{r.task} {because} {'; '.join(reason[spoken] for reason in r.reasons)}" for r in comparison.refused]
    if notes:
        parts.append(element("ul", *(element("li", note) for note in notes), class_="quiet"))
    return Section(text("compared", language), joined(*parts))


def refused_section(reason: str, language: Language) -> Section:
    """Why runs in one report are not compared."""
    return Section(text("compared", language), element("pre", reason))


def _table(comparison: Comparison, language: Language) -> Markup:
    keys = ("task", "metric", "n", "baseline", "compared_run", "change", "interval", "p", "won_lost", "shows")
    heads = [element("th", text(key, language), class_=None if key in ("task", "metric") else "num") for key in keys]
    lines = []
    for task in comparison.tasks:
        lines += [_cells(task, keys, language), *(_cells(part, keys, language) for part in task.parts)]
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *lines), class_="results paired")
    about = [element("p", text("paired_about", language, n=comparison.n_tests), class_="quiet")]
    if beyond := beyond_zero(comparison):
        many = text("many_asked", language, tasks=", ".join(beyond), n=comparison.n_tests)
        about.append(element("p", many, class_="quiet"))
    if any(task.parts for task in comparison.tasks):
        about.append(element("p", text("parts_about", language), class_="quiet"))
    return joined(table, *about)


def _cells(task: TaskComparison, keys: Sequence[str], language: Language) -> Markup:
    """A line of the table; a task of a group, which is described and not tested, stands back."""
    result = task.result
    is_part = task.p_corrected is None
    smallest = "" if result.detectable is None or is_part else change_text(result.detectable, task).lstrip("+")
    cells = (
        f"– {task.task}" if is_part else task.task, f"{metric_text(task)} {'↑' if task.is_higher_better else '↓'}",
        f"{result.n:,}", score_text(result.first, task, language), score_text(result.second, task, language),
        f"{change_text(result.difference, task)} {SIGNS[task.outcome]}", interval_text(task, ", ", ("[", "]")),
        p_text(task.p_corrected).removeprefix("p ").removeprefix("= "),
        f"{task.wins} / {task.losses} / {task.ties}", smallest,
    )
    return element("tr", *(
        element("td", cell, class_=key if key in ("task", "metric") else "num", data_label=text(key, language))
        for key, cell in zip(keys, cells, strict=True)
    ), class_="quiet" if is_part else "first")


def _changes(task: TaskComparison, language: Language) -> Markup:
    kinds: dict[str, list[SampleChange]] = {}
    for change in task.changes:
        kinds.setdefault(change.kind, []).append(change)
    counts = ", ".join(f"{text(_key(kind), language)} {len(found):,}" for kind, found in kinds.items())
    shown = [change for kind in CHANGED for change in kinds.get(kind, [])[:MAX_CHANGES]]
    summary = element("summary", element("b", task.task), " ", element("span", counts, class_="quiet"))
    return element("details", summary, *(_change(change, language) for change in shown), class_="task")


def _change(change: SampleChange, language: Language) -> Markup:
    is_good = {"fixed": True, "better": True, "broken": False, "worse": False}.get(change.kind)
    colour = {True: "mark right", False: "mark wrong", None: "mark"}[is_good]
    mark = element("span", text(_key(change.kind), language), class_=colour)
    number = element("span", f"#{change.sample}", class_="quiet")
    head = element("summary", mark, " ", number, " ", change.prompt[-MAX_HEAD:])
    return element("details", head, element(
        "div", element("pre", change.prompt[-MAX_PROMPT:]),
        _line(text("target", language), change.target),
        _line(text("baseline", language), change.answers[0]), _line(text("compared_run", language), change.answers[1]),
        element("pre", *_difference(change), class_={True: "gained", False: "lost", None: None}[is_good]),
    ), class_="sample")


def _line(title: str, words: str) -> Markup:
    return element("p", element("span", f"{title} ", class_="quiet"), element("span", words, class_="said"))


def _difference(change: SampleChange) -> Sequence[Markup]:
    tags = {"same": "span", "removed": "del", "added": "ins"}
    return [element(tags[kind], words) for kind, words in change.diff]


def _key(kind: str) -> str:
    return "kind_" + kind.replace(" ", "_")
