"""Several data sets as one list of examples, each with its weight."""

import hashlib
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_app.data import formats
from llm_app.data.mapping import to_examples
from llm_app.data.read import read_file
from llm_app.data.table import Limits, Reading
from llm_app.data.types import BadRow, Example, Note
from llm_app.errors import UserError

MAX_WEIGHT = 100.0


@dataclass(frozen=True)
class DatasetSpec:
    """A file to learn from, as a run records it.

    `mapping`: None lets the layout be found. `weight`: how often each example is taken; 1 takes all once, 0.5 a
    random half, 2 all twice, 2.5 all twice and a random half a third time. `name`: of the examples' origins, else
    the file's. `sha256`: if set, the file must still be that one.
    """

    path: str
    mapping: formats.Mapping | None = None
    weight: float = 1.0
    name: str = ""
    reading: Reading = Reading()
    sha256: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.weight <= MAX_WEIGHT:  # also refuses NaN
            raise UserError(f"weight must be above 0 and at most {MAX_WEIGHT:g}, not {self.weight}.", param="weight")

    def to_json(self) -> dict[str, Any]:
        """As a run's spec.json has it."""
        found: dict[str, Any] = {"path": self.path, "weight": self.weight, "name": self.name}
        if self.mapping is not None:
            found["mapping"] = self.mapping.to_json()
        told = {name: value for name, value in vars(self.reading).items() if value is not None}
        return found | ({"reading": told} if told else {}) | ({"sha256": self.sha256} if self.sha256 else {})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "DatasetSpec":
        """Raises: UserError for what is no such spec."""
        try:
            mapping = values.get("mapping")
            return cls(
                path=str(values["path"]),
                mapping=formats.Mapping.from_json(mapping) if mapping is not None else None,
                weight=float(values.get("weight", 1.0)),
                name=str(values.get("name", "")),
                reading=Reading(**values.get("reading", {})),
                sha256=str(values.get("sha256", "")),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError("This is no description of a data set: it needs a path.", param="data") from None


@dataclass(frozen=True)
class Source:
    """A data set that was read. `spec` has the mapping that was used, the name and the digest filled in."""

    spec: DatasetSpec
    n_rows: int
    n_examples: int  # before the weight
    n_bad_rows: int


@dataclass(frozen=True)
class Loaded:
    """Examples of all data sets, one after the other, each with its weight applied, and what did not become one."""

    examples: tuple[Example, ...]
    bad_rows: tuple[BadRow, ...]
    notes: tuple[Note, ...]
    sources: tuple[Source, ...]

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each file, by the name of its data set."""
        return {source.spec.name: source.spec.sha256 for source in self.sources}


def load(datasets: Sequence[DatasetSpec], seed: int, limits: Limits | None = None) -> Loaded:
    """Read all data sets and mix them by their weights; the same files, mappings and seed give the same examples.

    Rows that became no example are listed in `bad_rows`. Raises: UserError naming the file that cannot be read, has
    changed, or does not fit its mapping.
    """
    if not datasets:
        raise UserError("Name at least one data set.", param="data")
    examples: list[Example] = []
    bad_rows: list[BadRow] = []
    notes: list[Note] = []
    sources: list[Source] = []
    for spec, name in zip(datasets, _names(datasets), strict=True):
        table = read_file(spec.path, name, reading=spec.reading, limits=limits)
        if spec.sha256 and table.digest != spec.sha256:
            raise UserError(f"{name} is not the file it was: its content has changed.", param="data")
        mapping = spec.mapping or formats.detect(table)
        found, bad = to_examples(table, mapping, name)
        taken = weighted(found, spec.weight, f"{seed}:{name}")
        examples += taken
        bad_rows += bad
        notes += [Note(f"{name}: {note.text}", f"{name}：{note.text_zh}") for note in table.notes]
        if spec.weight != 1:
            notes.append(
                Note(f"{name}: {len(taken):,} of {len(found):,} examples, by its weight {spec.weight:g}.",
                     f"{name}：按权重 {spec.weight:g}，从 {len(found):,} 个样本取 {len(taken):,} 个。")
            )  # fmt: skip
        used = DatasetSpec(spec.path, mapping, spec.weight, name, spec.reading, table.digest)
        n_rows = len(table.rows) + len(table.problems)
        sources.append(Source(used, n_rows, len(found), len(bad)))
    return Loaded(tuple(examples), tuple(bad_rows), tuple(notes), tuple(sources))


def weighted(examples: Sequence[Example], weight: float, seed: str) -> list[Example]:
    """Each example floor(weight) times, and round(rest * n) of them, chosen by the seed, once more; in file order."""
    times = math.floor(weight)
    n_more = round((weight - times) * len(examples))
    # Random's own hash of a text may change between versions of Python; this one stays.
    chooser = random.Random(int.from_bytes(hashlib.sha256(seed.encode()).digest()))  # noqa: S311
    more = set(chooser.sample(range(len(examples)), n_more))
    return [example for number, example in enumerate(examples) for _ in range(times + (number in more))]


def _names(datasets: Sequence[DatasetSpec]) -> list[str]:
    """A name of its own for each, so that an origin says which file it was."""
    wanted = [spec.name or Path(spec.path).name for spec in datasets]
    seen: Counter[str] = Counter()
    names = []
    for name in wanted:
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names
