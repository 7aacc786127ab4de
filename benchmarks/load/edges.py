"""Too many users at once, and users who leave."""

import asyncio
import math
import statistics
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.load.bench import N_PROMPT, Bench, failed
from benchmarks.load.client import LOOK_SECONDS
from benchmarks.load.figures import Bound, line, medians, milliseconds, percentile
from benchmarks.load.page import new_session

N_AT_ONCE, N_PLACES, N_CROWD_NEW = 200, 32 + 64, 32
NORMAL = 1.2  # times the 95th percentile of a single user's TTFT
MAX_LONE_CHATS = 60
N_LEAVES, N_STOPS, N_LONG = 20, 10, 1024
N_LONG_REPLY = 2_000


def overload(bench: Bench) -> Iterator[dict[str, Any]]:
    """200 requests at the same moment to a server with its own limits: 32 replies run, 64 wait.

    Normal again: from the end of the last reply to the begin of the first lone chat with the TTFT of a quiet server.
    """
    limit = NORMAL * bench.alone.first_p95
    rounds = [asyncio.run(_crowd(bench, limit)) for _ in range(bench.rounds)]
    accepted = [each["accepted"] for each in rounds]
    figures = {
        **medians(rounds), "accepted_beside_limit": max(abs(n - N_PLACES) for n in accepted), "accepted": accepted,
        "otherwise_ended": sum(each["otherwise_ended"] for each in rounds),
        "refused_p99_ms_rounds": [round(each["refused_p99_ms"], 1) for each in rounds],
    }  # fmt: skip
    yield line(
        "Overload: 200 requests at once", figures, Bound("accepted_beside_limit", 0, 0),
        Bound("otherwise_ended", 0, 0), Bound("refused_p99_ms", 250, 50), Bound("normal_after_s", 10, 2),
    )  # fmt: skip


async def _crowd(bench: Bench, limit: float) -> dict[str, float]:
    replies = await bench.burst(N_AT_ONCE, N_CROWD_NEW)
    accepted = [reply for reply in replies if reply.status == 200]
    refused = [reply.seconds for reply in replies if reply.status == 429]
    over, asked = max(reply.ended for reply in replies), [reply.asked for reply in replies]
    for _ in range(MAX_LONE_CHATS):
        lone = await bench.chat()
        if lone.is_whole and lone.first <= limit:
            break
    return {
        "accepted": len(accepted),
        "otherwise_ended": len(failed(accepted)) + len(replies) - len(accepted) - len(refused),
        "refused_p99_ms": 1000 * percentile(refused or [0.0], 99),
        "refused_p50_ms": 1000 * percentile(refused or [0.0], 50),
        "normal_after_s": lone.asked - over, "served_s": over - min(asked),
        "asked_within_ms": 1000 * (max(asked) - min(asked)),
        "accepted_ttft_p95_s": percentile([reply.first for reply in accepted if reply.arrivals], 95),
    }  # fmt: skip


def leaving(bench: Bench) -> Iterator[dict[str, Any]]:
    """A client closes its connection, or Stop is pressed on the page: when is the place free?

    As /health/ready shows it, asked at once and then again and again, every `looking_ms`: a free place may be seen so
    much too late, which is taken off before it is held against a token's step. A prompt of 1,024 tokens is left as soon
    as it is being read; if it is not left, that takes `prompt_alone_ms`.
    """
    left = [asyncio.run(_leave(bench, N_PROMPT, 1 + n % 8)) for n in range(bench.n(N_LEAVES))]
    unread = [asyncio.run(_leave(bench, N_LONG, 0)) for _ in range(bench.n(N_STOPS))]
    stopped = [_stop(bench) for _ in range(bench.n(N_STOPS))]
    looking = asyncio.run(_looking(bench))
    alone = [asyncio.run(bench.client.chat(bench.prompts.of(N_LONG), 1)).first for _ in range(bench.rounds)]
    worst = percentile([*left, *unread, *stopped], 95)
    figures = {
        "freed_p95_s": round(worst, 4),
        "freed_over_step": round(max(0.0, percentile(left, 95) - looking) / bench.alone.step, 2),
        "left_p50_ms": milliseconds(statistics.median(left)), "left_p95_ms": milliseconds(percentile(left, 95)),
        "left_in_prompt_p50_ms": milliseconds(statistics.median(unread)),
        "left_in_prompt_p95_ms": milliseconds(percentile(unread, 95)),
        "prompt_alone_ms": milliseconds(statistics.median(alone)),
        "page_stop_p95_ms": milliseconds(percentile(stopped, 95)),
        "step_ms": milliseconds(bench.alone.step), "looking_ms": milliseconds(looking),
    }  # fmt: skip
    bounds = Bound("freed_p95_s", 1, 1), Bound("freed_over_step", math.inf, 1)
    yield line("Stop or disconnect: place free", figures, *bounds)


async def _leave(bench: Bench, n_prompt: int, after: int) -> float:
    """Seconds from the client's leaving, after so much text or while its prompt is read, until no reply runs."""
    words = bench.prompts.of(n_prompt)
    if after:
        left = (await bench.client.chat(words, N_LONG_REPLY, leave_after=after)).ended
    else:
        asking = asyncio.create_task(bench.client.chat(words, N_LONG_REPLY))
        while not any(await bench.client.ready()):
            await asyncio.sleep(LOOK_SECONDS)
        asking.cancel()
        left = time.monotonic()
        await asyncio.gather(asking, return_exceptions=True)
    return await bench.client.until_idle() - left


def _stop(bench: Bench) -> float:
    """Seconds from pressing Stop on the page until no reply runs."""
    session = new_session()
    bench.page.join("send", session, message=bench.prompts.of(N_PROMPT), option_max_new_tokens=N_LONG_REPLY)
    while asyncio.run(bench.client.ready())[0] == 0:
        time.sleep(0.005)
    time.sleep(0.2)
    pressed = time.monotonic()
    bench.page.press("stop", session)
    return asyncio.run(bench.client.until_idle()) - pressed


async def _looking(bench: Bench) -> float:
    """Seconds between two looks at /health/ready."""
    seconds = []
    for _ in range(50):
        started = time.monotonic()
        await bench.client.ready()
        seconds.append(time.monotonic() - started)
    return statistics.median(seconds) + LOOK_SECONDS
