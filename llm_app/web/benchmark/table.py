"""The result table of a run, with what each metric means and the numbers of this run put into it."""

from collections.abc import Sequence

from eval.report import Row
from eval.report.markup import Child, Markup, element, joined
from eval.report.numbers import interval_text, score_text
from eval.report.rows import first_rows
from llm_app.jobs.store import Run
from llm_app.web.benchmark.results_cache import Figures
from llm_app.web.benchmark.results_markup import block, said, written
from llm_app.web.benchmark.table_metrics import explained
from llm_app.web.runs.views import when
from llm_app.web.text import STRINGS

STATUS = {
    "done": "result_run_done", "cancelled": "result_run_cancelled", "interrupted": "result_run_interrupted",
    "paused": "result_run_paused", "failed": "result_run_failed", "damaged": "result_run_damaged",
}  # fmt: skip
NUMERIC = {"value", "interval", "stderr", "n"}
HEADS = {
    "task": "col_task", "metric": "col_metric", "value": "col_value", "interval": "col_interval",
    "stderr": "col_stderr", "n": "col_n", "version": "col_version", "notes": "col_notes",
}  # fmt: skip
BETTER = {True: "result_higher_better", False: "result_lower_better"}


def head(run: Run, figures: Figures, *, is_filing: bool = False) -> str:
    """Which run this is and how it ended, in a line. `is_filing`: whether some scores are still to come."""
    facts = [when(run.created), run.id]
    parts: list[Child] = [
        element("b", written(figures.reported.label)),
        element("span", said(STATUS[run.status]), class_=f"chip {run.status}"),
        element("span", " · ".join(facts), class_="quiet"),
    ]
    lines: list[Child] = [element("p", *_spaced(parts), class_="run-head")]
    if is_filing:
        lines.append(element("p", said("result_filing"), class_="quiet", role="status"))
    if run.reason and run.status != "done":
        lines.append(element("p", written(run.reason), class_="quiet"))
    if run.note:
        lines.append(element("p", written(run.note), class_="quiet"))
    return block(*lines)


def table(rows: Sequence[Row]) -> str:
    """The first score of each task, with direction, interval and marks; the others folded below."""
    if not rows:
        return block(element("p", said("result_nothing_scored"), class_="quiet"))
    first = first_rows(rows)
    others = [row for row in rows if row not in first]
    rest = None
    if others:
        summary = element("summary", said("result_other_scores", n=len(others)))
        rest = element("details", summary, _table(others), class_="fold-line", data_fold="scores")
    return block(_table(first), rest, element("p", said("result_arrows"), class_="quiet below"))


def _table(rows: Sequence[Row]) -> Markup:
    """On a phone a row becomes a small block."""
    heads = [element("th", said(name), scope="col", class_=_class(key)) for key, name in HEADS.items()]
    lines, last = [], ""
    for row in rows:
        lines.append(_line(row, is_first=row.task != last))
        last = row.task
    return element("table", element("thead", element("tr", *heads)), element("tbody", *lines), class_="scores")


def _line(row: Row, *, is_first: bool) -> Markup:
    title = None if row.is_higher_better is None else " · ".join(STRINGS[BETTER[row.is_higher_better]])
    arrow = element("span", row.direction, title=title) if row.direction else None
    cells: dict[str, Child] = {
        "task": written(row.task),
        "metric": joined(element("span", written(row.title), " ", arrow, class_="name"), _what(row)),
        "value": score_text(row.value, row.unit), "interval": interval_text(row),
        "stderr": "" if row.stderr is None else score_text(row.stderr, row.unit), "n": f"{row.n:,}",
        "version": written(row.version), "notes": _notes(row),
    }  # fmt: skip
    return element(
        "tr", *(element("td", _label(key), cell, class_=_class(key)) for key, cell in cells.items()),
        class_="first" if is_first else None,
    )  # fmt: skip


def _label(key: str) -> Markup | None:
    """Names a number where the head of the table is not shown."""
    return element("span", said(HEADS[key]), " ", class_="label") if key in ("stderr", "n", "version") else None


def _what(row: Row) -> Markup | None:
    if row.value is None:
        return None
    words = " · ".join(STRINGS["result_what_is_this"])
    question = element("summary", "?", title=words, aria_label=words)
    fold = "/".join(("what", *row.key))
    return element("details", question, element("div", *explained(row)), class_="what", data_fold=fold)


def _notes(row: Row) -> Markup:
    found: list[Markup] = []
    if row.is_partial:
        found.append(said("result_note_partial", done=row.n_answered, total=row.n_asked))
    if row.n_unscored:
        found.append(said("result_note_not_scored", n=row.n_unscored))
    if row.is_like_guessing:
        found.append(said("result_note_guessing", chance=f"{row.chance:.3g}"))
    return joined(*(element("span", note, class_="note") for note in found))


def _class(key: str) -> str:
    return f"{key} num" if key in NUMERIC else key


def _spaced(parts: Sequence[Child]) -> list[Child]:
    return [part for pair in ((part, " ") for part in parts) for part in pair]
