"""Merging and exporting as a run: in line like all long work, stopped like it, and read from its folder at any time."""

import datetime
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_app.config import Settings
from llm_app.engine.catalog import ModelEntry, find_model
from llm_app.errors import UserError
from llm_app.jobs.ending import recorded_end
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.quota import Quota
from llm_app.jobs.store import RunStore
from llm_app.jobs.train_log import read_log
from llm_app.jobs.train_result import ADAPTER
from llm_app.training.new_path import check_allowed

KIND = "export"
PERCENT = 100
OUTPUT = "export"  # in the run's folder, where the file is for downloading only


@dataclass(frozen=True)
class Form:
    """What is written: a folder of safetensors, or one GGUF file, in these numbers."""

    ending: str  # of the file's name; empty for a folder
    numbers: str
    bytes_each: float


# A name of the form -> what it is.
FORMS: Mapping[str, Form] = {
    "merged-bf16": Form("", "bf16", 2), "merged-fp32": Form("", "fp32", 4), "gguf-f16": Form(".gguf", "f16", 2),
    "gguf-q8_0": Form(".gguf", "q8_0", 34 / 32), "gguf-f32": Form(".gguf", "f32", 4),
}  # fmt: skip


class Export:
    """A model and what was learned, written as files for other programs. Iterate `run()`; close it to stop."""

    def __init__(self, folder: RunFolder, settings: Settings) -> None:
        self.folder, self._settings = folder, settings
        self._n_done = 0
        self._stopped: UserError | None = None

    @property
    def n_done(self) -> int:
        """Percent that is written."""
        return self._n_done

    @property
    def n_total(self) -> int:
        """All of it."""
        return PERCENT

    def scores(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def stop(self, reason: UserError) -> None:
        """End it from another thread, within one weight: `run` raises this, and nothing is left behind."""
        self._stopped = reason

    def run(self) -> Generator[int]:
        """Write; gives the percent done.

        Raises: UserError if the two do not belong together, the form is none for this model, or the disk is too small.
        """
        with self.folder, recorded_end(self), closing(self._writing()) as fractions:
            for fraction in fractions:
                if self._stopped is not None:
                    raise self._stopped
                percent = min(PERCENT, int(PERCENT * fraction))
                if percent > self._n_done:
                    self._n_done = percent
                    self.folder.append([{"type": "writing", "done": percent, "total": PERCENT}])
                    yield percent

    def _writing(self) -> Generator[float]:
        spec = self.folder.spec()
        form, output = FORMS[spec["form"]], output_of(self.folder, self._settings)
        room = _room(RunStore(self.folder.path.parent), self._settings)
        model, adapter = _parts(RunFolder.open(self.folder.path.parent, spec["train"]), self._settings)
        if form.ending:
            from llm_app.training.gguf_export import export_gguf

            yield from export_gguf(model, adapter, output, kind=form.numbers, settings=self._settings, room=room)
        else:
            from llm_app.training.merge import merge

            yield from merge(model, adapter, output, precision=form.numbers, settings=self._settings, room=room)


def start_export(store: RunStore, train: str, form: str, settings: Settings) -> Export:
    """A new export of what training run `train` learned, ready for the queue.

    Raises: UserError for a form that is none, a run without a result, a name that is taken, or a size that a visitor of
    a public demo may not keep.
    """
    if form not in FORMS:
        raise UserError(f"form must be one of {', '.join(FORMS)}, not {form[:40]!r}.", param="form")
    trained = store.open(train)
    model, _ = _parts(trained, settings)
    written = read_log(trained).written
    name = (written.name if written else None) or f"tuned-{train}"
    file = f"{name}-{FORMS[form].numbers}{FORMS[form].ending}"
    if (room := _room(store, settings)) is not None:
        check_allowed(Path(file), _n_bytes(model, FORMS[form]), room)
    digest = written.digest if written else ""
    created = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    folder = store.create({
        "kind": KIND, "created": created, "asked": [], "train": train, "result": digest, "form": form,
        "name": file,
        "model": {"name": model.name, "adapter_name": name, "precision": FORMS[form].numbers},
    })
    if output_of(folder, settings).exists():
        taken = output_of(folder, settings).name
        store.delete(folder.id)
        raise UserError(f"There is a model {taken} already. Delete or rename it first.", param="form")
    return Export(folder, settings)


def forms_for(trained: RunFolder, settings: Settings) -> tuple[str, ...]:
    """The forms that can be made of a training run: on a public demo, those that a visitor may keep at all.

    Raises: UserError if it has no result yet.
    """
    if not settings.is_public:
        return tuple(FORMS)
    model, _ = _parts(trained, settings)
    return tuple(name for name, form in FORMS.items() if _n_bytes(model, form) <= Quota().n_bytes)


def output_of(folder: RunFolder, settings: Settings) -> Path:
    """Where it is written: beside the models of this machine, which lists it; on a public demo, in the run's folder."""
    name = folder.spec()["name"]
    return folder.path / OUTPUT / name if settings.is_public else settings.models / name


def _n_bytes(model: ModelEntry, form: Form) -> int:
    """How large it becomes, nearly."""
    from llm_app.engine.fit import n_parameters

    return int(n_parameters(model) * form.bytes_each)


def _room(store: RunStore, settings: Settings) -> int | None:
    """Bytes that a visitor of a public demo may still keep."""
    return max(0, Quota().n_bytes - store.n_bytes()) if settings.is_public else None


def _parts(trained: RunFolder, settings: Settings) -> tuple[ModelEntry, Path | None]:
    """What was trained, and the adapter; where all weights were trained, what came of it and None.

    Raises: UserError if the run has no result yet.
    """
    written = read_log(trained).written
    if written is None:
        raise UserError(f"Run {trained.id} has no result yet; let it end, or resume it.", param="run")
    path = trained.path / written.place
    if written.place == ADAPTER:
        return find_model(trained.spec()["model"]["name"], settings), path
    return ModelEntry(path.name, "folder", path, path.name), None
