"""A table to classify or to learn from: which column holds what, and what every row gives."""

import difflib
import hashlib
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llm_app.classify.types import Item, Kind, Truth
from llm_app.data.table import Row, Table
from llm_app.data.types import BadRow, Note, RowRefused, bad_row
from llm_app.errors import UserError

SEPARATOR = ";"  # between the labels of one cell
N_TOLD = 5  # lines and labels that a sentence names


@dataclass(frozen=True)
class Columns:
    """Which column holds the text, which the second text of a pair, and which the truth, of what kind.

    `separator` stands between the labels of a multi-label cell.
    """

    text: str
    pair: str | None = None
    truth: str | None = None
    kind: Kind = "single"
    separator: str = SEPARATOR


@dataclass(frozen=True)
class LabelledTable:
    """The rows of a table as items, in their order.

    `rows`, `items` and `truths` (None where the cell is empty, or no column holds them) go side by side; `problems`:
    the rows that are no items, with those that could not even be read. `labels`: those of the truth column, most
    frequent first; of a regression, its column.
    """

    table: Table
    columns: Columns
    rows: tuple[Row, ...]
    items: tuple[Item, ...]
    truths: tuple[Truth | None, ...]
    labels: tuple[str, ...] = ()
    problems: tuple[BadRow, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def name(self) -> str:
        """The file's."""
        return self.table.name

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return self.table.digest

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of the file."""
        return self.table.columns

    @property
    def lines(self) -> tuple[int, ...]:
        """The line that each item begins on, from 1."""
        return tuple(row.line for row in self.rows)

    @property
    def cells(self) -> tuple[Mapping[str, Any], ...]:
        """What each item's row holds, by column."""
        return tuple(row.cells for row in self.rows)

    @property
    def n_labels(self) -> Mapping[str, int]:
        """Label -> rows that have it, in the order of `labels`; empty for a regression."""
        if self.columns.kind == "regression":
            return {}
        counts = Counter(label for truth in self.truths for label in labels_of(truth))
        return {label: counts[label] for label in self.labels}

    @property
    def unlabelled(self) -> tuple[int, ...]:
        """Places of the items without a truth."""
        return tuple(place for place, truth in enumerate(self.truths) if truth is None)

    def only_labelled(self, *, drops_unlabelled: bool) -> "LabelledTable":
        """The items that have a truth, as training needs them; the others are left out once that is confirmed.

        Raises: UserError naming the lines if it is not, or if no item has a truth.
        """
        without = self.unlabelled
        if len(without) == len(self.items):
            raise UserError(f"{self.name}: no row has a label; choose the column that holds them.", param="truth")
        if without and not drops_unlabelled:
            lines = ", ".join(f"{self.rows[place].line:,}" for place in without[:N_TOLD])
            more = ", ..." if len(without) > N_TOLD else ""
            raise UserError(
                f"{self.name}: {len(without):,} rows have no label (lines {lines}{more}). Mend them, or confirm that"
                " they are left out.", param="drops_unlabelled",
            )
        return self.taken([place for place, truth in enumerate(self.truths) if truth is not None])

    def taken(self, places: list[int]) -> "LabelledTable":
        """The items at these places, in this order; labels and problems stay those of the whole."""
        return replace(
            self,
            items=tuple(self.items[place] for place in places),
            truths=tuple(self.truths[place] for place in places),
            rows=tuple(self.rows[place] for place in places),
        )


@dataclass(frozen=True)
class Repeated:
    """How many rows say what an earlier one says, and how many of those have another truth than the first of them."""

    n_duplicates: int
    n_contradictions: int


def labelled(table: Table, columns: Columns) -> LabelledTable:
    """The rows as items with their truths; what can be none is listed, with those that could not even be read.

    Raises: UserError if a column is not there, or serves two purposes.
    """
    _check(table, columns)
    truth_of = _truths(columns)
    found: list[tuple[Row, Item, Truth | None]] = []
    problems = list(table.problems)
    for row in table.rows:
        try:
            pair = None if columns.pair is None else _text(row, columns.pair)
            item = Item(_text(row, columns.text), pair)
            found.append((row, item, None if columns.truth is None else truth_of(row.cells.get(columns.truth))))
        except RowRefused as error:
            problems.append(bad_row(table.name, row.line, error))
    truths = tuple(truth for _, _, truth in found)
    return LabelledTable(
        table, columns, tuple(row for row, _, _ in found), tuple(item for _, item, _ in found), truths,
        _labels(columns, truths), tuple(sorted(problems, key=lambda row: row.origin.line)), table.notes,
    )  # fmt: skip


def repeated(table: LabelledTable) -> Repeated:
    """Rows that repeat an earlier one but for case, width and spaces."""
    first: dict[str, Truth | None] = {}
    n_duplicates = n_contradictions = 0
    for item, truth in zip(table.items, table.truths, strict=True):
        key = item_digest(item)
        if key in first:
            n_duplicates += 1
            n_contradictions += truth is not None and first[key] is not None and truth != first[key]
        first.setdefault(key, truth)
    return Repeated(n_duplicates, n_contradictions)


def overlapping(train: LabelledTable, test: LabelledTable) -> list[int]:
    """Places of the rows of `test` that say what a row of `train` says, but for case, width and spaces."""
    seen = {item_digest(item) for item in train.items}
    return [place for place, item in enumerate(test.items) if item_digest(item) in seen]


def item_digest(item: Item) -> str:
    """SHA-256 of what it says, the same for items that differ in case, width and spaces only."""
    parts = [
        " ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in (item.text, item.pair or "")
    ]
    return hashlib.sha256("\n".join(parts).encode("utf-8", errors="surrogatepass")).hexdigest()


def labels_of(truth: Truth | None) -> tuple[str, ...]:
    """The labels of one truth: one, several or none."""
    if isinstance(truth, tuple):
        return truth
    return (truth,) if isinstance(truth, str) else ()


def renamed_by_place(table: LabelledTable, labels: tuple[str, ...]) -> LabelledTable:
    """The table with truths 0 to n - 1 read as places in the n `labels`, which is told; as it is where they are not.

    Data sets of the hub keep labels as numbers. Only whole sets of numbers are read so, none of which is a label.
    """
    places = {str(number): label for number, label in enumerate(labels)}
    given = {label for truth in table.truths for label in labels_of(truth)}
    if not given or not given <= places.keys() or given & set(labels):
        return table
    truths = tuple(
        tuple(places[label] for label in truth) if isinstance(truth, tuple)
        else places[truth] if isinstance(truth, str) else truth
        for truth in table.truths
    )  # fmt: skip
    told = ", ".join(f"{number} = {label}" for number, label in list(places.items())[:N_TOLD])
    return replace(table, truths=truths, labels=_labels(table.columns, truths), notes=(*table.notes, Note(
        f"The numbers of column {table.columns.truth} are read as places in the list of labels: {told}.",
        f"列 {table.columns.truth} 中的数字按标签列表中的位置读取：{told}。",
    )))  # fmt: skip


def with_strangers_told(table: LabelledTable, labels: tuple[str, ...]) -> LabelledTable:
    """The table, with a note where true labels are not among the classifier's, so that no answer to them is right."""
    strange = [label for label in table.labels if label not in labels]
    if table.columns.kind == "regression" or not strange:
        return table
    n = sum(not set(labels_of(truth)) <= set(labels) for truth in table.truths)
    theirs, mine = (", ".join(some[:N_TOLD]) + (", …" if len(some) > N_TOLD else "") for some in (strange, labels))
    return replace(table, notes=(*table.notes, Note(
        f"In {n:,} rows the true label ({theirs}) is not among the labels of the classifier ({mine}): these rows count"
        " as wrong. Give both the same names, or choose no column of true labels.",
        f"有 {n:,} 行的真实标签（{theirs}）不在分类器的标签（{mine}）之中，会算作错误。请统一名称，或不选真实标签列。",
    )))  # fmt: skip


def _check(table: Table, columns: Columns) -> None:
    wanted = {"text": columns.text, "pair": columns.pair, "truth": columns.truth}
    for what, column in wanted.items():
        if column is not None and column not in table.columns:
            near = difflib.get_close_matches(column, table.columns, 1)
            hint = f" Is {near[0]!r} meant?" if near else ""
            there = ", ".join(table.columns[:20]) or "none"
            raise UserError(f"{table.name} has no column {column!r} for the {what}; it has {there}.{hint}", param=what)
    chosen = [column for column in wanted.values() if column is not None]
    if len(set(chosen)) < len(chosen):
        raise UserError("Text, second text and truth must be different columns.", param="columns")
    if not columns.separator:
        raise UserError("The separator between labels must not be empty.", param="separator")


def _text(row: Row, column: str) -> str:
    value = row.cells.get(column)
    if isinstance(value, list | dict):
        raise RowRefused(f"column {column} holds no text", f"列 {column} 不是文本")
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    if not text.strip():
        raise RowRefused(f"column {column} is empty", f"列 {column} 为空")
    return text


def _truths(columns: Columns) -> Callable[[Any], Truth | None]:
    """What a cell of the truth column says; None for an empty one."""
    if columns.kind == "regression":
        return _number
    if columns.kind == "multi":
        return lambda value: _several(value, columns.separator)
    return _label


def _label(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, list | dict):
        raise RowRefused("the label is a list or an object; choose several labels", "标签是列表或对象；请选择多标签")
    # A Parquet column of whole numbers with gaps comes as floats, and its gaps as NaN: 1.0 is the label 1.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return (value if isinstance(value, str) else json.dumps(value)).strip() or None


def _several(value: Any, separator: str) -> tuple[str, ...] | None:
    """Labels without repetition, none of them for an empty list or a separator alone; None for an empty cell."""
    if isinstance(value, list):
        if any(each is None or isinstance(each, list | dict) for each in value):
            raise RowRefused("the list of labels holds something else than labels", "标签列表中含有并非标签的内容")
        parts = [_label(each) or "" for each in value]
    else:
        text = _label(value)
        if text is None:
            return None
        parts = text.split(separator)
    return tuple(dict.fromkeys(label for part in parts if (label := part.strip())))


def _number(value: Any) -> float | None:
    text = _label(value)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise RowRefused(f"{text[:20]!r} is no number", f"{text[:20]!r} 不是数字")
    return number


def _labels(columns: Columns, truths: tuple[Truth | None, ...]) -> tuple[str, ...]:
    if columns.kind == "regression":
        return (columns.truth,) if columns.truth is not None else ()
    counts = Counter(_each(truths))
    return tuple(sorted(counts, key=lambda label: -counts[label]))  # equals stay in the order they came in


def _each(truths: tuple[Truth | None, ...]) -> Iterator[str]:
    for truth in truths:
        yield from labels_of(truth)
