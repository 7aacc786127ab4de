"""Plots of results: bars and radar of a run, its history, and differences of two runs around zero. All SVG, no script.

Positions along an axis are percentages of the width, so that the text keeps its size on a phone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.compare import Comparison, TaskComparison
from eval.report import Row
from eval.report.markup import Markup, element, joined
from eval.report.plots import Bar, Group, bars, radar
from eval.report.rows import first_rows
from eval.verdict import SIGNS, change_text, interval_text, p_text
from llm_app.web.benchmark.results_markup import block, said
from llm_app.web.text import STRINGS

ROW_HEIGHT, LABEL_HEIGHT = 42, 16


def overview(rows: Sequence[Row]) -> str:
    """The first score of each task as bars with intervals, a radar where there are tasks enough; the rest folded."""
    scored = [row for row in rows if row.value is not None]
    if not scored:
        return block(element("p", said("result_nothing_to_plot"), class_="quiet"))
    first = first_rows(scored)
    others = [row for row in scored if row not in first]
    drawn = radar(_axes([[Bar("", 0, row)] for row in first]))
    overall = None if drawn is None else _figure("plot_radar", drawn, "result_radar_about")
    rest = None
    if others:
        summary = element("summary", said("result_other_scores", n=len(others)))
        rest = element("details", summary, _bars(others, None), class_="fold-line", data_fold="plots")
    return block(_bars(first, overall), rest, element("p", said("result_plots_about"), class_="quiet below"))


def _bars(rows: Sequence[Row], beside: Markup | None) -> Markup:
    """Scores from 0 to 1 apart from those with scales of their own; `beside` stands on the right."""
    sides = [[row for row in rows if (row.unit == "percent") == is_share] for is_share in (True, False)]
    shares, others = (
        _figure(caption, bars([[Bar("", 0, row)] for row in side], chance_label())) if side else None
        for caption, side in zip(("plot_shares", "plot_others"), sides, strict=True)
    )
    return element("div", element("div", shares), element("div", beside, others), class_="plots")


def history(series: Mapping[str, Sequence[Bar]]) -> str:
    """A task after the other, its scores in runs over time; newest first. `colour` 0 is the run that is shown."""
    shown = [
        element("figure", element("figcaption", task), bars([list(found)], chance_label(), has_labels=True))
        for task, found in series.items() if len(found) > 1
    ]  # fmt: skip
    if not shown:
        return block(element("p", said("result_no_history"), class_="quiet"))
    return block(
        element("div", *shown, class_="plots"), element("p", said("result_history_about"), class_="quiet below")
    )


def chance_label() -> str:
    """The dashed line's name; a title cannot be in two languages at once."""
    return " · ".join(STRINGS["result_chance_line"])


@dataclass(frozen=True)
class _Axis:
    """From -end to end, in the score's own unit."""

    end: float

    def at(self, value: float) -> str:
        share = 50 + 50 * max(-1.0, min(1.0, value / self.end))
        return f"{share:.2f}%"


def differences(comparison: Comparison) -> Markup | None:
    """A line for each task: the paired difference with its interval, around a line at zero. None without tasks.

    Differences lead to the right where the candidate is better, also for scores of which less is better.
    """
    if not comparison.tasks:
        return None
    units = dict.fromkeys(task.unit for task in comparison.tasks)
    drawn = [_drawn([task for task in comparison.tasks if task.unit == unit]) for unit in units]
    return element("div", *drawn, class_="differences")


def _drawn(tasks: Sequence[TaskComparison]) -> Markup:
    # Perplexities of two tasks have scales of their own; points are points everywhere.
    shares_axis = tasks[0].unit != "plain"
    ends = [max(*(abs(end) for end in _ends(task)), 1e-12) for task in tasks]
    parts: list[Markup] = []
    y = 0.0
    for task, end in zip(tasks, ends, strict=True):
        parts += _difference(task, _Axis(1.08 * (max(ends) if shares_axis else end)), y)
        y += ROW_HEIGHT
    parts.append(element("line", x1="50%", x2="50%", y1=LABEL_HEIGHT - 2, y2=f"{y:.0f}", class_="zero"))
    parts.append(_text("0", "50%", y + 11, "tick", "middle"))
    for key, place, anchor in (("result_worse_side", "0", "start"), ("result_better_side", "100%", "end")):
        for number, language in enumerate(("en", "zh")):
            parts.append(_text(STRINGS[key][number], place, y + 11, f"tick {language}", anchor))
    return element(
        "svg", *parts, class_="forest", width="100%", height=f"{y + 16:.0f}", role="img", aria_label=_said(tasks)
    )


def _difference(task: TaskComparison, axis: _Axis, top: float) -> list[Markup]:
    low, middle_value, high = _ends(task)
    middle = top + LABEL_HEIGHT + 8
    figure = f"{SIGNS[task.outcome]} {change_text(task.result.difference, task)}"
    parts = [
        _text(task.task, "0", top + 11, "strong", "start"),
        _text(f"{figure} {interval_text(task, ', ', ('[', ']'))}", "100%", top + 11, "num", "end"),
        element("line", x1="0", x2="100%", y1=middle, y2=middle, class_="track-line"),
    ]
    if low < high:
        parts.append(element("line", x1=axis.at(low), x2=axis.at(high), y1=middle, y2=middle, class_="whisker"))
        parts += [
            element("line", x1=axis.at(x), x2=axis.at(x), y1=middle - 4, y2=middle + 4, class_="whisker")
            for x in (low, high)
        ]
    return [*parts, _mark(task.outcome, axis.at(middle_value), middle)]


def _ends(task: TaskComparison) -> tuple[float, float, float]:
    """Low end, difference and high end, better to the right; all equal where there is no interval."""
    sign, result = 1.0 if task.is_higher_better else -1.0, task.result
    if result.low is None or result.high is None:
        return (sign * result.difference,) * 3
    low, high = sorted((sign * result.low, sign * result.high))
    return low, sign * result.difference, high


def _mark(outcome: str, x: str, y: float) -> Markup:
    """Filled for better, hollow for no change, a triangle for worse: told apart without colour."""
    if outcome == "worse":
        # A polygon cannot stand at a percentage; a letter can.
        return element("text", "▲", x=x, y=f"{y + 4.5:.1f}", class_="mark worse", text_anchor="middle")
    return element("circle", cx=x, cy=f"{y:.1f}", r=4.5, class_="mark better" if outcome == "better" else "mark no")


def _text(words: str, x: str, y: float, class_: str, anchor: str) -> Markup:
    return element("text", words, x=x, y=f"{y:.1f}", class_=class_, text_anchor=anchor)


def _said(tasks: Sequence[TaskComparison]) -> str:
    return "; ".join(
        f"{task.task}: {change_text(task.result.difference, task)}"
        f" {interval_text(task, ', ', ('[', ']'))}, {p_text(task.p_corrected)}"
        for task in tasks
    )


def _figure(caption: str, drawn: Markup, about: str | None = None) -> Markup:
    words = element("p", said(about), class_="quiet") if about else None
    return element("figure", element("figcaption", said(caption)), joined(drawn, words))


def _axes(groups: Sequence[Group]) -> list[Group]:
    """Scores from 0 to 1 only: the others have no place on a common rim."""
    return [group for group in groups if group[0].row.is_share]
