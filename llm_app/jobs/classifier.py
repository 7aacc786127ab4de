"""The training of a classifier as a run: spec, start, resumption. It is done, stopped and kept as tuning is."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.table import SEPARATOR, Columns
from llm_app.config import ModelConfig, Settings
from llm_app.data.mix import DatasetSpec
from llm_app.errors import UserError
from llm_app.jobs.classify_public import check_training
from llm_app.jobs.folder import RunFolder, Spec
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import CHECKPOINTS, Start, Training, check_resumable, n_threads, program
from llm_app.jobs.train_child import TrainChild
from llm_app.jobs.train_data import dataset_json, datasets_of
from llm_app.jobs.train_outcome import CLASSIFIER_KIND
from llm_app.jobs.train_public import forget_all
from llm_app.jobs.train_result import check_name, check_output, free_name

Config = TypeVar("Config")
# What a method begins from, unless it is said.
BASES = {"encoder": "embedded", "lora": ModelConfig().model, "lstm": None, "tfidf": None}


@dataclass(frozen=True)
class ClassifierData:
    """Files of rows and the columns that count. `test`: a file for the scores alone, else a part of the first.

    `drops_unlabelled`: rows without a label are left out, which else is an error.
    """

    rows: DatasetSpec
    columns: Columns
    test: DatasetSpec | None = None
    drops_unlabelled: bool = False

    @property
    def files(self) -> Sequence[DatasetSpec]:
        """In the order in which a spec names them."""
        return [self.rows] if self.test is None else [self.rows, self.test]


@dataclass(frozen=True)
class Place:
    """Where a result goes besides the run's folder.

    `name`: on the shelf of this machine, made up if it is None; what is not offered, or is of a public demo, has none.
    `output`: a folder that becomes it too.
    """

    name: str | None = None
    output: Path | None = None
    is_offered: bool = True


def data_json(data: ClassifierData) -> Mapping[str, Any]:
    """What a spec says of it. Raises: UserError if a file cannot be read."""
    return {
        "datasets": [dataset_json(dataset) for dataset in data.files], "columns": asdict(data.columns),
        "drops_unlabelled": data.drops_unlabelled,
    }


def data_of(spec: Spec) -> ClassifierData:
    """What `data_json` wrote."""
    rows, *test = datasets_of(spec)
    return ClassifierData(rows, Columns(**spec["columns"]), test[0] if test else None, bool(spec["drops_unlabelled"]))


def check_asked(data: ClassifierData, config: ClassifierConfig, base: str | None) -> None:
    """Raises: UserError for what makes no sense together: columns, options, a base where the method has none."""
    if data.columns.truth is None:
        raise UserError("Training needs the column that holds the labels.", param="truth")
    if base is not None and BASES[config.method] is None:
        raise UserError(f"Method {config.method} learns from the table alone: leave out the model.", param="model")
    if config.weighs_classes and data.columns.kind == "regression":
        raise UserError(
            "Class weights are for labels, and a regression has none: leave them out.", param="weighs_classes"
        )
    if data.columns.separator != SEPARATOR and data.columns.kind != "multi":
        raise UserError(
            "A separator between labels is for tables with several labels a row (kind multi).", param="label_separator"
        )


def start_classifier(
    data: ClassifierData, config: ClassifierConfig, settings: Settings, store: RunStore | None = None, *,
    base: str | None = None, name: str | None = None, output: Path | None = None, is_offered: bool = True,
) -> Training:  # fmt: skip
    """A new run in `store` (default: this machine's own).

    `base`: the encoder or chat model that is trained, None for the embedded one; `name`: what the classifier is called
    among those of this machine, made up if it is None; that of a public demo, and one that is not `is_offered`, stays
    in the run's folder. `output`: a folder that becomes the classifier too.
    Raises: UserError for a file that cannot be read, a column without a use, a name or place that is taken, or a base
    where the method has none; QuotaReached.
    """
    check_asked(data, config, base)
    if settings.is_public:
        check_training(config, base)
    model = base or BASES[config.method] or ""
    return begin(CLASSIFIER_KIND, data_json(data), config, settings, store, model, Place(name, output, is_offered))


def begin(
    kind: str, described: Mapping[str, Any], config: Any, settings: Settings, store: RunStore | None, base: str,
    place: Place,
) -> Training:  # fmt: skip
    """A new run that trains a classifier of texts or of words. `described`: the data, as spec.json says it.

    Raises: UserError for a name or place that is taken; QuotaReached.
    """
    store, name = store or RunStore.of(settings), place.name
    if settings.is_public:
        forget_all(store, CHECKPOINTS)
    if not place.is_offered or settings.is_public:
        name = None
    elif name is None:
        name = free_name(f"{Path(described['datasets'][0]['name']).stem} {config.method}", kind, settings)
    else:
        check_name(name, kind, settings)
    if place.output is not None:
        check_output(place.output, kind)
    created = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    spec = {
        "kind": kind, "created": created, "asked": [dataset["name"] for dataset in described["datasets"]],
        "model": {"name": base, "adapter_name": None, "precision": config.method}, **described,
        "config": asdict(config), "name": name, "n_threads": n_threads(),
        "output": None if place.output is None else str(place.output.absolute()), **program(),
    }
    return Training(store.create(spec), settings)


def resume_classifier(folder: RunFolder, settings: Settings, *, start: Start = TrainChild) -> Training:
    """The rest of a run, from its newest valid checkpoint.

    Raises: UserError saying what differs, if data or program are not those of the beginning, or it was thrown away.
    """
    if folder.spec().get("kind") != CLASSIFIER_KIND:
        raise UserError(f"Run {folder.id} is not the training of a classifier.", param="run")
    check_resumable(folder, settings)
    return Training(folder, settings, start=start)


def config_of(spec: Spec) -> ClassifierConfig:
    """The settings that a run was started with. Raises: UserError if they are damaged."""
    return settings_of(spec, ClassifierConfig)


def settings_of(spec: Spec, config: type[Config]) -> Config:
    """The same, of any kind. Raises: UserError if they are damaged."""
    try:
        given: dict[str, Any] = dict(spec["config"].items())
        return config(**given)
    except (KeyError, AttributeError, TypeError) as error:
        raise UserError(f"Run {spec.get('id')} has no readable settings; start a new run.", param="run") from error
