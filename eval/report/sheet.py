"""Tables as CSV that a spreadsheet opens as data, never as a formula."""

import csv
import io
from collections.abc import Iterable, Sequence

from eval.report.rows import Row

# A cell that begins with one of these is taken as a formula by Excel, LibreOffice or Google Sheets.
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
Cell = str | int | float | bool | None
COLUMNS = (
    "run", "model", "task", "metric", "filter", "direction", "value", "stderr", "low", "high", "interval", "n",
    "n_answered", "n_asked", "n_unscored", "partial", "version", "shots", "chance", "like_guessing",
    "stderr_harness", "passages",
)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Header and rows, UTF-8, lines end in CR LF as RFC 4180 says. Numbers are written whole and stay numbers.

    Text that a spreadsheet would take as a formula gets an apostrophe before it.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow([safe_cell(name) for name in columns])
    for row in rows:
        writer.writerow([safe_cell(cell) for cell in row])
    return written.getvalue()


def safe_cell(cell: Cell) -> str:
    """The cell as CSV holds it: empty for None, true or false, a number, or text that is no formula."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int | float):
        return repr(cell)
    # Spaces before the sign do not stop a spreadsheet; a NUL would stop a reader of the file.
    text = cell.replace("\0", "")
    is_formula = text.startswith(FORMULA_SIGNS) or text.lstrip().startswith(FORMULA_SIGNS)
    return "'" + text if is_formula else text


def result_cells(run_id: str, label: str, row: Row) -> tuple[Cell, ...]:
    """A row in the order of COLUMNS."""
    return (
        run_id, label, row.task, row.metric, row.filter, row.direction, row.value, row.stderr, row.low, row.high,
        row.interval, row.n, row.n_answered, row.n_asked, row.n_unscored, row.is_partial, row.version, row.n_shots,
        row.chance, row.is_like_guessing, row.stderr_harness, row.n_passages,
    )
