"""What came of a table, as files: the table with its labels as CSV, the scores as plain values for JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eval.report.sheet import Cell, csv_text
from llm_app.classify.judged import Judged, Row
from llm_app.classify.table import LabelledTable
from llm_app.classify.types import Kind, Prediction, Unclassified

TAKEN = "predicted "  # before a column of ours whose name the table has already


def csv_of(table: LabelledTable, judged: Judged) -> str:
    """The whole table in its order, bad rows among the others: its columns, then the line and what was found.

    single: `label`, `probability` and one column a label; multi: `label` holds all of them; regression: `value`. Then
    `n_cut` (tokens that were left out) and `error`. A name that the table has already gets "predicted " before it.
    """
    own = _own_columns(judged.kind, judged.labels)
    names = [*table.names, *(TAKEN + name if name in table.names else name for name in own)]
    return csv_text(names, _lines(table, judged, len(own)))


def summary(table: LabelledTable, judged: Judged) -> dict[str, Any]:
    """How many rows there are, and how many of them are scored, for what reasons others are not."""
    return {
        "table": table.name, "digest": table.digest, "text": table.columns.text, "pair": table.columns.pair,
        "truth": table.columns.truth, "kind": judged.kind, "labels": list(judged.labels),
        "n_rows": len(table.items) + len(table.problems), "n_bad": len(table.problems),
        "n_scored": len(judged.places), "n_unlabelled": judged.n_unlabelled,
        "n_unclassified": sum(row.answer is None for row in judged.rows),
        "n_cut": sum(isinstance(row.outcome, Prediction) and row.outcome.n_cut > 0 for row in judged.rows),
        "threshold": judged.threshold,
    }  # fmt: skip


def scores_of(judged: Judged) -> dict[str, Any] | None:
    """All figures with their intervals, the confusion of labels and the bins of reliability; None without truths."""
    from eval.classification import confusion, plain, reliability

    scores = judged.scores()
    if scores is None:
        return None
    found = plain(scores)
    if judged.kind == "single":
        scored = [judged.rows[place] for place in judged.places]
        matrix = confusion([str(row.answer) for row in scored], [str(row.truth) for row in scored], judged.labels)
        found["confusion"] = {"labels": list(matrix.labels), "counts": [list(row) for row in matrix.counts]}
        number = {label: place for place, label in enumerate(judged.labels)}
        bins = reliability(judged.probabilities(), [number.get(str(row.truth), -1) for row in scored])
        found["reliability"] = [
            {
                "low": one.low, "high": one.high, "n": one.accuracy.n, "confidence": one.confidence,
                "accuracy": one.accuracy.estimate,
            }
            for one in bins
        ]
    return found


def _own_columns(kind: Kind, labels: Sequence[str]) -> list[str]:
    if kind == "regression":
        return ["line", "value", "n_cut", "error"]
    return ["line", "label", "probability", *(f"p({label})" for label in labels), "n_cut", "error"]


def _lines(table: LabelledTable, judged: Judged, n_own: int) -> Iterator[Sequence[Cell]]:
    places = {id(row): place for place, row in enumerate(table.rows)}
    reasons: dict[int, list[str]] = {}  # line -> of the bad rows that begin there
    for problem in table.problems:
        reasons.setdefault(problem.origin.line, []).append(problem.reason)
    lines: list[tuple[int, Sequence[Cell]]] = []
    for row in table.table.rows:
        place = places.get(id(row))
        if place is None:
            own = _bad(row.line, reasons[row.line].pop(0), n_own)
        else:
            own = [row.line, *_found(judged.kind, judged.rows[place], len(judged.labels), table.columns.separator)]
        lines.append((row.line, [*_cells(table.names, row.cells), *own]))
    # What is left are rows that could not even be taken apart.
    for line, left in reasons.items():
        lines += [(line, [*[None] * len(table.names), *_bad(line, reason, n_own)]) for reason in left]
    yield from (cells for _, cells in sorted(lines, key=lambda one: one[0]))


def _bad(line: int, reason: str, n_own: int) -> list[Cell]:
    return [line, *[None] * (n_own - 2), reason]


def _found(kind: Kind, row: Row, n_labels: int, separator: str) -> list[Cell]:
    if not isinstance(row.outcome, Prediction):
        error = row.outcome.reason if isinstance(row.outcome, Unclassified) else "not classified yet"
        return [*[None] * (2 if kind == "regression" else n_labels + 3), error]
    scores, n_cut = row.outcome.scores, row.outcome.n_cut
    if kind == "regression":
        return [scores[0], n_cut, None]
    said = separator.join(row.answer) if isinstance(row.answer, tuple) else str(row.answer)
    return [_cell(said), row.confidence, *scores, n_cut, None]


def _cells(names: Sequence[str], cells: Mapping[str, Any]) -> list[Cell]:
    return [_cell(cells.get(name)) for name in names]


def _cell(value: Any) -> Cell:
    """A cell as it was. A number that stands there as text stays one: -1 is no formula."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        for kind in (int, float):
            try:
                if repr(kind(value)) == value:
                    return kind(value)
            except ValueError:
                continue
        return value
    return value if value is None or isinstance(value, int | float) else str(value)
