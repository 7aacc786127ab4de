"""Trials of a search that are runs of their own, each linked to the search; and what comes of the best one."""

import contextlib
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_app.classify.training.events import Point, Scored
from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder, RunNotFound
from llm_app.jobs.search import Tick, read_trials
from llm_app.jobs.searched import SEARCHED, searched_of
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import CHECKPOINTS, Start, Training, discard
from llm_app.jobs.train_log import Told, line_of, read_log, told_of
from llm_app.jobs.train_result import ADAPTER, CLASSIFIER, MODEL, put, run_of, shelf_of, target_of, withdraw
from llm_app.training.events import Step, Validation
from llm_app.training.search_space import Params
from llm_app.training.search_trials import leader

LINK = "search.json"  # in the run of a trial: which search it belongs to, and its number there
RESULTS = (ADAPTER, MODEL, CLASSIFIER)


class TrialRuns:
    """Trials that are runs of training, which differ in the options of `params` from those of the search."""

    def __init__(self, folder: RunFolder, settings: Settings, start: Start) -> None:
        self._search, self._settings, self._start = folder.id, settings, start
        self._store = RunStore(folder.path.parent)  # its trials lie beside it
        self._spec, self._searched = folder.spec(), searched_of(folder)
        self._config = self._searched.config_of(self._spec)
        self._name, self._output = self._spec["name"], self._spec["output"]
        self._training: Training | None = None
        self._stopped: UserError | None = None

    def is_possible(self, params: Params) -> bool:
        """Whether the options fit together."""
        return fits(self._config, params)

    def begin(self, params: Params, number: int) -> str:
        """A run of these options, linked to the search."""
        for run_id in self._store.ids():
            if run_id < self._search:  # older
                break
            if link_of(self._store.open(run_id)) == (self._search, number):
                return run_id  # a kill came before the search could say so
        config = replace(self._config, **params)
        training = self._searched.begin(self._spec, config, self._settings, self._store)
        training.folder.write(LINK, json.dumps({"search": self._search, "trial": number}) + "\n")
        return training.folder.id

    def run(self, run_id: str) -> Generator[Tick]:
        """What the run measured before, then the rest of it."""
        folder = self._store.open(run_id)
        log = read_log(folder)
        n_steps = log.begun.n_steps if log.begun is not None else 0
        known: list[Told] = [*log.validations, *log.points]
        for event in known:
            yield from _ticks(event, n_steps)
        if self._store.read(run_id).status == "done":
            return
        # Raises what keeps it from going on.
        training = self._training = self._searched.resume(folder, self._settings, self._start)
        if self._stopped is not None:  # meanwhile
            training.stop(self._stopped)
        try:
            with closing(training.run()) as events:
                for event in events:
                    yield from _ticks(event, training.n_total)
        finally:
            self._training = None

    def stop(self, reason: UserError) -> None:
        """Stop and save the run under way."""
        self._stopped = reason
        if (training := self._training) is not None:
            training.stop(reason)

    def drop(self, run_id: str) -> None:
        """Delete checkpoints and what came of it; the log, and how it ended, stays."""
        training = self._training
        if training is not None and training.folder.id == run_id:
            training.discard()  # what it has saved goes with the next call
            return
        with contextlib.suppress(RunNotFound):
            folder = self._store.open(run_id)
            if not any((folder.path / name).exists() for name in (CHECKPOINTS, *RESULTS)):
                return
            ended = next((event for event in folder.tail() if event.get("type") == "end"), None)
            with folder:
                discard(folder)
                if ended is not None:
                    folder.append([ended])  # the last line says how a run ended

    def offer(self, run_id: str) -> Mapping[str, Any]:
        """Put what came of the best trial among its like on this machine, and where it was asked for.

        Gives what a classifier and its baselines came to on the rows that chose nothing; nothing of others.
        """
        with contextlib.suppress(RunNotFound):
            folder = self._store.open(run_id)
            place = next((name for name in RESULTS if (folder.path / name).is_dir()), None)
            if place is not None:
                self._offer(folder.path / place, run_id)
            # What was trained is scored after the baselines.
            return {"scored": [line_of(each) for each in reversed(read_log(folder).scored)]}
        return {}

    def _offer(self, source: Path, run_id: str) -> None:
        place = source.name
        target = None if self._output is None else target_of(Path(self._output), place)
        if target is not None and not self._put(source, target, run_id):
            raise UserError(f"{target} is taken; the best is in {source}.", param="output")
        shelf = shelf_of(place, self._settings)
        if not self._put(source, shelf / self._name, run_id):  # taken meanwhile
            put(source, shelf / f"{place}-{run_id}", run_id)
        for other in list(shelf.iterdir()):
            led = run_of(other)  # before the search was given more trials
            if led and led != run_id and other.name in (self._name, f"{place}-{led}") and self._is_trial(led):
                withdraw(other)

    def _put(self, source: Path, target: Path, run_id: str) -> bool:
        """In place of what led before the search was given more trials; False if another's result lies there."""
        before = run_of(target)
        return put(source, target, run_id, earlier=before if before and self._is_trial(before) else None)

    def _is_trial(self, run_id: str) -> bool:
        with contextlib.suppress(RunNotFound):
            link = link_of(self._store.open(run_id))
            return link is not None and link[0] == self._search
        return False


def _ticks(event: Told, n_steps: int) -> Generator[Tick]:
    match event:
        case Step():
            yield Tick(event.step, event.n_steps)
        case Validation():
            yield Tick(event.step, n_steps, event.loss)
        case Point():
            yield Tick(event.step, n_steps, 1 - event.score, event.metric)


def scored_of(events: Iterable[Mapping[str, Any]]) -> list[Scored]:
    """What the best trial of a search came to, then the baselines; nothing as long as it is not offered."""
    _, told = _winner(list(events))
    return [scored for line in told.get("scored", ()) if isinstance(scored := told_of(line), Scored)]


def found_by(store: RunStore, folder: RunFolder) -> RunFolder | None:
    """Of a search the run of the trial that came out best, None before that is known; any other run is itself."""
    if folder.spec().get("kind") not in SEARCHED:
        return folder
    run_id, _ = _winner(folder.events())
    return None if run_id is None else store.open(run_id)


def _winner(events: Sequence[Mapping[str, Any]]) -> tuple[str | None, Mapping[str, Any]]:
    """The run of the best trial and what the log says of it, as long as no other leads since."""
    best = leader(read_trials(events))
    told = next((event for event in reversed(events) if event.get("type") == "best"), None)
    if best is None or told is None or told["trial"] != best.number:
        return None, {}
    return best.run, told


def fits(config: Any, params: Params) -> bool:
    """Whether these options go with the others."""
    try:
        replace(config, **params)
    except UserError:
        return False
    return True


def link_of(folder: RunFolder) -> tuple[str, int] | None:
    """The search that a run is a trial of, and its number there."""
    try:
        link = json.loads((folder.path / LINK).read_text(encoding="utf-8"))
        return str(link["search"]), int(link["trial"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
