"""The table that lies on the desk: which file, how it is read, what its columns are. It is read once."""

import base64
import binascii
import json
import threading
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import llm_app.data
from llm_app.classify.guess import guess
from llm_app.classify.table import Columns, LabelledTable, labelled
from llm_app.config import Settings
from llm_app.data.decode import decode
from llm_app.data.read import read_file
from llm_app.data.table import FileRefused, Limits, Reading, Table
from llm_app.errors import UserError
from llm_app.jobs import train_public
from llm_app.web.failures import SentenceError
from llm_app.web.tune.data_draft import ENCODINGS
from llm_app.web.tune.data_shelf import DataShelf

EXAMPLE = Path(llm_app.data.__file__).parent / "examples" / "feedback.csv"
THE_EXAMPLE = "example"
SEPARATORS = {",": "separator_comma", ";": "separator_semicolon", "\t": "separator_tab", "|": "separator_bar"}
HEADERS = {"names": True, "data": False}
PASTED = "pasted.csv"
MAX_KEPT = 4  # tables, of all visitors
MAX_PASTED = 400_000  # characters that a browser edits with ease
MAX_WORD = 20_000


@dataclass(frozen=True)
class Laid:
    """A table on the desk. `columns`: None are guessed; `drops`: rows without a label are left out of training."""

    path: str
    reading: Reading = Reading()
    columns: Columns | None = None
    drops: bool = False

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

    def __init__(self, settings: Settings) -> None:
        self.limits = train_public.FILE if settings.is_public else Limits()
        self._lock = threading.Lock()
        self._tables: OrderedDict[tuple[str, Reading], Table] = OrderedDict()
        self._rows: OrderedDict[tuple[str, Reading, Columns], LabelledTable] = OrderedDict()

    def table(self, laid: Laid) -> Table:
        """Its rows, whatever they mean. Raises: UserError naming what is wrong with the file."""
        key = (laid.path, laid.reading)  # files of a shelf lie under their content
        with self._lock:
            table = self._tables.get(key)
        if table is None or not Path(laid.path).is_file():
            table = read_file(laid.path, reading=laid.reading, limits=self.limits)
            with self._lock:
                self._tables[key] = table
                if len(self._tables) > MAX_KEPT:
                    self._tables.popitem(last=False)
        return table

    def read(self, laid: Laid) -> Known:
        """Its rows as items. Raises: UserError naming what is wrong with the file or the columns."""
        table = self.table(laid)
        columns = laid.columns or guess(table)
        key = (laid.path, laid.reading, columns)
        with self._lock:
            rows = self._rows.get(key)
        if rows is None:
            rows = labelled(table, columns)
            with self._lock:
                self._rows[key] = rows
                if len(self._rows) > MAX_KEPT:
                    self._rows.popitem(last=False)
        return Known(replace(laid, columns=columns), table, rows)


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
    place = THE_EXAMPLE if path == EXAMPLE else f"{path.parent.name}/{path.name}"
    columns = asdict(laid.columns) if laid.columns else None
    row = {"place": place, "reading": asdict(laid.reading), "columns": columns, "drops": laid.drops}
    return base64.b64encode(json.dumps(row).encode()).decode()


def remembered(word: object, shelf: DataShelf) -> Laid:
    """What `written` wrote; nothing of it is trusted.

    Raises: SentenceError for anything else, or a table that is no longer there.
    """
    try:
        if not isinstance(word, str) or len(word) > MAX_WORD:
            raise ValueError(word)
        row = json.loads(base64.b64decode(word, validate=True))
        place, columns = row["place"], row["columns"]
        laid = Laid(
            str(EXAMPLE if place == THE_EXAMPLE else shelf.root / str(place)), Reading(**row["reading"]),
            Columns(**columns) if columns else None, row["drops"] is True,
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
        raise SentenceError("wrong_value") from None
    if Path(laid.path) != EXAMPLE and not shelf.holds(Path(laid.path)):
        raise SentenceError("table_gone")
    return laid
