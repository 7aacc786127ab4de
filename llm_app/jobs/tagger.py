"""The training of a tagger of named entities as a run: spec, start, resumption; else it is done as any training is."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llm_app.classify.entities.config import EntityConfig
from llm_app.config import Settings
from llm_app.data.conll import Columns, TaggedFile, read_conll
from llm_app.data.mix import DatasetSpec
from llm_app.errors import UserError
from llm_app.jobs.classifier import Place, begin, settings_of
from llm_app.jobs.folder import RunFolder, Spec
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import Start, Training, check_resumable
from llm_app.jobs.train_child import TrainChild
from llm_app.jobs.train_data import dataset_json, datasets_of
from llm_app.jobs.train_outcome import TAGGER_KIND

BASES = {"encoder": "embedded", "features": ""}  # what a method begins from, unless it is said


@dataclass(frozen=True)
class TaggerData:
    """CoNLL files, and which of their columns count. `test`: a file for the scores alone, else a part of the first."""

    sentences: DatasetSpec
    columns: Columns = Columns()
    test: DatasetSpec | None = None

    @property
    def files(self) -> Sequence[DatasetSpec]:
        """In the order in which a spec names them."""
        return [self.sentences] if self.test is None else [self.sentences, self.test]

    def to_json(self) -> dict[str, Any]:
        """As a run's spec.json has it. Raises: UserError if a file cannot be read."""
        return {"datasets": [dataset_json(dataset) for dataset in self.files], "columns": asdict(self.columns)}


def start_tagger(
    data: TaggerData, config: EntityConfig, settings: Settings, store: RunStore | None = None, *,
    base: str | None = None, place: Place | None = None,
) -> Training:  # fmt: skip
    """A new run in `store` (default: this machine's own). `base`: the encoder, None for the embedded one.

    Raises: UserError for a file that cannot be read, a name or place that is taken, or a base where the method has
    none, and on a public demo; QuotaReached.
    """
    if settings.is_public:
        raise UserError("A public demo trains no taggers: run this program on a machine of your own.", param="method")
    if base is not None and not BASES[config.method]:
        raise UserError(f"Method {config.method} learns from the file alone: leave out the model.", param="model")
    described = data.to_json()
    files_of(described)  # what cannot be read is told before there is a run
    return begin(TAGGER_KIND, described, config, settings, store, base or BASES[config.method], place or Place())


def resume_tagger(folder: RunFolder, settings: Settings, *, start: Start = TrainChild) -> Training:
    """The rest of a run, from its newest valid checkpoint.

    Raises: UserError saying what differs, if data or program are not those of the beginning, or it was thrown away.
    """
    if folder.spec().get("kind") != TAGGER_KIND:
        raise UserError(f"Run {folder.id} is not the training of a tagger.", param="run")
    check_resumable(folder, settings)
    return Training(folder, settings, start=start)


def config_of(spec: Spec) -> EntityConfig:
    """The settings that a run was started with. Raises: UserError if they are damaged."""
    return settings_of(spec, EntityConfig)


def files_of(spec: Mapping[str, Any]) -> list[TaggedFile]:
    """The sentences that a run names: to learn from, and those of a file to score on if there is one.

    Raises: UserError if a file cannot be read, or has no sentence.
    """
    columns = Columns(**spec["columns"])
    found = [
        read_conll(Path(dataset.path), dataset.name, columns=columns, encoding=dataset.reading.encoding)
        for dataset in datasets_of(spec)
    ]
    for file in found:
        if not file.sentences:
            raise UserError(f"{file.name} has no sentence that can be read.", param="data")
    return found
