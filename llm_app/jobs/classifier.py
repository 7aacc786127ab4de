"""The training of a classifier as a run: spec, start, resumption. It is done, stopped and kept as tuning is."""

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.table import Columns
from llm_app.config import ModelConfig, Settings
from llm_app.data.mix import DatasetSpec
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder, Spec
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import CHECKPOINTS, Start, Training, check_resumable, n_threads, program
from llm_app.jobs.train_child import TrainChild
from llm_app.jobs.train_data import dataset_json
from llm_app.jobs.train_outcome import CLASSIFIER_KIND
from llm_app.jobs.train_public import forget_all
from llm_app.jobs.train_result import CLASSIFIER, check_name, check_output, free_name

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


def start_classifier(
    data: ClassifierData, config: ClassifierConfig, settings: Settings, store: RunStore | None = None, *,
    base: str | None = None, name: str | None = None, output: Path | None = None,
) -> Training:
    """A new run in `store` (default: this machine's own).

    `base`: the encoder or chat model that is trained, None for the embedded one; `name`: what the classifier is called
    among those of this machine, made up if it is None; on a public demo it stays in the run's folder. `output`: a
    folder that becomes the classifier too.
    Raises: UserError for a file that cannot be read, a column without a use, a name or place that is taken, or a base
    where the method has none; QuotaReached.
    """
    if data.columns.truth is None:
        raise UserError("Training needs the column that holds the labels.", param="truth")
    if base is not None and BASES[config.method] is None:
        raise UserError(f"Method {config.method} learns from the table alone: leave out the model.", param="model")
    store = store or RunStore.of(settings)
    described = [dataset_json(dataset) for dataset in data.files]
    if settings.is_public:
        forget_all(store, CHECKPOINTS)
        name = None
    elif name is None:
        name = free_name(f"{Path(data.rows.path).stem} {config.method}", CLASSIFIER, settings)
    else:
        check_name(name, CLASSIFIER, settings)
    if output is not None:
        check_output(output, CLASSIFIER)
    created = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    spec = {
        "kind": CLASSIFIER_KIND, "created": created, "asked": [dataset["name"] for dataset in described],
        "model": {"name": base or BASES[config.method] or "", "adapter_name": None, "precision": config.method},
        "datasets": described, "columns": asdict(data.columns), "drops_unlabelled": data.drops_unlabelled,
        "config": asdict(config), "name": name, "output": None if output is None else str(output.absolute()),
        "n_threads": n_threads(), **program(),
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
    """The settings that a run was started with.

    Raises: UserError if they are damaged.
    """
    try:
        given: dict[str, Any] = dict(spec["config"].items())
        return ClassifierConfig(**given)
    except (KeyError, AttributeError, TypeError) as error:
        raise UserError(f"Run {spec.get('id')} has no readable settings; start a new run.", param="run") from error
