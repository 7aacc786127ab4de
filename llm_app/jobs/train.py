"""A training run: what it is, kept in its folder, and the process that does it, watched from here.

The process is a child: its end, however it comes, gives all its memory back and leaves this program alive. It tells
what it does on a pipe; the log is written on this side.
"""

import contextlib
import datetime
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil

from llm_app import __version__
from llm_app.classify.training.events import Point, Scored
from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.engine.catalog import find_model
from llm_app.errors import Cancelled, UserError
from llm_app.jobs.ending import Paused, recorded_end
from llm_app.jobs.folder import RunFolder, Spec, told
from llm_app.jobs.store import RunStore
from llm_app.jobs.train_child import Doing, TrainChild
from llm_app.jobs.train_data import dataset_json, differing_files
from llm_app.jobs.train_log import Begun, Discarded, Told, Written, line_of, read_log
from llm_app.jobs.train_public import check_public_data, forget_all, in_time, public_config
from llm_app.jobs.train_result import (
    ADAPTER,
    CLASSIFIER,
    MODEL,
    check_name,
    check_output,
    free_name,
    put,
    shelf_of,
    target_of,
)
from llm_app.training.config import TrainConfig
from llm_app.training.events import Step, Validation
from llm_app.training.reporting import check_reporter

KIND, CHECKPOINTS = "train", "checkpoint"
# Counted up with every change in how examples become steps: no run goes on under other rules than it began with.
# 2: short examples fill a pass, and long plain text is cut into pieces.
RECIPE = 2
# Whatever a weight passes through on its way.
PACKAGES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "bitsandbytes", "safetensors", "numpy")


class NoRoom(Paused):
    """The disk took no checkpoint; the last one that it took stays."""

    status, code = 507, "insufficient_storage"


Start = Callable[[RunFolder, Settings, int], Doing]


class Training:
    """A run, new or resumed. Iterate `run()`; close it to stop and save."""

    def __init__(self, folder: RunFolder, settings: Settings, *, start: Start = TrainChild) -> None:
        self.folder = folder
        self._settings, self._start = settings, start
        self._spec = folder.spec()
        self._doing: Doing | None = None
        self._stopped: UserError | None = None
        self._is_discarded = False
        self._remember()

    @property
    def n_done(self) -> int:
        """Optimiser steps made."""
        return self._n_done

    @property
    def n_total(self) -> int:
        """Optimiser steps in all; one until that is known."""
        return self._n_total

    def scores(self) -> dict[str, Any]:
        """The last training loss in nats and what validation came to at best; of a classifier also its test score."""
        return {name: list(found) for name, found in self._scores.items()}

    def run(self) -> Generator[Told]:
        """Train; everything it tells is on disk before it is given. Its last event says how it ended.

        Raises: Cancelled or what it was stopped with; NoRoom; UserError if data, model or program are not as they
        were, the loss is no number, or the process was lost.
        """
        with self.folder, recorded_end(self), in_time(self, self.folder.path / CHECKPOINTS, self._settings):
            self._remember()  # another process may have gone on with it until now
            if self._stopped is not None:
                raise self._stopped
            with contextlib.closing(self._start(self.folder, self._settings, self._spec["n_threads"])) as doing:
                self._doing = doing
                self._ask_to_end()  # it may have been stopped meanwhile
                events = iter(doing)
                try:
                    for event in events:
                        self._record(event)
                        yield event
                except GeneratorExit:
                    doing.end_soon()
                    for event in events:
                        self._record(event)
                    raise
                finally:
                    self._doing = None
                self._conclude(doing)

    def stop(self, reason: UserError) -> None:
        """Stop and save, from another thread, within one step: `run` raises this."""
        self._stopped = reason
        self._ask_to_end()

    def discard(self) -> None:
        """Stop at once and throw away checkpoints and adapter, from another thread."""
        self._is_discarded = True
        self._stopped = Cancelled("The run was stopped; its checkpoints and its adapter were thrown away.")
        self._ask_to_end()

    def kill(self) -> None:
        """End it at once, from another thread; what was saved before stays."""
        if (doing := self._doing) is not None:
            doing.kill()

    def _ask_to_end(self) -> None:
        doing = self._doing
        if doing is not None and self._is_discarded:
            doing.kill()
        elif doing is not None and self._stopped is not None:
            doing.end_soon()

    def _remember(self) -> None:
        log = read_log(self.folder)
        self._n_done, self._n_total = 0, 1
        self._scores: dict[str, tuple[str, float]] = {}  # part -> (metric, value)
        before: list[Told] = [] if log.begun is None else [log.begun]
        for event in (*before, *log.steps[-1:], *log.validations, *log.points, *log.scored):
            self._count(event)

    def _count(self, event: Told) -> None:
        """What the list of runs shows of it."""
        before = self._scores.get("validation")
        match event:
            case Begun():
                self._n_total = event.n_steps
            case Step():
                self._n_done, self._scores["training"] = event.step, ("loss", event.loss)
            case Validation() if before is None or event.loss < before[1]:
                self._scores["validation"] = ("loss", event.loss)
            case Point() if before is None or event.score > before[1]:
                self._scores["validation"] = (event.metric, event.score)
            case Scored() if event.method == self._spec["config"]["method"]:
                self._scores[event.part] = next((name, value) for name, (value, _, _) in event.scores.items())

    def _record(self, event: Told) -> None:
        self._count(event)
        if isinstance(event, Written):
            event = replace(event, name=self._offer(event.place))
        self.folder.append([{**line_of(event), "done": self._n_done, "total": self._n_total}])

    def _offer(self, place: str) -> str | None:
        """Put what came of it where it was asked for, and on the shelf; gives its name there."""
        source, output = self.folder.path / place, self._spec["output"]
        target = None if output is None else target_of(Path(output), place)
        if target is not None and not put(source, target, self.folder.id):
            raise UserError(f"{target} is not of this run; the result is in {source}.", param="output")
        if self._spec["name"] is None:
            return None
        shelf, own = shelf_of(place, self._settings), f"{place}-{self.folder.id}"
        return next((name for name in (self._spec["name"], own) if put(source, shelf / name, self.folder.id)), None)

    def _conclude(self, doing: Doing) -> None:
        """Raises: why it is not done."""
        if self._is_discarded:
            assert self._stopped is not None
            discard(self.folder)
            self._n_done = 0
            raise self._stopped
        outcome = doing.outcome()
        if outcome.status == "failed":
            raise (NoRoom if outcome.code == NoRoom.code else UserError)(outcome.reason)
        if outcome.status == "stopped":
            raise self._stopped or Cancelled("The training process was told to end. What it has stays.")


def start_training(
    model: str, datasets: Sequence[DatasetSpec], config: TrainConfig, settings: Settings,
    store: RunStore | None = None, *, name: str | None = None, is_offered: bool = True, output: Path | None = None,
) -> Training:
    """A new run in `store` (default: this machine's own).

    `name`: what its adapter is called among those of this machine, made up if it is None; a public demo's, and one
    that is not `is_offered`, stays in the run's folder. `output`: a folder that gets the result too.
    Raises: UserError for an unknown model, a file that cannot be read, a name or place that is taken, or more than a
    public demo does; QuotaReached.
    """
    entry, store = find_model(model, settings), store or RunStore.of(settings)
    check_reporter(config.report_to)
    if settings.is_public:
        config = public_config(config)
        check_public_data(datasets, config.seed)
        forget_all(store, CHECKPOINTS)
    if not is_offered or settings.is_public:
        name = None
    elif name is None:
        name = free_name(entry.id, config.method, settings)
    else:
        check_name(name, config.method, settings)
    if output is not None:
        check_output(output, config.method)
    described = [dataset_json(dataset) for dataset in datasets]
    created = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    spec = {
        "kind": KIND, "created": created, "asked": [dataset["name"] for dataset in described],
        "model": {"name": entry.name, "adapter_name": None, "precision": config.method},
        "datasets": described, "config": asdict(config), "name": name,
        "output": None if output is None else str(output.absolute()), "n_threads": n_threads(), **program(),
    }
    return Training(store.create(spec), settings)


def resume_training(folder: RunFolder, settings: Settings, *, start: Start = TrainChild) -> Training:
    """The rest of a run, from its newest valid checkpoint.

    Raises: UserError saying what differs, if data or program are not those of the beginning, or it was thrown away.
    """
    spec = folder.spec()
    if spec.get("kind") != KIND:
        raise UserError(f"Run {folder.id} is not a training run.", param="run")
    find_model(spec["model"]["name"], settings)
    check_resumable(folder, settings)
    return Training(folder, settings, start=start)


def check_resumable(folder: RunFolder, settings: Settings) -> None:
    """Raises: UserError saying what differs, if data or program are not as they were, or the run was thrown away."""
    spec, log = folder.spec(), read_log(folder)
    if log.is_discarded:
        raise UserError(f"Run {folder.id} was thrown away. Start a new run.", param="run")
    if settings.is_public and log.steps:
        raise UserError("A public demo keeps nothing to go on with. Start a new run.", param="run")
    found = [name for name, value in program().items() if spec.get(name) != value] + differing_files(spec)
    if found:
        raise UserError(
            f"Run {folder.id} cannot go on: it differs in: {', '.join(found)}. Start a new run.", param="run"
        )


def discard(folder: RunFolder) -> None:
    """Throw away checkpoints and adapter of a run that this program holds; its log stays."""
    try:
        for name in (CHECKPOINTS, ADAPTER, MODEL, CLASSIFIER):
            if (folder.path / name).exists():
                shutil.rmtree(folder.path / name)
    except OSError as error:
        raise told(error, folder.path) from error
    folder.append([line_of(Discarded())])


def config_of(spec: Spec) -> TrainConfig:
    """The settings that a run was started with.

    Raises: UserError if they are damaged.
    """
    try:
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in spec["config"].items()
        }
        return TrainConfig(**given)
    except (KeyError, AttributeError, TypeError) as error:
        raise UserError(f"Run {spec.get('id')} has no readable settings; start a new run.", param="run") from error


def program() -> Mapping[str, Any]:
    """Everything of this program that decides what a run learns: a resumed run must find the same."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"program": __version__, "recipe": RECIPE, "packages": versions}


def n_threads() -> int:
    """As many as torch would take: the cores that this process may use."""
    told_so = os.environ.get("OMP_NUM_THREADS", "")
    if told_so.isdigit() and int(told_so) > 0:
        return int(told_so)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, psutil.cpu_count(logical=False) or allowed)
