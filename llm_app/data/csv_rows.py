"""Rows of separated text: every cell stays the text it is, and separator, header and quoting are found out and told."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from eval.files.records import Broken, records
from llm_app.data.json_rows import Read
from llm_app.data.table import FileRefused, Limits, Reading, Row
from llm_app.data.types import Note, RowRefused

SEPARATORS = {",": ("comma", "逗号"), "\t": ("tab", "制表符"), ";": ("semicolon", "分号"), "|": ("bar", "竖线")}
SAMPLE_CHARACTERS, SAMPLE_RECORDS = 1 << 18, 200
LEAST_ALIKE = 0.9  # share of records with as many cells as the first, for a separator to be believed
MAX_HEADER_CHARACTERS = 100
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


@dataclass(frozen=True)
class Form:
    """How a separated file is written."""

    separator: str
    is_quoted: bool
    columns: tuple[str, ...]
    has_header: bool


def form_of(text: str, preferred: str, reading: Reading, limits: Limits) -> tuple[Form, list[Note]]:
    """Separator, quoting and header, with what to tell about them.

    Raises: FileRefused for too many columns.
    """
    notes: list[Note] = []
    separator = reading.separator or separator_of(text, preferred)
    if separator != preferred and reading.separator is None:
        english, chinese = SEPARATORS[separator]
        notes.append(Note(f"Cells are separated by {english}.", f"单元格以{chinese}分隔。"))
    # A preview must not wait for the whole of a large file.
    is_quoted = separator != "\t" or not _reads_better_unquoted(
        text if limits.n_first is None else text[:SAMPLE_CHARACTERS], separator
    )
    if not is_quoted:
        notes.append(Note("Quotes are read as plain characters.", "引号按普通字符读取。"))
    sample = list(islice(_sampled(text, separator, is_quoted), SAMPLE_RECORDS))
    if not sample:
        return Form(separator, is_quoted, (), True), notes
    if len(sample[0]) > limits.n_columns:
        raise FileRefused(f"{len(sample[0]):,} columns; at most {limits.n_columns:,} are read", 1)
    has_header = reading.has_header if reading.has_header is not None else not _is_data(sample)
    if not has_header:
        columns = tuple(f"column {number}" for number in range(1, len(sample[0]) + 1))
        if reading.has_header is None:
            told = "The first line looks like data, so the columns are numbered."
            notes.append(Note(told, "第一行看起来是数据，因此各列以编号命名。"))
        return Form(separator, is_quoted, columns, False), notes
    columns, changed = _named(sample[0])
    if changed:
        told = f"Columns without a name of their own got one: {changed}."
        notes.append(Note(told, f"没有名称或重名的列已另行命名：{changed}。"))
    return Form(separator, is_quoted, columns, True), notes


def separator_of(text: str, preferred: str) -> str:
    """The separator under which the first records have the same number of cells, two or more; else `preferred`."""
    found = [(_alikeness(text, separator), separator == preferred, separator) for separator in SEPARATORS]
    (share, _), _, best = max(found)
    return best if share >= LEAST_ALIKE else preferred


def is_table(text: str, separator: str) -> bool:
    """Whether nearly all first records have the same number of cells, two or more."""
    return _alikeness(text, separator)[0] >= LEAST_ALIKE


def rows_of(text: str, form: Form, limits: Limits) -> Iterator[Read]:
    """The rows below the header, each with the line it begins on.

    Raises: FileRefused naming the line of a quote that is not closed: what comes after cannot be told apart.
    """
    seen_header, header = not form.has_header, list[str]()
    for line, cells in _records(text, form.separator, form.is_quoted, limits):
        if not any(cell.strip() for cell in cells):
            continue
        if not seen_header:
            seen_header, header = True, cells
        elif cells == header:  # as in files that were put one after the other
            yield line, RowRefused("the header comes again", "表头重复出现")
        elif len(cells) != len(form.columns):
            n, wanted = len(cells), len(form.columns)
            yield line, RowRefused(f"{n} cells, but there are {wanted} columns", f"有 {n} 个单元格，但共有 {wanted} 列")
        else:
            yield Row(line, dict(zip(form.columns, cells, strict=True)))


def _records(text: str, separator: str, is_quoted: bool, limits: Limits) -> Iterator[tuple[int, list[str]]]:
    try:
        yield from records(text, separator, is_quoted=is_quoted, cell_characters=limits.cell_characters)
    except Broken as error:
        raise FileRefused(error.reason, error.line) from None


def _sampled(text: str, separator: str, is_quoted: bool) -> Iterator[list[str]]:
    """Cells of the first records that are not blank; ends without a word where they break."""
    sample = text[:SAMPLE_CHARACTERS]
    try:
        for _, cells in _records(sample, separator, is_quoted, Limits()):
            if any(cell.strip() for cell in cells):
                yield cells
    except FileRefused:
        return


def _alikeness(text: str, separator: str) -> tuple[float, int]:
    """Share of the first records that have as many cells as the first, and that many; (0, 1) if that is one."""
    sizes = [len(cells) for cells in islice(_sampled(text, separator, separator != "\t"), SAMPLE_RECORDS)]
    if len(sizes) > 1 and len(text) > SAMPLE_CHARACTERS:
        sizes.pop()  # cut by the sample's end
    if not sizes or sizes[0] < 2:
        return 0.0, 1
    return sizes.count(sizes[0]) / len(sizes), sizes[0]


def _reads_better_unquoted(text: str, separator: str) -> bool:
    """Many tab-separated files quote nothing, and a lone quote would swallow the lines up to the next one."""
    if '"' not in text:
        return False
    found = [_n_alike(text, separator, is_quoted) for is_quoted in (True, False)]
    return found[1] > found[0]


def _n_alike(text: str, separator: str, is_quoted: bool) -> tuple[float, int]:
    """Share of the records that have as many cells as the first, and how many records; nothing where they break."""
    try:
        sizes = [len(cells) for _, cells in _records(text, separator, is_quoted, Limits()) if any(cells)]
    except FileRefused:
        return 0.0, 0
    return (sizes.count(sizes[0]) / len(sizes), len(sizes)) if sizes else (0.0, 0)


def _is_data(sample: Sequence[Sequence[str]]) -> bool:
    """Whether the first record is a row: a number, a long text, or a value that its column repeats is no name."""
    first, rest = sample[0], sample[1:]
    if any(_NUMBER.fullmatch(cell.strip()) or len(cell) > MAX_HEADER_CHARACTERS for cell in first):
        return True
    return any(
        cell.strip() and sum(row != first and number < len(row) and row[number] == cell for row in rest) > 1
        for number, cell in enumerate(first)
    )


def _named(cells: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Names of the columns, each its own, and the new ones as one text."""
    names: list[str] = []
    changed: list[str] = []
    for number, cell in enumerate(cells, start=1):
        wanted = cell.strip() or f"column {number}"
        name, n = wanted, 1
        while name in names or (name != cell.strip() and name in cells):
            n += 1
            name = f"{wanted} {n}"
        if name != cell.strip():
            changed.append(name)
        names.append(name)
    return tuple(names), ", ".join(changed[:10])
