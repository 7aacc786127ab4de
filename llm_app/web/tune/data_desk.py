"""Data sets that lie on the desk for the coming run: read once, kept while they are looked at."""

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llm_app.config import Settings
from llm_app.data.formats import COLUMNS, Mapping, detect
from llm_app.data.mapping import to_examples
from llm_app.data.mix import DatasetSpec
from llm_app.data.read import read_file
from llm_app.data.table import Limits, Reading, Table
from llm_app.data.types import BadRow, Example
from llm_app.errors import UserError
from llm_app.jobs import train_public
from llm_app.web.failures import SentenceError
from llm_app.web.tune.data_draft import ENCODINGS

MAX_DATASETS = 20
MAX_KEPT = 6  # tables, of all visitors
# The columns that each layout can have, those that it needs first.
_TURNS = ("messages", "system", "tools", "label")
USED: dict[str, tuple[str, ...]] = {
    "alpaca": ("prompt", "response", "input", "system", "history", "tools", "instances", "label"),
    "sharegpt": _TURNS, "messages": _TURNS,
    "prompt_completion": ("prompt", "response", "system", "history", "tools", "label"),
    "preference": ("chosen", "rejected", "prompt", "input", "messages", "system", "tools"),
    "text": ("text",), "none": (),
}  # fmt: skip


@dataclass(frozen=True)
class Known:
    """A data set that was read. `spec` has its mapping and its name; `is_detected`: the layout is our own guess."""

    spec: DatasetSpec
    table: Table
    mapping: Mapping
    examples: tuple[Example, ...]
    bad: tuple[BadRow, ...]
    is_detected: bool


class Desk:
    """Reads data sets. Whoever asks names a file, which only the visitor's own shelf or this machine's owner can."""

    def __init__(self, settings: Settings) -> None:
        self._limits = train_public.FILE if settings.is_public else Limits()
        self._n_most = train_public.N_DATASETS if settings.is_public else MAX_DATASETS
        self._lock = threading.Lock()
        self._tables: OrderedDict[tuple[object, ...], Table] = OrderedDict()
        self._known: OrderedDict[str, Known] = OrderedDict()

    def read(self, spec: DatasetSpec) -> Known:
        """What is in it.

        Raises: UserError naming what is wrong with the file or the mapping.
        """
        table = self.table(spec)
        detected = detect(table)
        mapping = spec.mapping or detected
        key = json.dumps([replace(spec, weight=1.0).to_json(), table.digest], sort_keys=True)
        with self._lock:
            known = self._known.get(key)
        if known is None:
            examples, bad = to_examples(table, mapping, spec.name or table.name)
            known = Known(spec, table, mapping, tuple(examples), tuple(bad), mapping == detected)
            with self._lock:
                self._known[key] = known
                if len(self._known) > MAX_KEPT:
                    self._known.popitem(last=False)
        return replace(known, spec=spec)

    def check_number(self, data: Sequence[DatasetSpec]) -> None:
        """Ask before they are read. Raises: UserError for too many."""
        if len(data) > self._n_most:
            raise UserError(f"A run takes at most {self._n_most} data sets here.", param="data")

    def corrected(self, spec: DatasetSpec, form: Sequence[object]) -> DatasetSpec:
        """The data set as the form would have it.

        Raises: UserError for what no form of ours sends, or a layout that is none.
        """
        layout, weight, encoding, split_at, is_chat, *chosen = form
        columns = dict(zip(COLUMNS, chosen, strict=True))
        may_be_empty = [split_at, *columns.values()]
        texts = [layout, encoding, *("" if one is None else one for one in may_be_empty)]
        if not all(isinstance(one, str) for one in texts) or not isinstance(is_chat, bool):
            raise SentenceError("wrong_value")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or encoding not in ("auto", *ENCODINGS):
            raise SentenceError("wrong_value")
        reading = reading_of(str(encoding))
        if reading != spec.reading:  # other columns, perhaps: they are found anew
            return replace(spec, reading=reading, mapping=None, weight=float(weight))
        detected = self.read(replace(spec, mapping=None)).mapping
        if layout not in USED:
            raise SentenceError("wrong_value")
        named = {name: str(column) if column else None for name, column in columns.items()}
        mapping = corrected(
            spec.mapping or detected, str(layout), named, is_chat=is_chat, split_at=str(split_at or "")
        )
        return replace(spec, weight=float(weight), mapping=None if mapping == detected else mapping)

    def table(self, spec: DatasetSpec) -> Table:
        """Its rows, whatever they mean.

        Raises: UserError naming what is wrong with the file.
        """
        try:
            state = Path(spec.path).stat()
            key: tuple[object, ...] = (spec.path, state.st_mtime_ns, state.st_size, spec.reading)
        except (OSError, ValueError):
            key = (spec.path, 0, 0, spec.reading)
        with self._lock:
            table = self._tables.get(key)
        if table is None:
            table = read_file(spec.path, spec.name or None, reading=spec.reading, limits=self._limits)
            with self._lock:
                self._tables[key] = table
                if len(self._tables) > MAX_KEPT:
                    self._tables.popitem(last=False)
        return table


def added(data: Sequence[DatasetSpec], specs: Sequence[DatasetSpec]) -> tuple[DatasetSpec, ...]:
    """The data sets with others after them; one that lies there already is not put there twice."""
    there = {spec.path for spec in data}
    return (*data, *(spec for spec in specs if spec.path not in there))


def corrected(before: Mapping, layout: str, columns: dict[str, str | None], *, is_chat: bool, split_at: str) -> Mapping:
    """The mapping as the person set it; names of roles and keys stay as they were.

    Raises: UserError for a layout that is none.
    """
    used = {name: columns.get(name) for name in COLUMNS if name in USED.get(layout, ())}
    return Mapping(
        layout, **used, is_chat=is_chat, split_at=split_at or None, role_key=before.role_key,
        content_key=before.content_key, roles=before.roles,
    )  # fmt: skip


def reading_of(encoding: str) -> Reading:
    """How the file is to be read; "auto" finds it out."""
    return Reading() if encoding == "auto" else Reading(encoding=encoding)
