"""The table that lies on the desk: which file, how it is read, what its columns are."""

import base64
import binascii
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import llm_app.data
from llm_app.classify.guess import guess
from llm_app.classify.table import Columns, LabelledTable
from llm_app.config import Settings
from llm_app.data.decode import decode
from llm_app.data.table import FileRefused, Limits, Reading, Table
from llm_app.errors import UserError
from llm_app.jobs import train_public
from llm_app.jobs.classify import Source
from llm_app.web.classify.tables import Tables
from llm_app.web.failures import SentenceError
from llm_app.web.tune.data_draft import ENCODINGS
from llm_app.web.tune.data_shelf import DataShelf

EXAMPLE = Path(llm_app.data.__file__).parent / "examples" / "feedback.csv"
THE_EXAMPLE = "example"
SEPARATORS = {",": "separator_comma", ";": "separator_semicolon", "\t": "separator_tab", "|": "separator_bar"}
HEADERS = {"names": True, "data": False}
PASTED = "pasted.csv"
MAX_PASTED = 400_000  # characters that a browser edits with ease
MAX_WORD = 20_000


@dataclass(frozen=True)
class Laid:
    """A table on the desk. `columns`: None are guessed; `drops`: rows without a label are left out of training.

    `scored_on`: a file of rows for the scores of a training alone, read as the table is.
    """

    path: str
    reading: Reading = Reading()
    columns: Columns | None = None
    drops: bool = False
    scored_on: str | None = None

    @property
    def name(self) -> str:
        """What it is called; its folder is nobody's business."""
        return Path(self.path).name


@dataclass(frozen=True)
class Known:
    """A table that was read."""

    laid: Laid
    table: Table
    rows: LabelledTable


class Desk:
    """Reads tables. Whoever asks names a file, which only the visitor's own shelf can."""

    def __init__(self, settings: Settings, tables: Tables) -> None:
        self.limits = train_public.FILE if settings.is_public else Limits()
        self._tables = tables

    def table(self, laid: Laid) -> Table:
        """Its rows, whatever they mean. Raises: UserError naming what is wrong with the file."""
        return self._tables.table(Path(laid.path), laid.reading, self.limits)

    def source(self, laid: Laid, columns: Columns) -> Source:
        """The file and how it is read, as a run names it."""
        return Source(Path(laid.path), columns, laid.reading, self.limits)

    def found(self, laid: Laid | None) -> Known:
        """The same, of what must lie there. Raises: SentenceError if nothing does, or no longer."""
        if laid is None:
            raise SentenceError("table_none")
        if not Path(laid.path).is_file():
            raise SentenceError("table_gone")
        return self.read(laid)

    def scored_rows(self, laid: Laid) -> LabelledTable:
        """The rows for the scores alone. Raises: UserError naming what is wrong with their file or the columns."""
        if laid.columns is None or laid.columns.truth is None:
            raise SentenceError("table_no_truth")
        if laid.scored_on is None or not Path(laid.scored_on).is_file():
            raise SentenceError("table_gone")
        return self._tables.read(self.source(replace(laid, path=laid.scored_on), laid.columns))

    def read(self, laid: Laid) -> Known:
        """Its rows as items. Raises: UserError naming what is wrong with the file or the columns."""
        table = self.table(laid)
        columns = laid.columns or guess(table)
        return Known(replace(laid, columns=columns), table, self._tables.read(self.source(laid, columns)))


def text_of(laid: Laid) -> str | None:
    """The file as text, to be mended; None for one that is too large for that, or none."""
    path = Path(laid.path)
    if path.stat().st_size > 2 * MAX_PASTED or path.suffix.lower() in (".parquet", ".pq"):
        return None
    try:
        text, _ = decode(path.read_bytes(), laid.reading.encoding)
    except (FileRefused, UserError):
        return None
    return text if len(text) <= MAX_PASTED else None


def reading_of(encoding: object, separator: object, header: object) -> Reading:
    """How the form says that the file is read; "auto" finds it out.

    Raises: SentenceError for what no form of ours sends.
    """
    if encoding not in ("auto", *ENCODINGS) or separator not in ("auto", *SEPARATORS):
        raise SentenceError("wrong_value")
    if header not in ("auto", *HEADERS):
        raise SentenceError("wrong_value")
    return Reading(
        None if encoding == "auto" else str(encoding), None if separator == "auto" else str(separator),
        HEADERS.get(str(header)),
    )  # fmt: skip


def written(laid: Laid | None) -> str:
    """The table as a word that a browser remembers: its place on the shelf, and nothing that is HTML."""
    if laid is None:
        return ""
    path = Path(laid.path)
    columns = asdict(laid.columns) if laid.columns else None
    row = {
        "place": THE_EXAMPLE if path == EXAMPLE else _place(path), "reading": asdict(laid.reading), "columns": columns,
        "drops": laid.drops, "scored_on": _place(Path(laid.scored_on)) if laid.scored_on else None,
    }  # fmt: skip
    return base64.b64encode(json.dumps(row).encode()).decode()


def remembered(word: object, shelf: DataShelf) -> Laid:
    """What `written` wrote; nothing of it is trusted.

    Raises: SentenceError for anything else, or a table that is no longer there.
    """
    try:
        if not isinstance(word, str) or len(word) > MAX_WORD:
            raise ValueError(word)
        row = json.loads(base64.b64decode(word, validate=True))
        place, columns, scored_on = row["place"], row["columns"], row.get("scored_on")
        laid = Laid(
            str(EXAMPLE if place == THE_EXAMPLE else shelf.root / str(place)), Reading(**row["reading"]),
            Columns(**columns) if columns else None, row["drops"] is True,
            str(shelf.root / str(scored_on)) if scored_on else None,
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
        raise SentenceError("wrong_value") from None
    if Path(laid.path) != EXAMPLE and not shelf.holds(Path(laid.path)):
        raise SentenceError("table_gone")
    if laid.scored_on is not None and not shelf.holds(Path(laid.scored_on)):
        raise SentenceError("table_gone")
    return laid


def _place(path: Path) -> str:
    """Where a file lies on the shelf."""
    return f"{path.parent.name}/{path.name}"
