"""Rows of a person's own data file: JSONL, CSV or TSV, each with its line, so that an error can name it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.files.records import Broken, records
from eval.files.strict_json import Refused, values_of
from eval.types import EvaluationError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
LINES = (".jsonl", ".ndjson")
NO_OBJECT = Refused('each line must be an object, such as {"text": "..."}', '每行须为一个对象，例如 {"text": "..."}')


@dataclass(frozen=True)
class Row:
    """Cells by column, and the line of the file that they begin on. `problem`: why there are none."""

    line: int
    cells: dict[str, Any]
    problem: Refused | None = None


def read_rows(path: Path) -> list[Row]:
    """All rows; blank lines are none, and a line of JSON that cannot be read is a row with a problem.

    Raises: EvaluationError naming file and line, for what is not there, not text, or not of its format.
    """
    suffix = path.suffix.lower()
    if suffix not in (*DELIMITERS, *LINES):
        raise EvaluationError(f"{path.name}: data files end in {', '.join((*LINES, *DELIMITERS))}.")
    if not path.is_file():
        raise EvaluationError(f"There is no data file {path}.")
    text = _text(path)
    rows = list(_of_json_lines(text) if suffix in LINES else _of_table(path.name, text, DELIMITERS[suffix]))
    if rows and all(row.problem for row in rows):
        raise EvaluationError(f"{path.name}, line {rows[0].line}: {rows[0].problem}.")
    return rows


def _text(path: Path) -> str:
    """UTF-8 alone: a benchmark must be the same text to everybody, whatever their program makes of its bytes."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")  # spreadsheets put a mark at the start
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise EvaluationError(f"{path.name}, line {line}: this is not UTF-8; save the file as UTF-8.") from None
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise EvaluationError(f"{path.name}, line {line}: a NUL character; this is no text file, or it was damaged.")
    return text


def _of_json_lines(text: str) -> Iterator[Row]:
    for line, value in values_of(text):
        if isinstance(value, dict):
            yield Row(line, value)
        else:
            yield Row(line, {}, value if isinstance(value, Refused) else NO_OBJECT)


def _of_table(name: str, text: str, delimiter: str) -> Iterator[Row]:
    header: list[str] | None = None
    try:
        for line, cells in records(text, delimiter):
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                _check_header(name, header)
            elif len(cells) != len(header):
                raise EvaluationError(
                    f"{name}, line {line}: {len(cells)} cells, but the first line names {len(header)} columns;"
                    " put a cell that holds the separator into double quotes."
                )
            else:
                yield Row(line, dict(zip(header, cells, strict=True)))
    except Broken as error:
        raise EvaluationError(
            f"{name}, line {error.line}: {error.reason}. For texts with quotes or line ends JSONL is the safer format."
        ) from None


def _check_header(name: str, header: list[str]) -> None:
    if len(header) == 1 and (other := next((sign for sign in ";\t|," if sign in header[0]), None)):
        ending = next((ending for ending, sign in DELIMITERS.items() if sign == other), None)
        mend = f"call the file {ending}" if ending else "save it with commas"
        raise EvaluationError(f"{name}: the first line names one column, {header[0][:80]!r}; to separate cells {mend}.")
    twice = next((cell for number, cell in enumerate(header) if cell in header[:number]), None)
    if twice is not None:
        raise EvaluationError(f"{name}: two columns are called {twice!r}.")
    if "" in header:
        raise EvaluationError(f"{name}: column {header.index('') + 1} has no name.")
