"""One ruler for all precisions of a model: the same text and the same task, each measured against fp32."""

import json
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import IO, Any, Literal

import numpy as np
import psutil
from numpy.typing import NDArray

from eval.metrics.perplexity.score import perplexity
from eval.results import report
from eval.runner import evaluate
from eval.statistics import Interval, mean_interval, wilson_interval
from eval.tasks.harness import TaskOptions
from eval.types import EvaluationError, Result
from llm_app.config import ModelConfig, SamplingConfig
from llm_app.engine.host import Host
from llm_app.engine.scoring import distributions
from llm_app.errors import UserError
from llm_app.jobs.answers import EngineModel
from llm_app.jobs.benchmark import load_suite

REFERENCE = "fp32"
WINDOW = 512  # tokens of the text that are read together
SPEED_PROMPT, SPEED_REPLY = 512, 64  # tokens
BLOCK = 32  # positions whose distributions are compared at once
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Ask:
    """What every precision is asked. `text` is cut after `max_tokens`; without a task there is no score."""

    text: str
    max_tokens: int = 2048
    task: str | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Row:
    """One precision. `kl` is the mean KL divergence from fp32 in nats a token, `agreement` how often both put the
    same token first; None where fp32 could not be loaded. Speeds in tokens a second."""

    precision: str
    n_tokens: int
    token_perplexity: float
    kl: float | None
    agreement: float | None
    weights_bytes: int
    process_bytes: int
    prefill_speed: float
    decode_speed: float
    metric: str | None = None
    score: Interval | None = None


@dataclass(frozen=True)
class Refused:
    """A precision that this model does not have, with the reason."""

    precision: str
    reason: str


@dataclass(frozen=True)
class Working:
    """How far one precision is: what is done of one of the things that are measured."""

    precision: str
    phase: Literal["loading", "reading", "timing", "scoring"]
    fraction: float


def own_text() -> str:
    """The plain text that comes with the project."""
    lines = files("eval").joinpath("data/smoke/text.jsonl").read_text(encoding="utf-8").splitlines()
    return "\n\n".join(json.loads(line)["text"] for line in lines)


def measure(host: Host, config: ModelConfig, precisions: Sequence[str], ask: Ask) -> Generator[Working | Row | Refused]:
    """One row for each precision, fp32 first, each loaded alone and unloaded before the next; meanwhile, how far it is.

    fp32 is loaded in any case: it is what the others are compared with. Its log-probabilities wait on disk.
    Close it to stop. Raises: UserError if the text is empty, or the task cannot be asked.
    """
    others = [precision for precision in precisions if precision != REFERENCE]
    with tempfile.TemporaryFile() as file:
        reference = _Reference(file)
        for precision in (REFERENCE, *others):
            host.unload()
            try:
                yield from _load(host, replace(config, precision=precision))
            except UserError as error:
                if precision in precisions:
                    yield Refused(precision, error.message)
                continue
            row = yield from _row(host, precision, ask, reference)
            if precision in precisions:
                yield row
    host.unload()


def _load(host: Host, config: ModelConfig) -> Generator[Working]:
    with closing(host.load(config)) as steps:
        for step in steps:
            yield Working(config.precision, "loading", step.fraction)
    if host.loaded.precision != config.precision:
        raise UserError(f"This model cannot be loaded in {config.precision}; {host.loaded.precision} came of it.")


def _row(host: Host, precision: str, ask: Ask, reference: "_Reference") -> Generator[Working, None, Row]:
    model = EngineModel(host, adapter=host.adapter)
    ids = model.text_ids([ask.text])[0][: ask.max_tokens]
    if not ids:
        raise UserError("The text is empty.", param="text")
    n, loglikelihood, kl, agreement = yield from _compare(
        host, model, ids, reference, is_reference=precision == REFERENCE
    )
    yield Working(precision, "timing", 0.0)
    prefill, decode = _speeds(host, ids)
    metric, score = (yield from _score(host, model, ask)) if ask.task else (None, None)
    return Row(
        precision, n, perplexity([loglikelihood], [n], [ask.text])["token_perplexity"], kl, agreement,
        host.loaded.n_bytes, psutil.Process().memory_info().rss, prefill, decode, metric, score,
    )


class _Reference:
    """Log-probabilities of fp32 on disk: a vocabulary for each token of a text does not fit in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._shapes: list[tuple[int, ...]] = []

    @property
    def exists(self) -> bool:
        """Whether fp32 was measured."""
        return bool(self._shapes)

    def add(self, logprobs: Array) -> None:
        """The next (positions, vocabulary)."""
        self._shapes.append(logprobs.shape)
        self._file.write(logprobs.astype(np.float32, copy=False).tobytes())

    def __iter__(self) -> Iterator[Array]:
        self._file.seek(0)
        for shape in self._shapes:
            yield np.frombuffer(self._file.read(4 * shape[0] * shape[1]), np.float32).reshape(shape)


def _compare(
    host: Host, model: EngineModel, ids: Sequence[int], reference: _Reference, *, is_reference: bool
) -> Generator[Working, None, tuple[int, float, float | None, float | None]]:
    """(tokens, their summed log-likelihood, mean divergence, agreement); the first stands after the prefix token."""
    n, total, divergence, n_equal = 0, 0.0, 0.0, 0
    has_reference = is_reference or reference.exists
    others = iter(reference) if reference.exists and not is_reference else None
    size = min(WINDOW, host.loaded.n_context)
    ids = ids[1:] if ids[:1] == [model.prefix_token] else ids  # every window brings its own
    for start in range(0, len(ids), size):
        window = [model.prefix_token, *ids[start : start + size]]
        for logprobs, targets in distributions(host.loaded, host.turn, window, adapter=host.adapter):
            ours = logprobs.cpu().numpy()
            n += len(targets)
            total += float(ours[np.arange(len(targets)), targets].sum(dtype=np.float64))
            if is_reference:
                reference.add(ours)
            theirs = ours if others is None else next(others)
            divergence += kl_divergence(theirs, ours)
            n_equal += int((theirs.argmax(-1) == ours.argmax(-1)).sum())
            yield Working(host.loaded.precision, "reading", n / len(ids))
    return n, total, divergence / n if has_reference else None, n_equal / n if has_reference else None


def kl_divergence(reference: Array, other: Array) -> float:
    """Sum over positions of KL(reference || other), in nats, of log-probabilities (positions, vocabulary)."""
    total = 0.0
    for start in range(0, len(reference), BLOCK):
        p = reference[start : start + BLOCK].astype(np.float64)
        q = other[start : start + BLOCK].astype(np.float64)
        # What the reference holds impossible adds nothing, whatever the other says.
        difference = np.subtract(p, q, out=np.zeros_like(p), where=~np.isneginf(p))
        total += float((np.exp(p) * difference).sum())
    return total


def _speeds(host: Host, ids: Sequence[int]) -> tuple[float, float]:
    """(prompt tokens a second, new tokens a second of one reply)."""
    n_reply = min(SPEED_REPLY, host.loaded.n_context // 2)
    prompt = list(ids[: min(SPEED_PROMPT, host.loaded.n_context - n_reply)])
    sampling = SamplingConfig(temperature=0.0, max_new_tokens=n_reply, ignore_eos=True)
    list(host.stream(prompt, replace(sampling, max_new_tokens=1), adapter=host.adapter))  # what is made once
    usage = list(host.stream(prompt, sampling, adapter=host.adapter))[-1].usage
    assert usage is not None
    decode_seconds = usage.seconds_total - usage.seconds_to_first_token
    return usage.n_prompt_tokens / usage.seconds_to_first_token, (usage.n_output_tokens - 1) / decode_seconds


def _score(host: Host, model: EngineModel, ask: Ask) -> Generator[Working, None, tuple[str, Interval]]:
    assert ask.task is not None
    suite = load_suite([ask.task], TaskOptions(limit=ask.limit), host.settings, model)
    if len(suite.tasks) > 1:
        raise UserError(f"{ask.task} is {len(suite.tasks)} tasks; name one of them.", param="task")
    (name, task), = suite.tasks.items()
    results = []
    try:
        for result in evaluate(task, model):
            results.append(result)
            yield Working(host.loaded.precision, "scoring", len(results) / len(task.samples))
    except EvaluationError as error:
        raise UserError(str(error), param="task") from error
    made = report(suite, {name: results}, n_bootstrap=1000).data["results"][name]
    metric = next(key for key in made if "," in key and "_stderr" not in key)
    return f"{name} {metric.split(',')[0]}", interval_of(metric, made, results)


def interval_of(metric: str, made: dict[str, Any], results: Sequence[Result]) -> Interval:
    """95 % interval of a task's score: Wilson's for right and wrong, Student's for means, else by its own error."""
    values = [result.scores[metric] for result in results if result.error is None]
    estimate = float(made[metric])
    is_mean = all(isinstance(value, int | float) or np.isscalar(value) for value in values)
    if is_mean and np.isclose(np.mean(values), estimate):
        if set(map(float, values)) <= {0.0, 1.0}:
            return wilson_interval(round(sum(values)), len(values))
        return mean_interval(values)
    error = made.get(metric.replace(",", "_stderr,"))
    half = 1.96 * float(error) if isinstance(error, int | float) else float("nan")
    return Interval(estimate, estimate - half, estimate + half, len(values), 0.95, "normal")
