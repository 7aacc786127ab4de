"""What a search can be over: the tuning of a language model, or the training of a classifier."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llm_app.classify.config import ClassifierConfig
from llm_app.config import Settings
from llm_app.engine.catalog import find_model
from llm_app.errors import UserError
from llm_app.jobs import classifier, train
from llm_app.jobs.folder import RunFolder, Spec
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import Start, Training
from llm_app.jobs.train_data import datasets_of
from llm_app.training.config import TrainConfig

TUNING, CLASSIFIER = "search", "classifier_search"  # kinds of runs


@dataclass(frozen=True)
class Searched:
    """Whose options are tried. `measure`: those that decide what trials are compared by, which all must share.

    `check` raises UserError for a model that is gone; `begin` and `resume` give a trial. The spec is the search's.
    """

    config: type[Any]
    measure: tuple[str, ...]
    config_of: Callable[[Spec], Any]
    check: Callable[[Spec, Settings], object]
    begin: Callable[[Spec, Any, Settings, RunStore], Training]
    resume: Callable[[RunFolder, Settings, Start], Training]


def _check_model(spec: Spec, settings: Settings) -> None:
    find_model(spec["model"]["name"], settings)


def _begin_tuning(spec: Spec, config: TrainConfig, settings: Settings, store: RunStore) -> Training:
    return train.start_training(
        spec["model"]["name"], datasets_of(spec), config, settings, store, is_offered=False
    )


def _begin_classifier(spec: Spec, config: ClassifierConfig, settings: Settings, store: RunStore) -> Training:
    data = classifier.data_of(spec)
    return classifier.start_classifier(data, config, settings, store, base=spec["base"], is_offered=False)


SEARCHED: Mapping[str, Searched] = {
    TUNING: Searched(
        TrainConfig, ("seed", "validation", "test", "max_length", "responses_only", "objective", "beta"),
        train.config_of, _check_model, _begin_tuning,
        lambda folder, settings, start: train.resume_training(folder, settings, start=start),
    ),
    CLASSIFIER: Searched(
        # Weighed labels are compared by another score.
        ClassifierConfig, ("seed", "validation", "test", "weighs_classes"),
        classifier.config_of, lambda spec, settings: None, _begin_classifier,
        lambda folder, settings, start: classifier.resume_classifier(folder, settings, start=start),
    ),
}  # fmt: skip


def searched_of(folder: RunFolder) -> Searched:
    """What the search of this folder is over.

    Raises: UserError if it is none.
    """
    found = SEARCHED.get(str(folder.spec().get("kind")))
    if found is None:
        raise UserError(f"Run {folder.id} is not a search.", param="run")
    return found
