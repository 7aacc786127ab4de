"""All forms in which a report leaves the program, each a text."""

import json
from collections.abc import Sequence
from typing import Literal, get_args

from eval.report.card import eval_results_yaml, model_index_yaml
from eval.report.markdown import markdown
from eval.report.page import Section, html_page
from eval.report.rows import Row, row_data, rows_of
from eval.report.run import Reported
from eval.report.sheet import COLUMNS, csv_text, result_cells
from eval.report.text import Language
from eval.types import EvaluationError

Format = Literal["html", "markdown", "csv", "json", "eval-results", "model-index", "command"]
FORMATS: tuple[Format, ...] = get_args(Format)
ONE_RUN: tuple[Format, ...] = ("eval-results", "model-index")  # they stand in one model's repository


def export(
    reported: Sequence[Reported], form: Format, *, language: Language = "en", sections: Sequence[Section] = ()
) -> str:
    """One or more runs as text. `language` and `sections` (ready-made parts) are of the HTML page only.

    What no file in UTF-8 can hold (half a surrogate pair, which a model may well write) becomes a question mark.
    Raises: EvaluationError if a form takes one run only, or has nothing to hold.
    """
    if form in ONE_RUN and len(reported) > 1:
        raise EvaluationError(f"{form} is the file of one model; name one run.")
    rows = [] if form == "command" else [rows_of(run) for run in reported]
    written = _written(reported, rows, form, language, sections)
    return written.encode("utf-8", errors="replace").decode("utf-8")


def _written(
    reported: Sequence[Reported], rows: Sequence[Sequence[Row]], form: Format, language: Language,
    sections: Sequence[Section],
) -> str:
    if form == "html":
        return html_page(reported, rows, language=language, sections=sections)
    if form == "markdown":
        return markdown(reported, rows)
    if form == "csv":
        return csv_text(COLUMNS, [
            result_cells(run.run.id, run.label, row) for run, found in zip(reported, rows, strict=True) for row in found
        ])
    if form == "json":
        return json_text(reported, rows)
    if form == "command":
        return "".join(f"{_command(run)}\n" for run in reported)
    made = eval_results_yaml if form == "eval-results" else model_index_yaml
    return made(reported[0], rows[0])


def json_text(reported: Sequence[Reported], rows: Sequence[Sequence[Row]]) -> str:
    """Runs with model, settings, versions and rows; null for what is no finite number."""
    runs = [
        {
            "id": run.run.id, "label": run.label, "created": run.created, "model": dict(run.model),
            "settings": dict(run.settings), "versions": dict(run.versions), "command": run.command,
            "results": [row_data(row) for row in found],
        }
        for run, found in zip(reported, rows, strict=True)
    ]
    return json.dumps({"runs": runs}, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def _command(reported: Reported) -> str:
    if not reported.command:
        raise EvaluationError(f"The command of {reported.run.id} is not known: it was made by another program.")
    return reported.command
