"""A benchmark run: which model, which tasks, and every result as it comes."""

import datetime
import importlib.metadata
import math
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from eval.results import report
from eval.runner import evaluate
from eval.tasks.groups import task_groups
from eval.tasks.harness import HarnessTask, Suite, TaskOptions, load_tasks
from eval.types import EvaluationError, Result
from llm_app import __version__
from llm_app.config import Settings
from llm_app.engine.host import Host
from llm_app.engine.identity import Identity
from llm_app.engine.loading import LoadedModel
from llm_app.errors import UserError
from llm_app.jobs.answers import EngineModel
from llm_app.jobs.asked import metrics_of, shares_passages, write_asked
from llm_app.jobs.ending import AskAgain, recorded_end
from llm_app.jobs.folder import RunFolder, Spec
from llm_app.jobs.kept import event_of, has_asked, plain, results_of, room_event, room_of, unanswered_event
from llm_app.jobs.remote_answers import RemoteAnswers
from llm_app.jobs.store import RunStore
from llm_app.remote.address import REMOTE
from llm_app.remote.model import RemoteModel

# Whatever a figure passes through: data, tokens, weights, passes, scores.
PACKAGES = (
    "lm-eval", "datasets", "transformers", "tokenizers", "torch", "peft", "bitsandbytes", "gguf", "evaluate",
    "sacrebleu", "rouge-score", "seqeval", "scikit-learn", "scipy", "numpy",
)
# What must not change between the parts of one run, and what it is called.
FIXED = {
    ("model", "weights"): "model weights", ("model", "config"): "model configuration",
    ("model", "adapter"): "adapter", ("model", "quantization"): "precision",
    ("model", "device"): "device", ("model", "tokenizer"): "tokenizer", ("model", "template"): "chat template",
    ("options", "n_shots"): "shots",
    ("options", "limit"): "limit", ("options", "seed"): "seed", ("options", "uses_chat_template"): "chat prompts",
    ("program",): "version of this program", ("packages",): "versions of packages", ("context",): "context length",
}


@dataclass(frozen=True)
class Progress:
    """One more sample: `done` of `total` over all tasks."""

    task: str
    done: int
    total: int
    result: Result


class Benchmark:
    """A run, new or resumed, bound to the loaded model. Iterate `run()`; close it to stop."""

    def __init__(self, folder: RunFolder, suite: Suite, model: EngineModel | RemoteAnswers) -> None:
        self.folder, self.suite = folder, suite
        self._model, self._room = model, room_of(folder)
        self._unanswered: Result | None = None
        self.results = results_of(folder)

    @property
    def n_total(self) -> int:
        """Samples of all tasks."""
        return sum(len(task.samples) for task in self.suite.tasks.values())

    @property
    def n_done(self) -> int:
        """Samples with a result, also where it is an error."""
        return sum(len(results) for results in self.results.values())

    @property
    def is_complete(self) -> bool:
        """Whether every sample has a result."""
        return self.n_done == self.n_total

    def run(self) -> Generator[Progress]:
        """Ask what is not answered yet; every result is on disk before it is given.

        Its last event says how it ended: closed by the reader is cancelled, a full disk is paused, and so is a run
        with samples that failed for a passing reason, which are no results.
        Raises: UserError when too many samples of a task cannot be scored, or the disk is full; AskAgain at the end.
        """
        with self.folder, recorded_end(self):
            self.results = results_of(self.folder)  # another process may have gone on with it until now
            self._model.room = room_of(self.folder)
            self._room, self._unanswered = replace(self._model.room), None
            for name, task in self.suite.tasks.items():
                done = self.results.setdefault(name, [])
                try:
                    for result in evaluate(task, self._model, list(done)):
                        self._record(name, result)
                        yield Progress(name, self.n_done, self.n_total, result)
                except EvaluationError as error:
                    raise UserError(str(error)) from error
            if self._unanswered is not None:
                raise AskAgain(
                    f"{self.n_total - self.n_done} samples are to be asked again: resume the run."
                    f" The last reason: {self._unanswered.error}"
                )

    def _record(self, name: str, result: Result) -> None:
        """Put a result on disk, and before it what it took: later ones are asked for in the same way."""
        events = []
        if self._model.room != self._room:
            self._room = replace(self._model.room)
            events.append(room_event(self._room))
        if result.is_passing:
            self._unanswered = result
            self.folder.append([*events, unanswered_event(name, result)])
        else:
            self.folder.append([*events, event_of(name, result) | {"done": self.n_done + 1}])
            self.results[name].append(result)

    def stop(self, reason: UserError) -> None:
        """End it from another thread, within one pass of the model: it raises this where it is."""
        self._model.stop(reason)

    def scores(self) -> dict[str, Any]:
        """The first metric of what was asked for, a task or a group: name -> [metric, value]."""
        data = report(self.suite, self.results, n_bootstrap=0).data
        found = data["results"] | data.get("groups", {})
        firsts = {name: _first_score(found[name]) for name in {*self.suite.tasks, *self.suite.groups} if name in found}
        asked = [name for name in self.folder.spec()["asked"] if name in firsts] or list(self.suite.tasks)
        return {name: firsts[name] for name in asked if firsts.get(name)}


def start(
    host: Host, tasks: list[str], options: TaskOptions, settings: Settings, *, adapter: str | None = None,
    store: RunStore | None = None,
) -> Benchmark:
    """A new run of these tasks on the loaded model, in `store` (default: this machine's own).

    Raises: UserError for an unknown task or missing data, QuotaReached if the store has no room for another run.
    """
    model = answering(host, adapter)
    suite = load_suite(tasks, options, settings, model)
    created = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    spec = {"kind": "benchmark", "created": created, "asked": tasks, **_identity(host, suite, options, adapter)}
    spec["groups"] = {name: asdict(group) for name, group in task_groups(suite, tasks).items()}
    folder = (store or RunStore.of(settings)).create(spec)
    write_asked(folder, suite)
    return Benchmark(folder, suite, model)


def resume(host: Host, folder: RunFolder, settings: Settings) -> Benchmark:
    """The rest of a run, on the loaded model.

    Raises: UserError saying what differs, if model, data, options or program are not those of the beginning.
    """
    spec = folder.spec()
    if spec.get("kind") != "benchmark":
        raise UserError(f"Run {folder.id} is not a benchmark.", param="run")
    options = TaskOptions(**spec["options"])
    if options.allows_code and settings.is_public:
        raise UserError("A public demo never runs code that a model writes.", param="run")
    adapter = spec["model"]["adapter_name"]
    model = answering(host, adapter)
    suite = load_suite(spec["asked"], options, settings, model)
    found = differences(spec, _identity(host, suite, options, adapter))
    if found:
        raise UserError(
            f"Run {folder.id} cannot go on: it differs in: {', '.join(found)}. Start a new run.", param="run"
        )
    if not has_asked(folder):  # killed before its first sample
        write_asked(folder, suite)
    return Benchmark(folder, suite, model)


def differences(old: Spec, new: Spec) -> list[str]:
    """What of the things that must stay the same is not, in words."""
    found = [name for path, name in FIXED.items() if _at(old, path) != _at(new, path)]
    for task in sorted({*old["tasks"], *new["tasks"]}):
        if old["tasks"].get(task) != new["tasks"].get(task):
            found.append(f"data or definition of {task}")
    return found


def _first_score(scores: Mapping[str, Any]) -> list[Any] | None:
    for name, value in scores.items():
        metric, separator, _ = name.partition(",")
        if separator and not metric.endswith("_stderr") and isinstance(value, int | float) and math.isfinite(value):
            return [metric, plain(value)]
    return None


def answering(host: Host, adapter: str | None) -> EngineModel | RemoteAnswers:
    """The model that answers now, on this machine or on another server, as evaluations ask it."""
    remote = host.remote
    return EngineModel(host, adapter=adapter) if remote is None else RemoteAnswers(host, remote)


def load_suite(
    names: list[str], options: TaskOptions, settings: Settings, model: EngineModel | RemoteAnswers
) -> Suite:
    """The tasks by name, with prompts as this model gets them.

    Raises: UserError for an unknown name or missing data, or for what a model on another server cannot be asked.
    """
    try:
        suite = load_tasks(names, options, data=settings.data, model=model)
    except EvaluationError as error:
        raise UserError(str(error), param="tasks") from error
    if isinstance(model, RemoteAnswers):
        model.check(suite.tasks)
    return suite


def _identity(host: Host, suite: Suite, options: TaskOptions, adapter: str | None) -> dict[str, Any]:
    remote = host.remote
    return {
        "model": _remote_identity(remote) if remote is not None else _loaded_identity(host.loaded, adapter),
        "tasks": {name: _described(task) for name, task in suite.tasks.items()},
        "with_passages": [name for name, task in suite.tasks.items() if shares_passages(task)],
        "options": asdict(options),
        "context": remote.n_context if remote is not None else host.loaded.n_context,
        "program": __version__,
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _loaded_identity(loaded: LoadedModel, adapter: str | None) -> dict[str, Any]:
    identity = loaded.identity.with_adapter(loaded.adapters.digest(adapter))
    return {
        "name": loaded.entry.name, "adapter_name": adapter, "precision": loaded.precision,
        "device": loaded.device.type, **asdict(identity),
    }  # fmt: skip


def _remote_identity(remote: RemoteModel) -> dict[str, Any]:
    """What its server says stands for the weights; nobody here can see more of it."""
    identity = Identity(weights=remote.digest, adapter="", quantization=REMOTE, tokenizer="", template="")
    return {
        "name": remote.name, "adapter_name": None, "precision": REMOTE, "device": REMOTE, **asdict(identity),
        "described": dict(remote.described),
    }  # fmt: skip


def _described(task: HarnessTask) -> dict[str, Any]:
    return {
        "version": task.version, "n_shots": task.n_shots, "n_samples": len(task.samples), "digest": task.digest(),
        "metrics": metrics_of(task),
    }


def _at(spec: Spec, path: tuple[str, ...]) -> Any:
    value: Any = spec
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
