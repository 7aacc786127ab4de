"""One user, many at once, users who come at random moments, a long prompt among others."""

import asyncio
import random
import statistics
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.load.bench import N_NEW, N_PROMPT, Bench, failed
from benchmarks.load.client import Reply
from benchmarks.load.figures import Bound, line, medians, milliseconds, percentile

N_LONG, N_AMONG, N_AMONG_NEW = 1024, 16, 96
ARRIVAL_SECONDS, LOAD = 40, 0.5


def single(bench: Bench) -> Iterator[dict[str, Any]]:
    """One user: tokens a second, and how soon the first comes."""
    replies = bench.alone.replies
    figures = {
        "ttft_p50_s": round(percentile([reply.first for reply in replies], 50), 3),
        "ttft_p95_s": round(bench.alone.first_p95, 3),
        "tokens_per_s": round(bench.alone.tokens_per_second, 1), "step_ms": milliseconds(bench.alone.step),
        "prompt_tokens": round(statistics.mean(reply.n_prompt for reply in replies), 1),
        "n": len(replies), "errors": len(failed(replies)),
    }  # fmt: skip
    yield line("TTFT of a single user", figures, Bound("ttft_p95_s", 0.8, 0.3))


def streams(bench: Bench) -> Iterator[dict[str, Any]]:
    """32 users who ask at once: four goals."""
    spent = time.process_time()
    rounds = [asyncio.run(bench.burst()) for _ in range(bench.rounds)]
    spent = time.process_time() - spent
    alone = bench.alone
    told = [_of_burst(replies) for replies in rounds]
    medium = medians(told)
    whole = {
        "total_over_single": round(medium["tokens_per_s"] / alone.tokens_per_second, 2),
        "tokens_per_s": round(medium["tokens_per_s"], 1), "errors": sum(len(failed(replies)) for replies in rounds),
        "tokens_per_reply": medium["tokens_per_reply"],
        "client_share_of_a_core": round(spent / sum(each["seconds"] for each in told), 3),
    }  # fmt: skip
    name = "32 streams at once"
    yield line(name, whole, Bound("errors", 0, 0), Bound("total_over_single", 4, 10, is_least=True))
    first = {
        "ttft_p95_over_single": round(medium["ttft_p95_s"] / alone.first_p95, 2),
        **{key: medium[key] for key in ("ttft_p95_s", "ttft_p50_s")},
        # One user's TTFT so often: what reading the prompts takes if they gain nothing from each other.
        "prompts_one_by_one_s": round(32 * percentile([reply.first for reply in alone.replies], 50), 3),
    }
    yield line(f"{name}: TTFT", first, Bound("ttft_p95_over_single", 12, 6))
    gaps = {key: medium[key] for key in ("gap_p95_ms", "gap_p50_ms", "gap_largest_ms")}
    yield line(f"{name}: gap between tokens", gaps, Bound("gap_p95_ms", 400, 120))
    fair = {key: medium[key] for key in ("slowest_over_mean", "seconds")}
    yield line(f"{name}: fairness", fair, Bound("slowest_over_mean", 1.5, 1.15))


def _of_burst(replies: list[Reply]) -> dict[str, float]:
    """Figures of one round; only replies of the full length are held against each other."""
    gaps = [gap for reply in replies for gap in reply.gaps]
    equal = [reply.seconds for reply in replies if reply.n_tokens == N_NEW] or [0.0]
    seconds = max(reply.ended for reply in replies) - min(reply.asked for reply in replies)
    firsts = [reply.first for reply in replies if reply.arrivals]
    return {
        "seconds": seconds, "tokens_per_s": sum(reply.n_tokens for reply in replies) / seconds,
        "tokens_per_reply": statistics.mean(reply.n_tokens for reply in replies),
        "ttft_p95_s": percentile(firsts, 95), "ttft_p50_s": percentile(firsts, 50),
        "gap_p95_ms": 1000 * percentile(gaps, 95), "gap_p50_ms": 1000 * percentile(gaps, 50),
        "gap_largest_ms": 1000 * max(gaps), "slowest_over_mean": max(equal) / (statistics.mean(equal) or 1.0),
    }  # fmt: skip


def arrivals(bench: Bench) -> Iterator[dict[str, Any]]:
    """Users who come independently of each other, half as many as the server can serve."""
    alone, rate = bench.alone, LOAD * bench.capacity
    replies = asyncio.run(_arriving(bench, rate, ARRIVAL_SECONDS * bench.scale))
    firsts = [reply.first for reply in replies if reply.arrivals]
    figures = {
        "ttft_p95_over_single": round(percentile(firsts, 95) / alone.first_p95, 2),
        "ttft_p95_s": round(percentile(firsts, 95), 3), "ttft_p50_s": round(percentile(firsts, 50), 3),
        "chats_per_s": round(rate, 2), "n": len(replies), "errors": len(failed(replies)),
    }  # fmt: skip
    yield line("Poisson arrivals at half the capacity: TTFT", figures, Bound("ttft_p95_over_single", 3, 1.5))


async def _arriving(bench: Bench, rate: float, seconds: float) -> list[Reply]:
    draw = random.Random(1)
    tasks: list[asyncio.Task[Reply]] = []
    moment = started = time.monotonic()
    while True:
        moment += draw.expovariate(rate)
        if moment > started + seconds and len(tasks) > 1:
            return list(await asyncio.gather(*tasks))
        await asyncio.sleep(max(0.0, moment - time.monotonic()))
        tasks.append(asyncio.create_task(bench.chat()))


def long(bench: Bench) -> Iterator[dict[str, Any]]:
    """A prompt of 1,024 tokens comes while 16 users read."""
    rounds = [asyncio.run(_long_among_others(bench)) for _ in range(bench.rounds)]
    medium = medians(rounds)
    figures = {**medium, "rounds": [round(each["largest_gap_s"], 3) for each in rounds]}
    yield line("A long prompt among 16 streams", figures, Bound("largest_gap_s", 1.5, 0.5))


async def _long_among_others(bench: Bench) -> dict[str, float]:
    """The largest gap of the 16, from the moment when the long prompt is sent to the first text of its reply."""
    n_there = 0

    def is_here() -> None:
        nonlocal n_there
        n_there += 1

    words = [bench.prompts.of(N_PROMPT) for _ in range(N_AMONG)]
    others = [asyncio.create_task(bench.client.chat(one, N_AMONG_NEW, is_here=is_here)) for one in words]
    while n_there < 8 * N_AMONG and not all(task.done() for task in others):
        await asyncio.sleep(0.005)
    newcomer = await bench.client.chat(bench.prompts.of(N_LONG), 8)
    replies = list(await asyncio.gather(*others))
    until = newcomer.asked + newcomer.first
    gaps = [
        after - before
        for reply in replies
        for before, after in zip(reply.arrivals, reply.arrivals[1:], strict=False)
        if after > newcomer.asked and before < until
    ]
    usual = [gap for reply in replies for gap in reply.gaps]
    return {
        "largest_gap_s": max(gaps), "usual_gap_s": percentile(usual, 50), "its_ttft_s": newcomer.first,
        "its_prompt_tokens": newcomer.n_prompt, "errors": len(failed([*replies, newcomer])),
    }  # fmt: skip
