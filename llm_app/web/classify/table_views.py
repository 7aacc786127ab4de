"""What is shown of a table: pure functions, of text that is always escaped."""

import json
from typing import Any

from eval.report.markup import Markup, element
from llm_app.classify.table import repeated
from llm_app.data.types import BadRow
from llm_app.web.benchmark.results_markup import block, said, told, written
from llm_app.web.classify.desk import Known
from llm_app.web.text import filled
from llm_app.web.views import joined, notice

SHOWN_ROWS, SHOWN_COLUMNS, SHOWN_LABELS, SHOWN_BAD = 5, 12, 30, 200
CELL_CHARACTERS = 140


def about(known: Known) -> str:
    """How many rows, which labels, what repeats; and what was found out of how the file is written."""
    rows = known.rows
    parts = [element("p", said("table_about", title=rows.name, n=len(rows.items)), class_="data-about"), _labels(known)]
    again = repeated(rows).n_duplicates
    notes = [element("p", said("table_duplicates", n=again), class_="notice info")] if again else []
    if rows.columns.truth and rows.unlabelled:
        notes.append(element("p", said("table_unlabelled", n=len(rows.unlabelled)), class_="notice info"))
    notes += [element("p", told((note.text, note.text_zh)), class_="notice info") for note in rows.notes]
    return block(*parts, *notes)


def brought(known: Known) -> str:
    """The table in a line, for the place where it came in."""
    rows, name = known.rows, known.rows.name
    n_bad = len(rows.problems)
    problems = filled("table_n_bad" if n_bad != 1 else "table_one_bad", n=n_bad) if n_bad else ("", "")
    line = joined((name, name), filled("table_n_rows", n=len(rows.items)), problems)
    return block(element("p", told(line), class_="brought", role="status"))


def preview(known: Known) -> str:
    """The first rows with the lines that they stand on; columns in use are named first."""
    rows = known.rows
    used = [name for name in (rows.columns.text, rows.columns.pair, rows.columns.truth) if name]
    names = [*used, *(name for name in rows.names if name not in used)][:SHOWN_COLUMNS]
    head = element(
        "tr", element("th", said("own_line"), scope="col"),
        *(element("th", written(name[:CELL_CHARACTERS]), scope="col") for name in names),
    )  # fmt: skip
    lines = [
        element(
            "tr", element("th", row.line, scope="row"),
            *(element("td", written(cell(row.cells.get(name)))) for name in names),
        )
        for row in rows.rows[:SHOWN_ROWS]
    ]
    table = element("table", element("thead", head), element("tbody", *lines), class_="plain grid")
    title = element("summary", said("table_first", n=len(lines)))
    wide = element("div", table, class_="wide", tabindex="0")
    return block(element("details", title, wide, data_fold="table-preview", open=""))


def bad_rows(known: Known, *, can_mend: bool) -> str:
    """Rows that are none, each with its line and the reason; where they are mended."""
    bad = known.rows.problems
    if not bad:
        return ""
    lines = [_bad(row) for row in bad[:SHOWN_BAD]]
    more = element("li", said("own_more_lines", n=len(bad) - len(lines))) if len(bad) > len(lines) else None
    where = said("table_mend" if can_mend else "table_too_large_to_edit")
    return notice(
        block(
            said("table_bad_rows", n=len(bad)), " ", where,
            element("ul", *lines, more, class_="lines", tabindex="0"),
        ), "warning",
    )  # fmt: skip


def cell(value: Any) -> str:
    """A cell as its file has it, cut where it is long."""
    words = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return words if len(words) <= CELL_CHARACTERS else words[: CELL_CHARACTERS - 1] + "…"


def _labels(known: Known) -> Markup | None:
    rows = known.rows
    if rows.columns.kind == "regression":
        values = [truth for truth in rows.truths if isinstance(truth, float)]
        return element("p", said("table_range", low=min(values), high=max(values)), class_="quiet") if values else None
    counts = rows.n_labels
    if not counts:
        return None
    shown = [
        element("li", written(label), " ", element("b", f"{n:,}")) for label, n in list(counts.items())[:SHOWN_LABELS]
    ]
    more = element("li", f"+ {len(counts) - SHOWN_LABELS:,}") if len(counts) > SHOWN_LABELS else None
    return element("ul", element("li", said("table_labels", n=len(counts)), class_="quiet"), *shown, more,
                   class_="settings")  # fmt: skip


def _bad(row: BadRow) -> Markup:
    return element("li", said("tune_at_line", n=row.origin.line), " ", told((row.reason, row.reason_zh or row.reason)))
