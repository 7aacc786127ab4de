"""Rows of a person's own data file: JSONL, CSV or TSV, each with its line, so that an error can name it."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.types import EvaluationError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Row:
    """Cells by column, and the line of the file that they begin on."""

    line: int
    cells: dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """All rows; blank lines are none.

    Raises: EvaluationError naming file and line, for what is not there, not text, or not of its format.
    """
    suffix = path.suffix.lower()
    if suffix not in (*DELIMITERS, *LINES):
        raise EvaluationError(f"{path.name}: data files end in {', '.join((*LINES, *DELIMITERS))}.")
    if not path.is_file():
        raise EvaluationError(f"There is no data file {path}.")
    text = _text(path)
    return list(_of_json_lines(path.name, text) if suffix in LINES else _of_table(path.name, text, DELIMITERS[suffix]))


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")  # spreadsheets put a mark at the start
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise EvaluationError(f"{path.name}, line {line}: this is not UTF-8; save the file as UTF-8.") from None


def _of_json_lines(name: str, text: str) -> Iterator[Row]:
    # Only the line feed ends a line of JSONL; splitlines() would also cut at characters that JSON text may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except json.JSONDecodeError as error:
            raise EvaluationError(f"{name}, line {number}: not JSON ({error.msg}, column {error.colno}).") from None
        except RecursionError:
            raise EvaluationError(f"{name}, line {number}: nested too deeply.") from None
        except ValueError:  # more digits than Python reads
            raise EvaluationError(f"{name}, line {number}: a number is too long.") from None
        if not isinstance(cells, dict):
            raise EvaluationError(f'{name}, line {number}: each line must be an object, such as {{"text": "..."}}.')
        yield Row(number, cells)


def _of_table(name: str, text: str, delimiter: str) -> Iterator[Row]:
    # A cell in quotes may span lines, so line ends are left as they are.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            first, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                _check_header(name, header)
            elif len(cells) != len(header):
                raise EvaluationError(
                    f"{name}, line {first}: {len(cells)} cells, but the first line names {len(header)} columns;"
                    " put a cell that holds the separator into double quotes."
                )
            else:
                yield Row(first, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise EvaluationError(
            f"{name}, line {reader.line_num}: {error}. For texts with quotes or line ends JSONL is the safer format."
        ) from None


def _check_header(name: str, header: list[str]) -> None:
    twice = next((cell for number, cell in enumerate(header) if cell in header[:number]), None)
    if twice is not None:
        raise EvaluationError(f"{name}: two columns are called {twice!r}.")
