"""Did it help? A training run's base and adapter on the same samples, switched in one loaded model, and the verdict.

Each side is a benchmark run of its own, which every screen of benchmarks shows; the run that is made here holds both.
"""

import datetime
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

from eval.compare import Comparison
from eval.tasks.harness import TaskOptions
from eval.tuned import forgotten_sentence, trained_for_sentence
from eval.types import Result
from llm_app.config import Settings
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.jobs.benchmark import Benchmark, resume, start
from llm_app.jobs.compare import compare_runs
from llm_app.jobs.ending import recorded_end
from llm_app.jobs.files import Filed
from llm_app.jobs.folder import RunFolder, Spec
from llm_app.jobs.held_back import N_SAMPLES, NAMES, write_held_back
from llm_app.jobs.helped_alarms import alarms_of
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import KIND as TRAIN
from llm_app.jobs.train import config_of
from llm_app.jobs.train_log import Begun, Written, read_log
from llm_app.jobs.train_material import material_of
from llm_app.jobs.train_result import ADAPTER
from llm_app.training.config import CPU_LENGTH, GPU_LENGTH

KIND = "helped"
FORGETTING = ("forgetting",)  # what is asked besides, unless something else is named
Side = Literal["base", "adapter"]
Lend = Callable[[], AbstractContextManager[None]]
SIDES: tuple[Side, ...] = ("base", "adapter")
# What the loaded model must have in common with the one that was trained, and what it is called.
BASE = {"weights": "weights", "tokenizer": "tokenizer", "template": "chat template"}


@dataclass(frozen=True)
class Measured:
    """One more sample: `done` of `total` over all tasks of both sides."""

    side: Side
    task: str
    done: int
    total: int
    result: Result


@dataclass(frozen=True)
class Helpfulness:
    """What came of it. `trained_for`: the tasks made of what training held back; the others show what it forgot."""

    comparison: Comparison
    trained_for: tuple[str, ...]
    paths: tuple[str, str]  # run folders of base and adapter
    n_left_out: int  # held-back examples that could not be asked

    def sentences(self, language: Literal["en", "zh"] = "en") -> tuple[str, str]:
        """On what it was trained for; what it may have forgotten."""
        return (
            trained_for_sentence(self.comparison, self.trained_for, language),
            forgotten_sentence(self.comparison, self.trained_for, language),
        )


class Helped:
    """Work for the queue: both sides, one after the other. Iterate `run()`; close it to stop."""

    def __init__(self, folder: RunFolder, benchmarks: Mapping[Side, Benchmark], lend: Lend) -> None:
        self.folder = folder
        self._benchmarks, self._lend = benchmarks, lend

    @property
    def n_total(self) -> int:
        """Samples of both sides."""
        return sum(benchmark.n_total for benchmark in self._benchmarks.values())

    @property
    def n_done(self) -> int:
        """Samples with a result."""
        return sum(benchmark.n_done for benchmark in self._benchmarks.values())

    def scores(self) -> dict[str, Any]:
        """The first metric of each task, of the adapter."""
        return self._benchmarks["adapter"].scores()

    def run(self) -> Generator[Measured]:
        """Ask both what is not answered yet. Its last event says how it ended, as do those of the two benchmarks.

        Raises: as `Benchmark.run`.
        """
        with self.folder, recorded_end(self), self._lend():
            for side, benchmark in self._benchmarks.items():
                for progress in Filed(benchmark).run():
                    event = Measured(side, progress.task, self.n_done, self.n_total, progress.result)
                    line = {"type": "measured", "side": side, "task": event.task}
                    self.folder.append([line | {"done": event.done, "total": event.total}])
                    yield event

    def stop(self, reason: UserError) -> None:
        """End it from another thread, within one pass of the model."""
        for benchmark in self._benchmarks.values():
            benchmark.stop(reason)


def start_helped(
    host: Host, run: str, settings: Settings, *, tasks: Sequence[str] = FORGETTING, n_samples: int = N_SAMPLES,
    store: RunStore | None = None,
) -> Helped:
    """Ask the loaded base, and it with the adapter of training run `run`, what training held back, and `tasks`.

    Held back is the test part; in a run without one, the validation part, which chose the weights: an alarm says so.
    Raises: UserError in one sentence if the run has no adapter yet or held nothing back, its data changed, or the
    loaded model is not its base; for an unknown task; QuotaReached.
    """
    store = store or RunStore.of(settings)
    trained = store.open(run)
    spec = trained.spec()
    begun, written = _result_of(trained, spec)
    _check_base(run, begun, host)
    config, material = config_of(spec), material_of(spec)
    if material.split_digests() != begun.split:
        raise UserError(f"What run {run} held back can no longer be told; train again with this version.", param="run")
    usual = CPU_LENGTH if begun.device == "cpu" else GPU_LENGTH
    held_back = write_held_back(
        trained.path, material.test or material.validation, host.loaded.tokenizer, now=material.now,
        n_samples=n_samples, max_length=min(config.max_length or usual, host.loaded.n_context),
    )
    adapter, lend = _lent(host, trained, written)
    names = [*map(str, held_back.tasks), *tasks]
    options = TaskOptions(uses_chat_template=held_back.uses_template and host.loaded.template is not None)
    with lend(), ExitStack() as made:  # three runs or none
        benchmarks = dict[Side, Benchmark]()
        for side, asked in zip(SIDES, (None, adapter), strict=True):
            benchmarks[side] = start(host, names, options, settings, adapter=asked, store=store)
            made.callback(store.delete, benchmarks[side].folder.id)
        first = benchmarks["base"]
        folder = store.create({
            "kind": KIND, "created": _now(), "asked": list(tasks), "train": run, "result": written.digest,
            "model": first.folder.spec()["model"] | {"adapter_name": adapter},
            "runs": {side: benchmark.folder.id for side, benchmark in benchmarks.items()},
            "trained_for": [task for task in first.suite.tasks if task in NAMES],
            "n_left_out": held_back.n_left_out, "alarms": alarms_of(trained, material, first.suite),
        })
        made.pop_all()
    return Helped(folder, benchmarks, lend)


def delete_helped(folder: RunFolder, store: RunStore) -> None:
    """Remove one that could not be put in line, with both of its benchmark runs."""
    for run in (*folder.spec()["runs"].values(), folder.id):
        store.delete(run)


def resume_helped(host: Host, folder: RunFolder, settings: Settings) -> Helped:
    """The rest of one that was interrupted, on the same loaded base.

    Raises: UserError saying what differs from the beginning.
    """
    spec = _spec_of(folder)
    store = RunStore(folder.path.parent)
    trained = store.open(spec["train"])
    begun, written = _result_of(trained, trained.spec())
    _check_base(trained.id, begun, host)
    _, lend = _lent(host, trained, written)
    with lend():
        return Helped(folder, {side: resume(host, store.open(spec["runs"][side]), settings) for side in SIDES}, lend)


def read_helped(folder: RunFolder, settings: Settings) -> Helpfulness:
    """The comparison of both sides, of what they have answered so far.

    Raises: UserError if they have nothing in common yet.
    """
    spec = _spec_of(folder)
    base, adapter = (str(folder.path.parent / spec["runs"][side]) for side in SIDES)
    (comparison,) = compare_runs([base, adapter], settings)
    alarms = ((english, chinese) for english, chinese in spec["alarms"])
    comparison = replace(comparison, alarms=(*comparison.alarms, *alarms))
    return Helpfulness(comparison, tuple(spec["trained_for"]), (base, adapter), spec["n_left_out"])


def _spec_of(folder: RunFolder) -> Spec:
    spec = folder.spec()
    if spec.get("kind") != KIND:
        raise UserError(f"Run {folder.id} is not a \"Did it help?\" run.", param="run")
    return spec


def _result_of(trained: RunFolder, spec: Spec) -> tuple[Begun, Written]:
    """What was trained, and what came of it."""
    if spec.get("kind") != TRAIN:
        raise UserError(f"Run {trained.id} is not a training run.", param="run")
    log = read_log(trained)
    if log.begun is None or log.written is None:
        raise UserError(f"Run {trained.id} has no adapter yet; let it end, or resume it.", param="run")
    if log.written.place != ADAPTER:
        raise UserError(
            f"Run {trained.id} trained all weights, so that there is no adapter to switch off: benchmark its model and"
            " the base, then compare the two runs.", param="run",
        )
    if log.begun.n_validation + log.begun.n_test == 0:
        raise UserError(
            f"Run {trained.id} held nothing back to ask about; train with a test share above 0.", param="run"
        )
    return log.begun, log.written


def _check_base(run: str, begun: Begun, host: Host) -> None:
    loaded = asdict(host.loaded.identity)
    differing = [word for part, word in BASE.items() if begun.model.get(part) != loaded[part]]
    if differing:
        raise UserError(
            f"The loaded model {host.loaded.entry.name} is not the base of run {run} (other {', '.join(differing)});"
            " load the model that was trained.", param="model",
        )


def _lent(host: Host, trained: RunFolder, written: Written) -> tuple[str, Lend]:
    """The name of the run's adapter, and what attaches it to the loaded base for as long as it is needed."""
    name = written.name or trained.id
    return name, partial(host.loaded.adapters.lent, trained.path / written.place, name=name, turn=host.turn)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
