"""A search over the options of training: the one place that knows what a trial of it is."""

import contextlib
import datetime
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.engine.catalog import find_model
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder, RunNotFound
from llm_app.jobs.search import Plan, Search, Tick, read_trials
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import (
    CHECKPOINTS,
    RECIPE,
    Start,
    Training,
    config_of,
    discard,
    resume_training,
    start_training,
)
from llm_app.jobs.train_child import TrainChild
from llm_app.jobs.train_data import dataset_json, datasets_of, differing_files
from llm_app.jobs.train_log import read_log
from llm_app.jobs.train_result import (
    ADAPTER,
    MODEL,
    check_name,
    check_output,
    free_name,
    put,
    run_of,
    shelf_of,
    withdraw,
)
from llm_app.training.config import TrainConfig
from llm_app.training.events import Step, Validation
from llm_app.training.reporting import check_reporter
from llm_app.training.search_config import SearchConfig
from llm_app.training.search_proposals import check_strategy
from llm_app.training.search_space import Params, n_combinations, parse_space

KIND = "search"
LINK = "search.json"  # in the run of a trial: which search it belongs to, and its number there
# What decides how the validation loss is measured, and on what: trials that differ in it cannot be compared.
MEASURE = ("seed", "validation", "test", "max_length", "responses_only", "objective", "beta")


class TrainTrials:
    """Trials that are training runs, which differ in the options of `params` from `config`."""

    def __init__(self, folder: RunFolder, settings: Settings, start: Start) -> None:
        self._search, self._settings, self._start = folder.id, settings, start
        self._store = RunStore(folder.path.parent)  # its trials lie beside it
        spec = folder.spec()
        self._model, self._config, self._datasets = spec["model"]["name"], config_of(spec), datasets_of(spec)
        self._name, self._output = spec["name"], spec["output"]
        self._training: Training | None = None
        self._stopped: UserError | None = None

    def is_possible(self, params: Params) -> bool:
        """Whether the options fit together."""
        try:
            self._config_with(params)
        except UserError:
            return False
        return True

    def begin(self, params: Params, number: int) -> str:
        """A training run of these options, linked to the search."""
        for run_id in self._store.ids():
            if run_id < self._search:  # older
                break
            if link_of(self._store.open(run_id)) == (self._search, number):
                return run_id  # a kill came before the search could say so
        config = self._config_with(params)
        training = start_training(
            self._model, self._datasets, config, self._settings, self._store, is_offered=False,
        )
        training.folder.write(LINK, json.dumps({"search": self._search, "trial": number}) + "\n")
        return training.folder.id

    def run(self, run_id: str) -> Generator[Tick]:
        """What the run measured before, then the rest of it."""
        folder = self._store.open(run_id)
        log = read_log(folder)
        n_steps = log.begun.n_steps if log.begun is not None else 0
        for known in log.validations:
            yield Tick(known.step, n_steps, known.loss)
        if self._store.read(run_id).status == "done":
            return
        resume_training(folder, self._settings)  # raises what keeps it from going on
        training = self._training = Training(folder, self._settings, start=self._start)
        if self._stopped is not None:  # meanwhile
            training.stop(self._stopped)
        try:
            with closing(training.run()) as events:
                for event in events:
                    if isinstance(event, Step):
                        yield Tick(event.step, event.n_steps)
                    elif isinstance(event, Validation):
                        yield Tick(event.step, training.n_total, event.loss)
        finally:
            self._training = None

    def stop(self, reason: UserError) -> None:
        """Stop and save the run under way."""
        self._stopped = reason
        if (training := self._training) is not None:
            training.stop(reason)

    def drop(self, run_id: str) -> None:
        """Delete checkpoints and adapter; the log, and how it ended, stays."""
        training = self._training
        if training is not None and training.folder.id == run_id:
            training.discard()  # what it has saved goes with the next call
            return
        with contextlib.suppress(RunNotFound):
            folder = self._store.open(run_id)
            if not any((folder.path / name).exists() for name in (CHECKPOINTS, ADAPTER, MODEL)):
                return
            ended = next((event for event in folder.tail() if event.get("type") == "end"), None)
            with folder:
                discard(folder)
                if ended is not None:
                    folder.append([ended])  # the last line says how a run ended

    def offer(self, run_id: str) -> None:
        """Put the adapter of the best trial among those of this machine, and where it was asked for."""
        with contextlib.suppress(RunNotFound):
            folder = self._store.open(run_id)
            place = next((name for name in (ADAPTER, MODEL) if (folder.path / name).is_dir()), None)
            if place is None:
                return
            source = folder.path / place
            if self._output is not None and not self._put(source, Path(self._output) / place, run_id):
                raise UserError(f"{Path(self._output) / place} is taken; the best is in {source}.", param="output")
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

    def _config_with(self, params: Params) -> TrainConfig:
        return replace(self._config, **params)


def start_search(
    model: str, datasets: Sequence[DatasetSpec], config: TrainConfig, search: SearchConfig, settings: Settings,
    store: RunStore | None = None, *, name: str | None = None, output: Path | None = None,
) -> Search:
    """A new search, ready for the queue. All trials share `config`, its seed and its split, but for what is searched.

    `name`: what the best adapter is called among those of this machine; `output`: a folder that gets it too.
    Raises: UserError for what cannot be searched, an unknown model, a file that cannot be read; QuotaReached.
    """
    _check(config, search, settings)
    entry = find_model(model, settings)
    if name is None:
        name = free_name(entry.id, config.method, settings)
    else:
        check_name(name, config.method, settings)
    if output is not None:
        check_output(output, config.method)
    created = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    spec = {
        "kind": KIND, "of": "train", "created": created, "asked": list(search.space),
        "model": {"name": entry.name, "adapter_name": None, "precision": config.method},
        "datasets": [dataset_json(dataset) for dataset in datasets],
        "config": asdict(config), "search": asdict(search), "name": name,
        "output": None if output is None else str(output.absolute()), "recipe": RECIPE,
    }
    return _search((store or RunStore.of(settings)).create(spec), settings, TrainChild)


def resume_search(
    folder: RunFolder, settings: Settings, *, start: Start = TrainChild, budget: Mapping[str, Any] | None = None
) -> Search:
    """The rest of a search. Trials that ended are not run again. `start`: what makes the process of a trial.

    `budget`: other `trials` or `minutes` than before, those made among them; a search that is over goes on with more.
    Raises: UserError if it is none, its spec is damaged, its data or this program is not what it was, or the budget is
    out of range.
    """
    spec = folder.spec()
    if spec.get("kind") != KIND or spec.get("of") != "train":
        raise UserError(f"Run {folder.id} is not a search over training.", param="run")
    find_model(spec["model"]["name"], settings)
    # Losses of trials that made other steps of the same examples cannot be ranked together.
    differing = [] if spec.get("recipe") == RECIPE else ["how examples become steps"]
    differing += differing_files(spec)
    if differing:
        raise UserError(
            f"Search {folder.id} cannot go on: {', '.join(differing)} is not what it was. Start a new one.", param="run"
        )
    if budget:
        asked = replace(search_of(folder), **budget)
        with folder:
            folder.append([{"type": "budget", "trials": asked.trials, "minutes": asked.minutes}])
    return _search(folder, settings, start)


def extend_search(folder: RunFolder, n_trials: int, settings: Settings, *, start: Start = TrainChild) -> Search:
    """A search that is over, with so many more trials; a limit of minutes that it had no longer holds.

    Raises: UserError if there is nothing left to try; else as `resume_search`.
    """
    n_tried, n_all = len(read_trials(folder.events())), n_settings(folder)
    if n_all is not None and n_tried >= n_all:
        raise UserError(f"All {n_all:,} settings of its space were tried. Start a search of another space.")
    return resume_search(folder, settings, start=start, budget={"trials": n_tried + n_trials, "minutes": None})


def n_settings(folder: RunFolder) -> int | None:
    """How many different settings the space of a search has; None if it has ranges, which have no end.

    Raises: UserError if its spec is damaged.
    """
    return n_combinations(parse_space(search_of(folder).space, TrainConfig))


def _search(folder: RunFolder, settings: Settings, start: Start) -> Search:
    asked = search_of(folder)
    plan = Plan(
        parse_space(asked.space, TrainConfig), asked.strategy, config_of(folder.spec()).seed, asked.trials,
        None if asked.minutes is None else asked.minutes * 60,
    )
    return Search(folder, plan, TrainTrials(folder, settings, start))


def search_of(folder: RunFolder) -> SearchConfig:
    """What a search was asked for, with the budget that it was given last.

    Raises: UserError if it is damaged.
    """
    budgets = [event for event in folder.events() if event.get("type") == "budget"]
    try:
        values: Mapping[str, Any] = folder.spec()["search"]
        asked = SearchConfig(**{**values, "space": tuple(values["space"])})
        return replace(asked, trials=budgets[-1]["trials"], minutes=budgets[-1]["minutes"]) if budgets else asked
    except (KeyError, TypeError) as error:
        raise UserError(f"Run {folder.id} has no readable options; start a new search.", param="run") from error


def _check(config: TrainConfig, search: SearchConfig, settings: Settings) -> None:
    """Before anything is written."""
    if settings.is_public:
        raise UserError("A public demo does not search. Start Proofbench on a machine of your own.", param="space")
    space = parse_space(search.space, TrainConfig)
    unfair = next((axis.name for axis in space if axis.name in MEASURE), None)
    if unfair is not None:
        raise UserError(
            f"{unfair} decides how the validation loss is measured: trials that differ in it cannot be compared. Fix it"
            " for all trials.", param="space",
        )
    if config.validation == 0:
        raise UserError("A search compares validation losses: hold back examples, such as 0.1.", param="validation")
    check_strategy(search.strategy, space)
    check_reporter(config.report_to)


def link_of(folder: RunFolder) -> tuple[str, int] | None:
    """The search that a run is a trial of, and its number there."""
    try:
        link = json.loads((folder.path / LINK).read_text(encoding="utf-8"))
        return str(link["search"]), int(link["trial"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
