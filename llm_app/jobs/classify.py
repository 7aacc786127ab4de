"""A table that is classified: by which classifier, which rows, and what came of each as soon as it is known."""

import contextlib
import datetime
import hashlib
import importlib.metadata
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from llm_app import __version__
from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.judged import Judged, judge, row_of
from llm_app.classify.table import Columns, LabelledTable, labelled, renamed_by_place
from llm_app.classify.types import Classifier, Kind, Outcome, Unclassified
from llm_app.config import Settings
from llm_app.data.read import read_file
from llm_app.data.table import Limits, Reading
from llm_app.errors import UserError
from llm_app.jobs.classify_log import event_of, outcomes_of
from llm_app.jobs.classify_open import Asked, Classifiers, Opened, n_learned
from llm_app.jobs.classify_public import check_work
from llm_app.jobs.ending import recorded_end
from llm_app.jobs.folder import RunFolder, told
from llm_app.jobs.kept import plain
from llm_app.jobs.store import RunStore

KIND = "classify"
PACKAGES = ("torch", "transformers", "tokenizers", "peft", "scikit-learn", "safetensors", "numpy")
SHOWN = "The chat model is shown this text as an example.", "这条文本作为示例给模型看过。"
Lend = Callable[[], AbstractContextManager[Opened]]


@dataclass(frozen=True)
class Source:
    """A table on disk: how its file is read, and what its columns are."""

    path: Path
    columns: Columns
    reading: Reading = Reading()
    limits: Limits = Limits()

    def read(self, name: str | None = None) -> LabelledTable:
        """The rows as items. Raises: UserError if the file or its columns will not do."""
        return labelled(read_file(self.path, name, reading=self.reading, limits=self.limits), self.columns)


@dataclass(frozen=True)
class Classified:
    """One more row: `done` of `total`."""

    done: int
    total: int
    outcome: Outcome


class Classification:
    """A run, new or resumed. Iterate `run()`; close it to stop: what is done stays.

    `lend` gives the classifier for as long as it runs: a run that waits in line keeps no model in memory.
    """

    def __init__(self, folder: RunFolder, table: LabelledTable, lend: Lend) -> None:
        self.folder, self.table, self._lend = folder, table, lend
        self.outcomes = outcomes_of(folder)
        about = _spec(folder)["classifier"]
        self._kind: Kind = about["kind"]
        self._labels, self._shown = tuple(about["labels"]), frozenset(about["shown"])
        self._stopped: UserError | None = None

    @property
    def n_total(self) -> int:
        """Rows of the table that are items."""
        return len(self.table.items)

    @property
    def n_done(self) -> int:
        """Rows with an outcome, also where it is an error."""
        return len(self.outcomes)

    def run(self) -> Generator[Classified]:
        """Classify what has no outcome yet; every outcome is on disk before it is given. The end is written last.

        Raises: what it was stopped with; UserError if the disk is full, or the classifier cannot go on, or is no longer
        the one that began.
        """
        with self.folder, recorded_end(self), self._lend() as opened:
            check_same(self.folder, opened.classifier)
            self.outcomes = outcomes_of(self.folder)  # another process may have gone on with it until now
            with contextlib.closing(self._found(opened.classifier)) as found:
                for outcome in found:
                    if self._stopped is not None:
                        raise self._stopped
                    yield self._record(outcome)

    def stop(self, reason: UserError) -> None:
        """End it from another thread, after the pass that is under way."""
        self._stopped = reason

    def judged(self, threshold: float = 0.5) -> Judged:
        """What is done so far, beside the truths."""
        return judge(self._kind, self._labels, self.table.truths, self.outcomes.values(), threshold)

    def scores(self) -> dict[str, Any]:
        """The first figure, if the table holds truths: its name -> [metric, value]."""
        figure = self.judged().first_figure()
        return {} if figure is None else {self.table.name: list(figure)}

    def _found(self, classifier: Classifier) -> Generator[Outcome]:
        """Of the rows that have no outcome yet. Examples are not classified, since the model has seen their label."""
        left = [place for place in range(self.n_total) if place not in self.outcomes]
        yield from (Unclassified(place, *SHOWN) for place in left if place in self._shown)
        places = [place for place in left if place not in self._shown]
        for outcome in classifier.predict([self.table.items[place] for place in places]):
            yield replace(outcome, index=places[outcome.index])

    def _record(self, outcome: Outcome) -> Classified:
        done, place = Classified(self.n_done + 1, self.n_total, outcome), outcome.index
        right = row_of(self._kind, self._labels, self.table.truths[place], outcome).is_right
        # Whoever follows the log need not read the table to tell how it goes.
        about = {"line": self.table.rows[place].line} | ({} if right is None else {"right": right})
        self.folder.append([event_of(outcome) | about | {"done": done.done, "total": done.total}])
        self.outcomes[outcome.index] = outcome
        return done


def start(
    asked: Asked, source: Source, classifiers: Classifiers, settings: Settings, *, store: RunStore | None = None,
    table: LabelledTable | None = None,
) -> Classification:
    """A new run over a table, by the classifier that is asked, in `store` (default: this machine's own).

    `table`: the source, where it was read already. Raises: UserError if table and classifier do not go together, or if
    it is more than a public demo does; as `Classifiers.lent_for` and `begin`.
    """
    table = table or source.read()
    with classifiers.lent_for(asked, table) as opened:
        check_work(opened.classifier, len(opened.table.items), settings)
        opened = replace(opened, n_learned=n_learned(asked, table, settings))
        begun = begin(opened, asked, source, store or RunStore.of(settings))
    return Classification(begun.folder, begun.table, partial(classifiers.lent_for, asked, table))


def begin(opened: Opened, asked: Asked, source: Source, store: RunStore) -> Classification:
    """A new run by a classifier that is open already. It keeps a copy of the table's file.

    Raises: UserError if nothing can be classified, or truths and predictions are of two kinds; QuotaReached if the
    store has no room for another run.
    """
    table, classifier, columns = opened.table, opened.classifier, opened.table.columns
    if columns.truth is not None and columns.kind != classifier.kind:
        raise UserError(
            f"The classifier gives {_KINDS[classifier.kind]}, but column {columns.truth} is read as"
            f" {_KINDS[columns.kind]}.",
            param="truth",
        )
    if not table.items:
        raise UserError(f"{table.name} has no row that can be classified.", param="data")
    created = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    file = f"table{source.path.suffix}"
    about = {
        "name": table.name, "file": file, "digest": table.digest,
        "reading": asdict(source.reading), "columns": asdict(columns),
    }
    folder = store.create({
        "kind": KIND, "created": created, "asked": [table.name], "model": {"name": asked.model, **opened.loaded},
        "tasks": {table.name: {"n_samples": len(table.items), "digest": table.digest}}, "table": about,
        "classifier": {
            "asked": asdict(asked), "identity": plain(classifier.identity()), "kind": classifier.kind,
            "labels": list(classifier.labels), "shown": list(opened.shown), "learned": opened.n_learned,
        },
        **program(),
    })  # fmt: skip
    try:
        _keep(source.path, folder.path / file, table.digest)
    except BaseException:
        store.delete(folder.id)  # a run without its table is none
        raise
    return Classification(folder, table, lambda: nullcontext(opened))


def resume(folder: RunFolder, classifiers: Classifiers) -> Classification:
    """The rest of a run, by the classifier that began it.

    Raises: UserError saying what differs, if classifier, table or program are not those of the beginning.
    """
    asked, table = asked_of(folder), table_of(folder)
    with classifiers.lent_for(asked, table) as opened:
        begun = go_on(folder, opened)
    return Classification(folder, begun.table, partial(classifiers.lent_for, asked, table))


def go_on(folder: RunFolder, opened: Opened) -> Classification:
    """The rest of a run, by a classifier that is open already. Raises: as `resume`."""
    check_same(folder, opened.classifier)
    return Classification(folder, opened.table, lambda: nullcontext(opened))


def check_same(folder: RunFolder, classifier: Classifier) -> None:
    """Raises: UserError saying what differs, if classifier or program are not those with which the run began."""
    spec = _spec(folder)
    begun = spec["classifier"]
    same = {
        "classifier": begun["identity"] == plain(classifier.identity()),
        "labels": begun["labels"] == list(classifier.labels),
        "version of this program": spec["program"] == __version__,
        "versions of packages": all(
            importlib.metadata.version(name) == version for name, version in spec["packages"].items()
        ),
    }
    differing = [name for name, is_same in same.items() if not is_same]
    if differing:
        raise UserError(
            f"Run {folder.id} cannot go on: it differs in: {', '.join(differing)}. Start a new run.", param="run"
        )


def program() -> Mapping[str, Any]:
    """What of this program decides the outcomes: a resumed run must find the same."""
    return {"program": __version__, "packages": {name: importlib.metadata.version(name) for name in PACKAGES}}


def asked_of(folder: RunFolder) -> Asked:
    """Which classifier a run was started with.

    Raises: UserError if it is no such run.
    """
    asked = _spec(folder)["classifier"]["asked"]
    config = asked["zero_shot"] | {"words": tuple(asked["zero_shot"]["words"])}
    return Asked(asked["model"], tuple(asked["labels"]), ZeroShotConfig(**config), asked["is_strict"])


def table_of(folder: RunFolder, read: Callable[[Source, str], LabelledTable] = Source.read) -> LabelledTable:
    """The table of a run, from the copy that it keeps. `read`: for those who keep what was read, by its name.

    Raises: UserError if it is not the one that the run began with.
    """
    spec = _spec(folder)
    table = renamed_by_place(read(*source_of(folder)), tuple(spec["classifier"]["labels"]))
    if table.digest != spec["table"]["digest"]:
        raise UserError(f"The table of run {folder.id} was changed. Start a new run.", param="run")
    return table


def source_of(folder: RunFolder) -> tuple[Source, str]:
    """The copy of the table that a run keeps, and what it is called."""
    about = _spec(folder)["table"]
    source = Source(folder.path / about["file"], Columns(**about["columns"]), Reading(**about["reading"]))
    return source, str(about["name"])


def judged_run(folder: RunFolder, threshold: float = 0.5) -> tuple[LabelledTable, Judged]:
    """The table and what was found of it so far, from the folder alone: no model is needed.

    Raises: UserError if the run is damaged or none of this kind.
    """
    about = _spec(folder)["classifier"]
    table = table_of(folder)
    return table, judge(about["kind"], about["labels"], table.truths, outcomes_of(folder).values(), threshold)


_KINDS: dict[Kind, str] = {"single": "one label", "multi": "any number of labels", "regression": "a number"}


def _keep(source: Path, target: Path, digest: str) -> None:
    try:
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            is_same = hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError as error:
        raise told(error, target.parent) from error
    if not is_same:
        raise UserError(f"{source.name} was changed while it was read. Start again.", param="data")


def _spec(folder: RunFolder) -> dict[str, Any]:
    spec = folder.spec()
    if spec.get("kind") != KIND:
        raise UserError(f"Run {folder.id} is not a classification.", param="run")
    return spec
