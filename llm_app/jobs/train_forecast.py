"""How long a training run will take and what memory it will need: measured in a short trial or in an earlier run."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from llm_app import __version__
from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.errors import UserError
from llm_app.jobs.estimate import duration
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import KIND, RECIPE, start_training
from llm_app.jobs.train_log import read_log
from llm_app.options import Text
from llm_app.training.config import TrainConfig
from llm_app.training.events import Step
from llm_app.training.need import Need

N_LOOKED_AT = 50  # runs, newest first
N_WARMING = 1  # steps that are slower than those to come
TRIAL_STEPS, TRIAL_PASSES = 2, 8
# Of a training pass, by objective: validation has no way back. Pairs are read by the reference too, in both.
FORWARD_SHARE = {"sft": 1 / 3, "dpo": 1 / 2}
SECONDS_SPREAD, MEMORY_SPREAD = (1.3, 0.9), 1.3
# What changes neither the speed of a token nor the memory of a pass.
_NO_PART = frozenset((
    "epochs", "max_steps", "learning_rate", "validation", "test", "seed", "schedule", "warmup",
    "weight_decay", "max_gradient_norm", "alpha", "use_rslora", "validate_every", "save_every", "keep", "patience",
    "smallest_gain", "report_to", "beta",
))


@dataclass(frozen=True)
class Measured:
    """What steps of a run took. `run`: its id, or None of a trial; `memory_bytes`: the most of its process."""

    tokens_per_second: float
    memory_bytes: int
    n_steps: int
    run: str | None = None


@dataclass(frozen=True)
class Forecast:
    """Time and memory, least and most; None where nothing tells.

    `basis`: trial (a step of this run), run (an earlier one), or formula (memory from the model's shape alone).
    """

    basis: Literal["trial", "run", "formula"]
    seconds: tuple[float, float] | None
    memory_bytes: tuple[int, int] | None
    free_bytes: int
    tokens_per_second: float | None = None
    run: str | None = None


def forecast(measured: Measured | None, need: Need | None, n_tokens: float, free_bytes: int) -> Forecast:
    """`n_tokens`: of the whole run; those that are only validated with count by their FORWARD_SHARE."""
    if measured is None:
        return Forecast("formula", None, (need.low, need.high) if need else None, free_bytes)
    seconds = n_tokens / measured.tokens_per_second
    slow, fast = SECONDS_SPREAD
    # The longest examples may not have been among those measured.
    most = int(measured.memory_bytes * MEMORY_SPREAD)
    return Forecast(
        "run" if measured.run else "trial", (seconds * fast, seconds * slow), (measured.memory_bytes, most),
        free_bytes, measured.tokens_per_second, measured.run,
    )  # fmt: skip


def earlier(model: str, config: TrainConfig, settings: Settings) -> Measured | None:
    """From the newest run that trained this model with the same settings, as far as they decide speed and memory."""
    store = RunStore.of(settings)
    for run_id in store.ids(n=N_LOOKED_AT):
        folder = RunFolder(store.root / run_id)
        try:
            spec = folder.spec()
            if spec.get("kind") != KIND or spec["model"]["name"] != model or _shape(spec["config"]) != _shape(config):
                continue
            if (spec["program"], spec["recipe"]) != (__version__, RECIPE):
                continue  # it cut its passes in another way
            found = measured(read_log(folder).steps)
        except (UserError, KeyError, TypeError, AttributeError):
            continue  # a damaged run tells nothing
        if found is not None:
            return replace(found, run=run_id)
    return None


def trial(model: str, datasets: Sequence[DatasetSpec], config: TrainConfig, settings: Settings) -> Measured | None:
    """Train two short steps in a process of its own and throw the result away; None if it made no full step.

    Raises: UserError if the run itself would fail at its start.
    """
    short = replace(
        config, max_steps=TRIAL_STEPS, accumulation=min(config.accumulation, TRIAL_PASSES), validation=0.0, test=0.0,
        report_to="none",
    )
    with tempfile.TemporaryDirectory(prefix="proofbench-trial-") as folder:
        training = start_training(model, datasets, short, settings, RunStore(Path(folder)), is_offered=False)
        steps = [event for event in training.run() if isinstance(event, Step)]
    return measured(steps)


def measured(steps: Sequence[Step]) -> Measured | None:
    """The speed of the steps after the first."""
    counted = steps[N_WARMING:]
    seconds = sum(step.seconds for step in counted)
    if seconds <= 0:
        return None
    n_tokens = sum(step.n_tokens for step in counted)
    return Measured(n_tokens / seconds, max(step.memory_bytes for step in steps), len(counted))


def _shape(config: object) -> dict[str, object]:
    values = asdict(config) if isinstance(config, TrainConfig) else dict(config)  # type: ignore[call-overload]
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items() if name not in _NO_PART
    }


def expected(found: Forecast) -> Iterator[Text]:
    """The forecast in words, in English and Chinese."""
    sources = {
        "trial": ("as measured in one step of a short trial", "由短暂试训中的一步测得"),
        "run": (f"as run {found.run} took", f"依据运行 {found.run} 的实测"),
        "formula": ("by formula from the model's shape", "按模型规模估算"),
    }
    english, chinese = sources[found.basis]
    if found.seconds is None:
        yield (
            "Time: not known, since no run like this was made on this machine; a short trial would tell",
            "用时：未知，本机尚无同类运行；可先短暂试训",
        )
    else:
        low, high = (duration(seconds) for seconds in found.seconds)
        yield f"Time: {low[0]} to {high[0]}, {english}", f"用时：{low[1]} 至 {high[1]}，{chinese}"
    if found.memory_bytes is None:
        yield "Memory: not known for this kind of model", "内存：此类模型无法预估"
        return
    least, most = (n_bytes / 1e9 for n_bytes in found.memory_bytes)
    free = found.free_bytes / 1e9
    yield (
        f"Memory: {least:.1f} to {most:.1f} GB, {english}; {free:.1f} GB free",
        f"内存：{least:.1f} 至 {most:.1f} GB，{chinese}；可用 {free:.1f} GB",
    )
    if found.memory_bytes[0] > found.free_bytes:
        yield (
            "More than is free: choose a smaller batch, a shorter cut-off length, gradient checkpointing or qlora",
            "超过可用内存：请减小批大小、缩短截断长度、开启梯度检查点或改用 qlora",
        )
