"""What a benchmark will ask, how long it will take and what memory it needs; known before it starts."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from eval.runner import CHUNK_SAMPLES
from eval.types import Request, Task
from llm_app.engine.host import Host
from llm_app.engine.loading import LoadedModel
from llm_app.engine.memory import bytes_per_position
from llm_app.engine.room import REPLIES
from llm_app.engine.scoring import batches_of, loglikelihoods, windows
from llm_app.errors import UserError
from llm_app.jobs.answers import EngineModel
from llm_app.messages import Stream
from llm_app.options import Text

MEASURED_TASKS = 3
MEASURED_TOKENS = 1024  # of scored prompts, a task
MEASURED_REPLY, SHORT_REPLY = 32, 8  # tokens of each measured reply
ENOUGH_SECONDS = 2.0  # of scoring: a slow machine shows its speed in one pass, and measures short replies
Ids = tuple[Sequence[int], Sequence[int]]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Work:
    """What is asked. Tokens are those that reach the model, after too long prompts were cut.

    `n_computed`: tokens of scored prompts that the model reads once what they share is taken out; `n_read`: those of
    prompts that want a reply; `n_new`: the most that the replies may have.
    """

    n_samples: int = 0
    n_requests: int = 0
    n_prompt_tokens: int = 0
    n_scored_tokens: int = 0
    n_computed: int = 0
    n_read: int = 0
    n_replies: int = 0
    n_new: int = 0
    n_cut: int = 0

    def __add__(self, other: "Work") -> "Work":
        """Both together."""
        return Work(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))


@dataclass(frozen=True)
class Speed:
    """Measured on requests of the run, in tokens a second; None where there are none of the kind.

    `reply_tokens`: mean length of measured replies that ended by themselves, None where one did not.
    """

    scored: float | None = None
    read: float | None = None
    generated: float | None = None
    reply_tokens: float | None = None


@dataclass(frozen=True)
class Estimate:
    """The whole. `is_at_most`: replies are counted with the greatest length that they may have."""

    work: Work
    speed: Speed
    seconds: float
    is_at_most: bool
    weights_bytes: int
    cache_bytes: int


def estimate(
    host: Host, model: EngineModel, tasks: Mapping[str, Task], *, work: Work | None = None, speed: Speed | None = None,
    adapter: str | None = None,
) -> Estimate:
    """Count everything, measure a little, predict the rest; not what is given. Whoever has the tasks has their data."""
    work = work or count(host.loaded, model, tasks)
    speed = speed or measure(host, model, tasks, adapter=adapter)
    seconds, is_at_most = predict(work, speed)
    return Estimate(work, speed, seconds, is_at_most, host.loaded.n_bytes, _cache_bytes(host.loaded, model, tasks))


def is_short(work: Work) -> bool:
    """Whether measuring would take about as long as the run itself."""
    return work.n_computed + work.n_read < 16 * MEASURED_TOKENS and work.n_new < 8 * MEASURED_REPLY * REPLIES


def count(loaded: LoadedModel, model: EngineModel, tasks: Mapping[str, Task]) -> Work:
    """What all samples of all tasks ask; every token is counted, none guessed."""
    total = Work()
    for task in tasks.values():
        for start in range(0, len(task.samples), CHUNK_SAMPLES):
            chunk = task.samples[start : start + CHUNK_SAMPLES]
            requests = [r for sample in chunk if sample.problem is None for r in sample.requests]
            total += replace(_count(loaded, model, requests), n_samples=len(chunk))
    return total


def _count(loaded: LoadedModel, model: EngineModel, requests: Sequence[Request]) -> Work:
    scored, replies = _split(loaded, model, requests)
    lengths = [_cut(loaded, context, continuation) for context, continuation in scored]
    prompts = [(ids, loaded.n_context - n_new) for ids, n_new in replies]
    n_read = sum(max(0, min(len(ids), room)) for ids, room in prompts)
    return Work(
        n_requests=len(requests),
        n_prompt_tokens=sum(n for n, _ in lengths) + n_read,
        n_scored_tokens=sum(len(continuation) for _, continuation in scored),
        n_computed=_computed(loaded, scored),
        n_read=n_read,
        n_replies=len(replies),
        n_new=sum(n_new for _, n_new in replies),
        n_cut=sum(is_cut for _, is_cut in lengths) + sum(len(ids) > room for ids, room in prompts),
    )


def _split(
    loaded: LoadedModel, model: EngineModel, requests: Sequence[Request]
) -> tuple[list[Ids], list[tuple[Sequence[int], int]]]:
    """What is scored, texts already in windows; and prompts with the most tokens of their replies."""
    scored: list[Ids] = []
    replies: list[tuple[Sequence[int], int]] = []
    for request, (context, continuation) in zip(requests, model.ids_of(requests), strict=True):
        if request.generation is not None:
            replies.append((context, request.generation.max_new_tokens))
        elif request.kind == "rolling":
            scored += windows(continuation, model.prefix_token, loaded.n_context)
        elif continuation and len(continuation) <= loaded.n_context:
            scored.append((context, continuation))
    return scored, replies


def _cut(loaded: LoadedModel, context: Sequence[int], continuation: Sequence[int]) -> tuple[int, bool]:
    """(tokens of the context that are read, whether some are not)."""
    room = loaded.n_context + 1 - len(continuation)
    return min(len(context), room), len(context) > room


def _computed(loaded: LoadedModel, requests: Sequence[Ids]) -> int:
    if not loaded.is_batchable:
        return sum(min(len(context) + len(scored) - 1, loaded.n_context) for context, scored in requests)
    total, base = 0, None
    for batch in batches_of(loaded, requests):
        # A base is read once for all the batches in a row that begin with it.
        total += batch.size + (len(batch.base) if batch.base != base else 0)
        base = batch.base
    return total


def measure(host: Host, model: EngineModel, tasks: Mapping[str, Task], *, adapter: str | None = None) -> Speed:
    """Speeds on a few requests of a few tasks, as they will be asked: some seconds."""
    return list(measuring(host, model, tasks, adapter=adapter))[-1]


def measuring(host: Host, model: EngineModel, tasks: Mapping[str, Task], *, adapter: str | None) -> Iterator[Speed]:
    """The same part by part; the last one is complete. Whoever no longer wants it closes it."""
    scoring, replying = [], []
    for task in tasks.values():
        kinds = {request.kind for sample in task.samples[:1] for request in sample.requests}
        scoring += [task] if kinds - {"generate"} else []
        replying += [task] if "generate" in kinds else []
    speed, n_tokens, seconds = Speed(), 0, 0.0
    for number, task in enumerate(_spread(scoring, MEASURED_TASKS)):
        n, taken = _time_scoring(host, model, task, adapter, warm_up=number == 0)
        n_tokens, seconds = n_tokens + n, seconds + taken
        yield (speed := Speed(n_tokens / seconds if n_tokens else None))
        if seconds >= ENOUGH_SECONDS:
            break
    yield replace(_time_replies(host, model, replying, is_slow=seconds >= ENOUGH_SECONDS), scored=speed.scored)


def _spread(items: Sequence[Item], n: int) -> list[Item]:
    """At most n of the items, from all over them."""
    return [items[i * len(items) // n] for i in range(n)] if len(items) > n else list(items)


def _time_scoring(
    host: Host, model: EngineModel, task: Task, adapter: str | None, *, warm_up: bool
) -> tuple[int, float]:
    """(tokens computed, seconds) of some of the batches of the first chunk."""
    loaded = host.loaded
    samples = [sample for sample in task.samples[:CHUNK_SAMPLES] if sample.problem is None]
    requests, _ = _split(loaded, model, [request for sample in samples for request in sample.requests])
    if not requests:
        return 0, 0.0
    groups = [list(batch.indices) for batch in batches_of(loaded, requests)] if loaded.is_batchable else [
        [number] for number in range(len(requests))
    ]
    per_group = max(1, _computed(loaded, requests) // len(groups))
    chosen = _spread(groups, max(1, MEASURED_TOKENS // per_group))
    if warm_up:
        list(loglikelihoods(loaded, host.turn, requests[:2], adapter=adapter))
    wanted = {index for group in chosen for index in group}
    started = time.perf_counter()
    for _ in loglikelihoods(loaded, host.turn, requests, adapter=adapter, wanted=wanted):
        pass
    seconds = time.perf_counter() - started
    return _computed(loaded, [requests[index] for index in sorted(wanted)]), seconds


def _time_replies(host: Host, model: EngineModel, tasks: Sequence[Task], *, is_slow: bool) -> Speed:
    """Some replies at once, as many as a run has, cut short; to the shortest prompts where time is dear."""
    everything = [r for task in tasks for sample in task.samples for r in sample.requests if r.generation is not None]
    if is_slow:
        everything = sorted(everything, key=lambda request: len(request.text))[:REPLIES]
    usages, is_ended, most = [], True, SHORT_REPLY if is_slow else MEASURED_REPLY
    prompts = [
        (request.text, replace(generation, max_new_tokens=min(most, generation.max_new_tokens)))
        for request in _spread(everything, REPLIES) if (generation := request.generation) is not None
    ]
    streams: list[Stream] = []
    try:
        streams = model.start_replies(prompts) if prompts else []
        for stream in streams:
            *_, last = stream
            usages.append(last.usage)
            is_ended &= last.finish_reason == "stop"
    except UserError:  # the run will say of each sample why there is no reply
        return Speed()
    finally:
        for stream in streams:
            stream.close()
    found = [usage for usage in usages if usage is not None]
    if not found:
        return Speed()
    first = max(usage.seconds_to_first_token for usage in found)
    rest = max(usage.seconds_total for usage in found) - first
    n_new = sum(usage.n_output_tokens for usage in found)
    return Speed(
        read=sum(usage.n_prompt_tokens for usage in found) / first,
        generated=max(n_new - len(found), 1) / rest if rest > 0 else n_new / first,
        reply_tokens=n_new / len(found) if is_ended else None,
    )


def predict(work: Work, speed: Speed) -> tuple[float, bool]:
    """(seconds, whether replies were counted with the greatest length that they may have)."""
    seconds = work.n_computed / speed.scored if speed.scored else 0.0
    if speed.read is None or speed.generated is None:
        return seconds, False
    n_new = work.n_new if speed.reply_tokens is None else work.n_replies * speed.reply_tokens
    return seconds + work.n_read / speed.read + n_new / speed.generated, speed.reply_tokens is None and work.n_new > 0


def _cache_bytes(loaded: LoadedModel, model: EngineModel, tasks: Mapping[str, Task]) -> int:
    """Keys and values of the largest batch of the first chunk of each task, or of as many replies as run at once."""
    if not loaded.is_batchable:
        return 0
    most = 0
    for task in tasks.values():
        samples = [sample for sample in task.samples[:CHUNK_SAMPLES] if sample.problem is None]
        scored, replies = _split(loaded, model, [request for sample in samples for request in sample.requests])
        most = max([most, *(len(batch.base) + batch.size for batch in batches_of(loaded, scored))])
        longest = max((min(len(ids) + n_new, loaded.n_context) for ids, n_new in replies), default=0)
        most = max(most, longest * min(REPLIES, len(replies)))
    return most * bytes_per_position(loaded.model)


def sentences(made: Estimate) -> Iterator[Text]:
    """What a person wants to know before the start, in English and Chinese."""
    work, speed = made.work, made.speed
    yield (
        f"{work.n_samples:,} samples, {work.n_requests:,} requests, {work.n_prompt_tokens:,} prompt tokens"
        f" ({work.n_scored_tokens:,} tokens scored, at most {work.n_new:,} generated)",
        f"{work.n_samples:,} 个样本，{work.n_requests:,} 个请求，提示共 {work.n_prompt_tokens:,} 个词元"
        f"（计分 {work.n_scored_tokens:,} 个，至多生成 {work.n_new:,} 个）",
    )
    bound, chinese_bound = ("at most ", "至多") if made.is_at_most else ("about ", "约")
    speeds = [
        (f"{value:,.0f} tokens/s {name}", f"{chinese} {value:,.0f} 词元/秒")
        for value, name, chinese in (
            (speed.scored, "scored", "计分"), (speed.read, "read", "读提示"), (speed.generated, "generated", "生成"),
        ) if value is not None
    ]
    yield (
        f"{bound}{duration(made.seconds)[0]} on this machine ({', '.join(text for text, _ in speeds)})",
        f"在本机上{chinese_bound}需 {duration(made.seconds)[1]}（{'，'.join(text for _, text in speeds)}）",
    )
    yield (
        f"{made.weights_bytes / 1e6:,.0f} MB of weights and {made.cache_bytes / 1e6:,.0f} MB for keys and values;"
        " nothing to fetch",
        f"权重 {made.weights_bytes / 1e6:,.0f} MB，键值缓存 {made.cache_bytes / 1e6:,.0f} MB；无需下载",
    )
    if work.n_cut:
        yield (
            f"{work.n_cut:,} prompts are longer than the context and lose their beginning",
            f"{work.n_cut:,} 个提示超出上下文长度，开头会被截去",
        )


def duration(seconds: float) -> Text:
    """In the unit that a person would use, in English and Chinese."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s", f"{max(1, round(seconds))} 秒"
    if seconds < 5400:
        return f"{round(seconds / 60)} min", f"{round(seconds / 60)} 分钟"
    return f"{seconds / 3600:.1f} h", f"{seconds / 3600:.1f} 小时"
