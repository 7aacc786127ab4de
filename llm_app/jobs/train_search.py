"""Searches over trainings: of language models, and of classifiers. Begun, gone on with, given more trials."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from llm_app.classify.config import ClassifierConfig
from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.engine.catalog import find_model
from llm_app.errors import UserError
from llm_app.jobs.classifier import BASES, ClassifierData, check_asked, data_json
from llm_app.jobs.folder import RunFolder, Spec
from llm_app.jobs.search import Plan, Search, read_trials
from llm_app.jobs.searched import CLASSIFIER, SEARCHED, TUNING, searched_of
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import RECIPE, Start
from llm_app.jobs.train_child import TrainChild
from llm_app.jobs.train_data import dataset_json, differing_files
from llm_app.jobs.train_result import CLASSIFIER as CLASSIFIER_FOLDER
from llm_app.jobs.train_result import check_name, check_output, free_name
from llm_app.jobs.trial_runs import TrialRuns, fits
from llm_app.training.config import TrainConfig
from llm_app.training.reporting import check_reporter
from llm_app.training.search_config import SearchConfig
from llm_app.training.search_proposals import check_strategy, propose
from llm_app.training.search_space import Choices, Space, n_combinations, parse_space


def start_search(
    model: str, datasets: Sequence[DatasetSpec], config: TrainConfig, search: SearchConfig, settings: Settings,
    store: RunStore | None = None, *, name: str | None = None, output: Path | None = None,
) -> Search:
    """A new search over tunings, ready for the queue. All share `config`, but for what is searched.

    `name`: what the best adapter is called among those of this machine; `output`: a folder that gets it too.
    Raises: UserError for what cannot be searched, an unknown model, a file that cannot be read; QuotaReached.
    """
    check_search(TUNING, config, search, settings)
    check_reporter(config.report_to)
    entry = find_model(model, settings)
    spec = {
        "kind": TUNING, "model": {"name": entry.name, "adapter_name": None, "precision": config.method},
        "datasets": [dataset_json(dataset) for dataset in datasets],
        "name": _name(name, entry.id, config.method, settings), "output": _output(output, config.method),
        **_common(config, search),
    }
    return _search((store or RunStore.of(settings)).create(spec), settings, TrainChild)


def start_classifier_search(
    data: ClassifierData, config: ClassifierConfig, search: SearchConfig, settings: Settings,
    store: RunStore | None = None, *, base: str | None = None, name: str | None = None, output: Path | None = None,
) -> Search:  # fmt: skip
    """A new search over trainings of classifiers, which are compared by their score on the rows for validation.

    The test rows take no part in it: what the best one comes to on them is told at the end. For `base`, `name` and
    `output` see `start_classifier`. Raises: UserError for what cannot be searched or trained; QuotaReached.
    """
    space = check_search(CLASSIFIER, config, search, settings)
    check_asked(data, config, base)
    # Where methods compete, each trial says what it begins from.
    method = "" if any(axis.name == "method" for axis in space) else config.method
    model = {"name": base or BASES.get(method) or "", "adapter_name": None, "precision": method}
    stem = f"{Path(data.rows.path).stem} {method or 'best'}"
    spec = {
        "kind": CLASSIFIER, "model": model, "base": base, **data_json(data),
        "name": _name(name, stem, CLASSIFIER_FOLDER, settings), "output": _output(output, CLASSIFIER_FOLDER),
        **_common(config, search),
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
    searched_of(folder).check(spec, settings)
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
    return n_combinations(parse_space(search_of(folder).space, searched_of(folder).config))


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


def check_search(
    kind: str, config: TrainConfig | ClassifierConfig, search: SearchConfig, settings: Settings
) -> Space:
    """What is searched. Raises: UserError for what cannot be, before anything is written."""
    if settings.is_public:
        raise UserError("A public demo does not search. Start Proofbench on a machine of your own.", param="space")
    searched = SEARCHED[kind]
    space = parse_space(search.space, searched.config)
    unfair = next((axis.name for axis in space if axis.name in searched.measure), None)
    if unfair is not None:
        raise UserError(
            f"{unfair} decides how trials are measured: those that differ in it cannot be compared. Fix it for all"
            " trials.", param="space",
        )
    if config.validation == 0:
        raise UserError(
            "A search compares trials by what none of them learns from: hold back examples, such as 0.1.",
            param="validation",
        )
    check_strategy(search.strategy, space)
    if propose(search.strategy, space, config.seed, (), lambda params: fits(config, params)) is None:
        # No setting is possible: what keeps the first one from it says why.
        first: dict[str, Any] = {
            axis.name: axis.values[0] if isinstance(axis, Choices) else axis.low for axis in space
        }
        replace(config, **first)
    return space


def _common(config: TrainConfig | ClassifierConfig, search: SearchConfig) -> Spec:
    created = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return {
        "created": created, "asked": list(search.space), "config": asdict(config), "search": asdict(search),
        "recipe": RECIPE,
    }


def _name(name: str | None, of: str, method: str, settings: Settings) -> str:
    """Raises: UserError for a name that will not do."""
    if name is None:
        return free_name(of, method, settings)
    check_name(name, method, settings)
    return name


def _output(output: Path | None, method: str) -> str | None:
    """Raises: UserError for a place that is taken."""
    if output is None:
        return None
    check_output(output, method)
    return str(output.absolute())


def _search(folder: RunFolder, settings: Settings, start: Start) -> Search:
    asked, searched = search_of(folder), searched_of(folder)
    plan = Plan(
        parse_space(asked.space, searched.config), asked.strategy, searched.config_of(folder.spec()).seed,
        asked.trials, None if asked.minutes is None else asked.minutes * 60,
    )
    return Search(folder, plan, TrialRuns(folder, settings, start))
