"""Tables of the Classify tab: each is read once, and held once, for the desk and for all runs over it."""

import hashlib
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from llm_app.classify.table import LabelledTable, labelled
from llm_app.data.read import read_file
from llm_app.data.table import MEGABYTE, Limits, Reading, Table
from llm_app.jobs.classify import Source, table_of
from llm_app.jobs.folder import RunFolder
from llm_app.web.classify.recent import Recent

MAX_BYTES = 256 * MEGABYTE  # in memory, of all tables together
ROW_BYTES, CELL_BYTES = 500, 160  # of a row that is an item too; of a cell with a short text, as CPython has them
Found = TypeVar("Found")


class Tables:
    """Reads tables. Whoever asks names a file, or has a run of their own. For any thread."""

    def __init__(self) -> None:
        self._tables: Recent[Table] = Recent(MAX_BYTES, _n_bytes)
        self._rows: Recent[LabelledTable] = Recent(MAX_BYTES, lambda rows: _n_bytes(rows.table))

    def table(self, path: Path, reading: Reading, limits: Limits, name: str | None = None) -> Table:
        """The rows of a file, whatever they mean. Raises: UserError naming what is wrong with it."""
        name = name or path.name
        return _kept(
            self._tables, _key(path, reading, name), lambda: read_file(path, name, reading=reading, limits=limits)
        )

    def read(self, source: Source, name: str | None = None) -> LabelledTable:
        """The rows as items. Raises: UserError naming what is wrong with the file or the columns."""
        file = _key(source.path, source.reading, name or source.path.name)
        return _kept(
            self._rows, file and (file, source.columns),
            lambda: labelled(self.table(source.path, source.reading, source.limits, name), source.columns),
        )  # fmt: skip

    def of_run(self, folder: RunFolder) -> LabelledTable:
        """The table of a run. Raises: UserError if it is damaged."""
        return table_of(folder, self.read)


def _kept(recent: Recent[Found], key: Hashable, make: Callable[[], Found]) -> Found:
    """What is kept under the key; of no file at all, nothing is."""
    return make() if key is None else recent.get(key, make)


def _key(path: Path, reading: Reading, name: str) -> Hashable:
    """By what the file holds: the copy that a run keeps is the same table. None for a file that is not there."""
    try:
        about = path.stat()
        return _digest(path, about.st_size, about.st_mtime_ns), reading, name
    except OSError:
        return None  # whoever reads it will say so, or it is there by then


@lru_cache(maxsize=64)
def _digest(path: Path, n_bytes: int, changed_ns: int) -> str:
    """SHA-256 of a file that has not changed since."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _n_bytes(table: Table) -> int:
    """About what it takes; long texts, of which a few tell how long all are, count by their length."""
    rows = table.rows[:: max(1, len(table.rows) // 1_000)]
    n_text = sum(len(value) for row in rows for value in row.cells.values() if isinstance(value, str))
    cells = CELL_BYTES * len(table.columns)
    return len(table.rows) * (ROW_BYTES + cells + 2 * n_text // max(1, len(rows)))
