"""A data file as rows: what every reader gives, and how much it may take."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm_app.data.types import BadRow, Note
from llm_app.errors import UserError

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much of a file is read. Beyond it the file is refused, or with `n_first` rows no more are read."""

    file_bytes: int = 200 * MEGABYTE
    n_rows: int = 1_000_000
    n_columns: int = 1_000
    cell_characters: int = 10_000_000
    n_first: int | None = None  # for a preview


@dataclass(frozen=True)
class Reading:
    """What the person says about a file; what is None is found out and told."""

    encoding: str | None = None  # a name of Python's codecs
    separator: str | None = None
    has_header: bool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.encoding, str | None):
            raise UserError("encoding must be a text, such as utf-8.", param="encoding")
        if self.separator is not None and (not isinstance(self.separator, str) or len(self.separator) != 1):
            raise UserError("separator must be one character.", param="separator")
        if not isinstance(self.has_header, bool | None):
            raise UserError("has_header must be true or false.", param="has_header")


@dataclass(frozen=True)
class Row:
    """Cells by column, text or JSON values as the file has them, and the line (else the row) they begin on, from 1."""

    line: int
    cells: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A data file: its rows, those that could not be read, and how it was read.

    A row may lack a column. `is_whole` is False where only the first rows were asked for and there are more.
    """

    name: str
    kind: str  # jsonl, json, csv, parquet or txt
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    problems: tuple[BadRow, ...] = ()
    notes: tuple[Note, ...] = ()
    digest: str = ""  # SHA-256 of the file
    is_whole: bool = True


class FileRefused(Exception):
    """The file cannot be read as a whole, with the reason and, where there is one, the line; `read_file` names it."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line
