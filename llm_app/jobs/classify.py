"""A table that is classified: by which classifier, which rows, and what came of each as soon as it is known."""

import contextlib
import datetime
import hashlib
import importlib.metadata
import shutil
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from llm_app import __version__
from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.judged import Judged, judge
from llm_app.classify.table import Columns, LabelledTable, labelled, renamed_by_place
from llm_app.classify.types import Kind, Outcome, Prediction, Unclassified
from llm_app.config import Settings
from llm_app.data.read import read_file
from llm_app.data.table import Limits, Reading
from llm_app.errors import UserError
from llm_app.jobs.classify_open import Asked, Classifiers, Opened
from llm_app.jobs.ending import recorded_end
from llm_app.jobs.folder import RunFolder, Spec, told
from llm_app.jobs.kept import plain
from llm_app.jobs.store import RunStore

KIND = "classify"
PACKAGES = ("torch", "transformers", "tokenizers", "peft", "scikit-learn", "safetensors", "numpy")
SHOWN = "The chat model is shown this row as an example."


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
    """A run, new or resumed. Iterate `run()`; close it to stop: what is done stays."""

    def __init__(self, folder: RunFolder, opened: Opened) -> None:
        self.folder, self.table, self.classifier = folder, opened.table, opened.classifier
        self.outcomes = outcomes_of(folder)
        self._shown = opened.shown
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

        Raises: what it was stopped with; UserError if the disk is full, or the classifier cannot go on.
        """
        with self.folder, recorded_end(self):
            self.outcomes = outcomes_of(self.folder)  # another process may have gone on with it until now
            with contextlib.closing(self._found()) as found:
                for outcome in found:
                    if self._stopped is not None:
                        raise self._stopped
                    yield self._record(outcome)

    def stop(self, reason: UserError) -> None:
        """End it from another thread, after the pass that is under way."""
        self._stopped = reason

    def judged(self, threshold: float = 0.5) -> Judged:
        """What is done so far, beside the truths."""
        classifier = self.classifier
        return judge(classifier.kind, classifier.labels, self.table.truths, self.outcomes.values(), threshold)

    def scores(self) -> dict[str, Any]:
        """The first figure, if the table holds truths: its name -> [metric, value]."""
        figure = self.judged().first_figure()
        return {} if figure is None else {self.table.name: list(figure)}

    def _found(self) -> Generator[Outcome]:
        """Of the rows that have no outcome yet. Examples are not classified, since the model has seen their label."""
        left = [place for place in range(self.n_total) if place not in self.outcomes]
        yield from (Unclassified(place, SHOWN) for place in left if place in self._shown)
        places = [place for place in left if place not in self._shown]
        for outcome in self.classifier.predict([self.table.items[place] for place in places]):
            yield replace(outcome, index=places[outcome.index])

    def _record(self, outcome: Outcome) -> Classified:
        done = Classified(self.n_done + 1, self.n_total, outcome)
        self.folder.append([event_of(outcome) | {"done": done.done, "total": done.total}])
        self.outcomes[outcome.index] = outcome
        return done


def start(
    asked: Asked, source: Source, classifiers: Classifiers, settings: Settings, *, store: RunStore | None = None
) -> Classification:
    """A new run over a table, by the classifier that is asked, in `store` (default: this machine's own).

    Raises: UserError if table and classifier do not go together; as `Classifiers.open_for` and `begin`.
    """
    return begin(classifiers.open_for(asked, source.read()), asked, source, store or RunStore.of(settings))


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
            "labels": list(classifier.labels), "shown": list(opened.shown),
        },
        "program": __version__,
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    })  # fmt: skip
    _keep(source.path, folder.path / file, table.digest)
    return Classification(folder, opened)


def resume(folder: RunFolder, classifiers: Classifiers) -> Classification:
    """The rest of a run, by the classifier that began it.

    Raises: UserError saying what differs, if classifier, table or program are not those of the beginning.
    """
    return go_on(folder, classifiers.open_for(asked_of(folder), table_of(folder)))


def go_on(folder: RunFolder, opened: Opened) -> Classification:
    """The rest of a run, by a classifier that is open already. Raises: as `resume`."""
    spec = _spec(folder)
    begun, classifier = spec["classifier"], opened.classifier
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
    return Classification(folder, opened)


def asked_of(folder: RunFolder) -> Asked:
    """Which classifier a run was started with.

    Raises: UserError if it is no such run.
    """
    asked = _spec(folder)["classifier"]["asked"]
    config = asked["zero_shot"] | {"words": tuple(asked["zero_shot"]["words"])}
    return Asked(asked["model"], tuple(asked["labels"]), ZeroShotConfig(**config), asked["is_strict"])


def table_of(folder: RunFolder) -> LabelledTable:
    """The table of a run, from the copy that it keeps.

    Raises: UserError if it is not the one that the run began with.
    """
    spec = _spec(folder)
    about = spec["table"]
    source = Source(folder.path / about["file"], Columns(**about["columns"]), Reading(**about["reading"]))
    table = renamed_by_place(source.read(about["name"]), tuple(spec["classifier"]["labels"]))
    if table.digest != about["digest"]:
        raise UserError(f"The table of run {folder.id} was changed. Start a new run.", param="run")
    return table


def judged_run(folder: RunFolder, threshold: float = 0.5) -> tuple[LabelledTable, Judged]:
    """The table and what was found of it so far, from the folder alone: no model is needed.

    Raises: UserError if the run is damaged or none of this kind.
    """
    about = _spec(folder)["classifier"]
    table = table_of(folder)
    return table, judge(about["kind"], about["labels"], table.truths, outcomes_of(folder).values(), threshold)


def outcomes_of(folder: RunFolder) -> dict[int, Outcome]:
    """What a run has so far, by place of the item; of an item that was classified twice, the first outcome."""
    found: dict[int, Outcome] = {}
    for event in folder.events():
        outcome = _outcome(event)
        if outcome is not None:
            found.setdefault(outcome.index, outcome)
    return found


def event_of(outcome: Outcome) -> dict[str, Any]:
    """An outcome as a line of events.jsonl."""
    if isinstance(outcome, Unclassified):
        return {"type": "unclassified", "row": outcome.index, "reason": outcome.reason}
    cut = {"cut": outcome.n_cut} if outcome.n_cut else {}
    return {"type": "prediction", "row": outcome.index, "scores": list(outcome.scores), **cut}


def _outcome(event: Spec) -> Outcome | None:
    if event.get("type") == "prediction":
        return Prediction(event["row"], tuple(event["scores"]), event.get("cut", 0))
    return Unclassified(event["row"], event["reason"]) if event.get("type") == "unclassified" else None


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
