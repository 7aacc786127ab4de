"""The rows of a classifier's training: read from the files that the run names, split, and described for the log."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.labels import check_labels
from llm_app.classify.table import Columns, LabelledTable, labelled, labels_of, overlapping, repeated
from llm_app.classify.training.examples import Examples
from llm_app.classify.training.split import split
from llm_app.classify.training.targets import Problem
from llm_app.data.mix import DatasetSpec
from llm_app.data.read import read_file
from llm_app.data.types import Note
from llm_app.errors import UserError
from llm_app.jobs.folder import Spec
from llm_app.jobs.train_data import datasets_of

N_TOLD = 5  # labels that a sentence names


@dataclass(frozen=True)
class ClassifierMaterial:
    """What is learned, and from what. `notes`: what a person should know about the rows."""

    problem: Problem
    train: LabelledTable
    validation: LabelledTable
    test: LabelledTable
    is_pair: bool
    notes: tuple[Note, ...]

    @property
    def train_rows(self) -> Examples:
        """What is learned from."""
        return _examples(self.train)

    @property
    def validation_rows(self) -> Examples:
        """What weights are chosen by."""
        return _examples(self.validation)

    def split_digests(self) -> dict[str, str]:
        """Part -> SHA-256 over its rows in their order: what a run records of its split."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: _digest(part) for name, part in parts.items()}


def material_of(spec: Spec, config: ClassifierConfig) -> ClassifierMaterial:
    """Read and split what the spec names; the same split for every method.

    Raises: UserError if a file or column is not there, rows lack a label, or there is nothing to tell apart.
    """
    columns, drops = Columns(**spec["columns"]), bool(spec["drops_unlabelled"])
    tables = [_read(dataset, columns, drops) for dataset in datasets_of(spec)]
    whole, given = tables[0], tables[1] if len(tables) > 1 else None
    problem = Problem(columns.kind, _labels(whole, given))
    truths = [truth for truth in whole.truths if truth is not None]
    parts = split(
        whole.items, truths, columns.kind, validation=config.validation, test=0.0 if given else config.test,
        seed=config.seed,
    )  # fmt: skip
    train, validation, test = (whole.taken(list(places)) for places in (parts.train, parts.validation, parts.test))
    notes = tuple(_notes(whole, given, train))
    return ClassifierMaterial(problem, train, validation, given or test, columns.pair is not None, notes)


def _read(dataset: DatasetSpec, columns: Columns, drops_unlabelled: bool) -> LabelledTable:
    table = labelled(read_file(dataset.path, dataset.name, reading=dataset.reading), columns)
    return table.only_labelled(drops_unlabelled=drops_unlabelled)


def _labels(whole: LabelledTable, given: LabelledTable | None) -> tuple[str, ...]:
    """In the order of their numbers or letters.

    Raises: UserError for labels that make no sense, or a test file with one that nothing is learned of.
    """
    kind = whole.columns.kind
    labels = check_labels(sorted(whole.labels, key=_order), kind)
    if given is not None and kind != "regression":
        unknown = [label for label in given.labels if label not in labels]
        if unknown:
            named = ", ".join(map(repr, unknown[:N_TOLD]))
            raise UserError(
                f"{given.name} has labels that no row to train on has: {named}. Mend them, or leave those rows out.",
                param="test_input",
            )
    return labels


def _order(label: str) -> tuple[int, int, str]:
    return (0, int(label), label) if label.isdecimal() else (1, 0, label)


def _notes(whole: LabelledTable, given: LabelledTable | None, train: LabelledTable) -> Iterator[Note]:
    for table in (whole, given):
        if table is None:
            continue
        if table.problems:
            first, n = table.problems[0], len(table.problems)
            line = first.origin.line
            yield Note(
                f"{table.name}: {n:,} rows are left out; the first is line {line:,}: {first.reason}.",
                f"{table.name}：略去 {n:,} 行；第一处在第 {line:,} 行：{first.reason_zh or first.reason}。",
            )
        found = repeated(table)
        if found.n_duplicates:
            n, n_other = found.n_duplicates, found.n_contradictions
            yield Note(
                f"{table.name}: {n:,} rows repeat an earlier one; each stands in one part with it."
                f" {n_other:,} of them have another label.",
                f"{table.name}：有 {n:,} 行与更早的行重复，均与其划入同一部分；其中 {n_other:,} 行的标签不同。",
            )
    if given is not None and (n := len(overlapping(train, given))):
        yield Note(
            f"{n:,} rows of {given.name} are among those to train on: its scores flatter.",
            f"{given.name} 中有 {n:,} 行也在训练行之中：其得分偏高。",
        )
    seen = {label for truth in train.truths for label in labels_of(truth)}
    absent = [label for label in whole.labels if label not in seen]
    if absent and whole.columns.kind != "regression":
        named = ", ".join(map(repr, absent[:N_TOLD]))
        yield Note(
            f"No row to train on has the label {named}: it is never found.",
            f"没有训练行带有标签 {named}：它永远不会被预测到。",
        )


def _examples(table: LabelledTable) -> Examples:
    return Examples(table.items, [truth for truth in table.truths if truth is not None])


def _digest(part: LabelledTable) -> str:
    rows = zip(part.items, part.truths, strict=True)
    lines = (repr((item.text, item.pair, truth)) for item, truth in rows)
    return hashlib.sha256("\n".join(lines).encode("utf-8", errors="surrogatepass")).hexdigest()
