"""Reads a data file strictly: jsonl, json, csv, tsv, parquet or plain text, told apart by what is in it.

A file that cannot be read at all is refused in one sentence; a row that cannot be read is listed with line and reason;
what had to be found out (encoding, separator, kind) is told.
"""

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from eval.files.strict_json import lines_of
from llm_app.data import csv_rows, json_rows
from llm_app.data.decode import decode
from llm_app.data.json_rows import Read
from llm_app.data.table import MEGABYTE, FileRefused, Limits, Reading, Row, Table
from llm_app.data.types import BadRow, Note, bad_row
from llm_app.errors import UserError

KINDS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "csv", ".tab": "csv",
    ".parquet": "parquet", ".pq": "parquet", ".txt": "txt", ".text": "txt", ".md": "txt",
}  # fmt: skip
# How files that are no data begin (offset, bytes), and what they are.
OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive (as spreadsheets of Excel are)"),
    (0, b"PK\x05\x06", "a zip archive"),
    (0, b"\x1f\x8b", "compressed with gzip"),
    (0, b"BZh", "compressed with bzip2"),
    (0, b"\xfd7zXZ\x00", "compressed with xz"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (0, b"\x04\x22\x4d\x18", "compressed with lz4"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a rar archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\xd0\xcf\x11\xe0", "a file of an old Excel or Word"),
    (0, b"%PDF-", "a PDF"),
    (0, b"ARROW1", "an Arrow file"),
    (0, b"SQLite format 3", "an SQLite data base"),
    (0, b"\x89HDF", "an HDF5 file"),
)


KINDS_OF_VALUES: Mapping[type, tuple[str, str]] = {
    str: ("text", "文本"), float: ("numbers", "数字"), bool: ("true or false", "真假值"), list: ("lists", "列表"),
    dict: ("objects", "对象"),
}  # fmt: skip


def read_file(
    source: str | Path | bytes, name: str | None = None, *, reading: Reading | None = None, limits: Limits | None = None
) -> Table:
    """The rows of a file at a path, or of its bytes.

    Raises: UserError with one sentence if the file is gone, too large, no data, empty, or broken as a whole.
    """
    reading, limits = reading or Reading(), limits or Limits()
    name = name or ("data" if isinstance(source, bytes) else Path(source).name)
    data = bytes_of(source, name, limits)
    suffix = "" if isinstance(source, bytes) else Path(source).suffix
    try:
        return _table(name, (suffix or os.path.splitext(name)[1]).lower(), data, reading, limits)
    except FileRefused as error:
        place = f"{name}, line {error.line:,}" if error.line else name
        raise UserError(f"{place}: {error.reason}.", param="data") from None


def bytes_of(source: str | Path | bytes, name: str, limits: Limits) -> bytes:
    """What is in the file, or was given.

    Raises: UserError if it is gone, no file, or too large.
    """
    data = source if isinstance(source, bytes) else _bytes(Path(source), name, limits)
    if len(data) > limits.file_bytes:
        raise _too_large(name, len(data), limits)
    return data


def refuse_other_kinds(data: bytes) -> None:
    """Raises: FileRefused for an empty file, an archive, and what else is no data."""
    if not data:
        raise FileRefused("the file is empty")
    for offset, magic, what in OTHERS:
        if data.startswith(magic, offset):
            raise FileRefused(f"this is {what}; unpack or save it as jsonl, json, csv, tsv, parquet or txt first")


def _bytes(path: Path, name: str, limits: Limits) -> bytes:
    gone = f"{name} is no longer there, or never was. Upload it again, or check the path."
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise UserError(f"{name} is a folder; give a file of it.", param="data")
        if not stat.S_ISREG(about.st_mode):  # opening a pipe would wait for ever
            raise UserError(f"{name} is no ordinary file.", param="data")
        if about.st_size > limits.file_bytes:
            raise _too_large(name, about.st_size, limits)
        with path.open("rb") as file:
            return file.read(limits.file_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(gone, param="data") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.errno else str(error)
        raise UserError(f"{name} cannot be read: {reason}.", param="data") from None


def _too_large(name: str, n_bytes: int, limits: Limits) -> UserError:
    limit = limits.file_bytes / MEGABYTE
    return UserError(f"{name} has {n_bytes / MEGABYTE:,.1f} MB; the limit is {limit:g} MB.", param="data")


def _table(name: str, suffix: str, data: bytes, reading: Reading, limits: Limits) -> Table:
    refuse_other_kinds(data)
    expected = KINDS.get(suffix)
    notes: list[Note] = []
    columns: Sequence[str] = ()
    reads: Iterator[Read]
    if data.startswith(b"PAR1"):
        from llm_app.data.parquet_rows import ParquetRows  # pyarrow takes its time, and most files need none

        kind = "parquet"
        parquet = ParquetRows(data, limits)
        if parquet.n_rows > limits.n_rows and limits.n_first is None:
            raise FileRefused(f"{parquet.n_rows:,} rows; at most {limits.n_rows:,} are read")
        columns, reads = parquet.columns, iter(parquet)
        notes += parquet.notes
    else:
        if expected == "parquet":
            raise FileRefused("this is no Parquet file, or its beginning is lost")
        text, notes = decode(data, reading.encoding)
        if not text or text.isspace():
            raise FileRefused("there are only blank lines")
        kind = _kind(text, expected, reading)
        if kind == "csv":
            preferred = "\t" if suffix in (".tsv", ".tab") or expected == "txt" else ","
            form, told = csv_rows.form_of(text, preferred, reading, limits)
            notes += told
            columns, reads = form.columns, csv_rows.rows_of(text, form, limits)
        elif kind == "txt":
            columns, reads = ("text",), _lines(text)
        else:
            reads = json_rows.of_lines(text) if kind == "jsonl" else json_rows.of_document(text)
    if expected is not None and kind != expected:
        notes.insert(0, _other_kind(kind, suffix))
    digest = hashlib.sha256(data).hexdigest()
    return _collect(Table(name, kind, tuple(columns), (), (), tuple(notes), digest), reads, limits)


def _collect(table: Table, reads: Iterator[Read], limits: Limits) -> Table:
    rows: list[Row] = []
    problems: list[BadRow] = []
    names: dict[str, None] = dict.fromkeys(table.columns)
    is_whole = True
    for read in reads:
        if limits.n_first is not None and len(rows) + len(problems) >= limits.n_first:
            is_whole = False
            break
        if isinstance(read, Row):
            rows.append(read)
            if table.kind in ("json", "jsonl"):
                names.update(dict.fromkeys(read.cells))
                if len(names) > limits.n_columns:
                    raise FileRefused(f"more than {limits.n_columns:,} different keys", read.line)
        else:
            line, refused = read
            problems.append(bad_row(table.name, line, refused))
        if len(rows) > limits.n_rows:
            raise FileRefused(f"more than {limits.n_rows:,} rows, which is the most that is read")
    if not rows and not problems:
        raise FileRefused("no rows below the header" if table.kind == "csv" else "there are no rows")
    notes = (*table.notes, *(_mixed(names, rows) if table.kind in ("json", "jsonl") else ()))
    return Table(table.name, table.kind, tuple(names), tuple(rows), tuple(problems), notes, table.digest, is_whole)


def _mixed(names: Iterable[str], rows: Sequence[Row]) -> Iterator[Note]:
    """Tells of columns that hold text in one row and a number, list or object in another."""
    for name in names:
        kinds = Counter(_value_kind(value) for row in rows if (value := row.cells.get(name)) is not None)
        if len(kinds) > 1:
            counts = kinds.most_common()
            english = ", ".join(f"{KINDS_OF_VALUES[kind][0]} in {n:,} rows" for kind, n in counts)
            chinese = "、".join(f"{n:,} 行为{KINDS_OF_VALUES[kind][1]}" for kind, n in counts)
            yield Note(f"Column {name} holds {english}.", f"列 {name} 中 {chinese}。")


def _value_kind(value: Any) -> type:
    return float if type(value) is int else type(value)


def _kind(text: str, expected: str | None, reading: Reading) -> str:
    """What the text is: content decides, the extension only where content fits both."""
    found = re.search(r"\S", text)
    start = found[0] if found else ""
    if start == "{":
        first = next((line for line in islice(lines_of(text), 1000) if line.strip()), "")
        is_one_line = json_rows.is_object(first)
        if expected == "jsonl":
            return "json" if not is_one_line and json_rows.is_object(text) else "jsonl"
        if expected == "json":
            has_more = re.compile(r"\S").search(text, text.index(first) + len(first)) is not None
            return "jsonl" if is_one_line and has_more else "json"
        if is_one_line:
            return "jsonl"
        if json_rows.is_object(text):
            return "json"
    if start == "[" and (expected in ("json", "jsonl") or json_rows.is_list(text)):
        return "json"
    if expected in ("json", "jsonl"):
        return expected
    if expected == "csv" or reading.separator is not None:
        return "csv"
    return "csv" if csv_rows.is_table(text, "\t") else "txt"


def _lines(text: str) -> Iterator[Read]:
    for number, line in enumerate(lines_of(text), start=1):
        if line.strip():
            yield Row(number, {"text": line.rstrip("\r")})


def _other_kind(kind: str, suffix: str) -> Note:
    names = {
        "jsonl": ("JSON, one object a line", "每行一个对象的 JSON"), "json": ("a JSON document", "JSON 文档"),
        "csv": ("separated text", "分隔文本"), "parquet": ("Parquet", "Parquet"), "txt": ("plain text", "纯文本"),
    }  # fmt: skip
    english, chinese = names[kind]
    return Note(f"Read as {english}, whatever the name's {suffix} says.", f"按{chinese}读取，与扩展名 {suffix} 不同。")
