"""Chats while the server evaluates or trains, both started on its own page."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.load.bench import Bench
from benchmarks.load.client import Reply
from benchmarks.load.figures import Bound, line, percentile
from benchmarks.load.page import Run, new_session

N_STEPS_ALONE, SECONDS_OF_TRAINING = 3, 45.0


def evaluation(bench: Bench) -> Iterator[dict[str, Any]]:
    """The suite Smoke alone, then some times the same with one user who chats all the time.

    What is compared is the time between its first result and its last, so that imports do not count.
    """
    session, alone = new_session(), bench.alone
    limit = 4 if bench.is_short else None
    solo = bench.runs.benchmark(session, limit)
    while not solo.look():
        time.sleep(0.05)
    seconds, replies = [], []
    for _ in range(bench.rounds):
        run = bench.runs.benchmark(session, limit)
        run.wait(1)
        replies += asyncio.run(_chats_until(bench, run.look))
        seconds.append(_seconds(run))
    firsts = [reply.first for reply in replies if reply.arrivals]
    figures = {
        "ttft_p95_over_unloaded": round(percentile(firsts, 95) / alone.first_p95, 2),
        "evaluation_share_of_solo": round(_seconds(solo) / statistics.median(seconds), 3),
        "ttft_p95_s": round(percentile(firsts, 95), 3), "ttft_p50_s": round(percentile(firsts, 50), 3),
        "chat_tokens_per_s": round(_tokens_per_second(replies), 1),
        "solo_s": round(_seconds(solo), 1), "with_chat_s": [round(each, 1) for each in seconds],
        "n_samples": len(solo.moments), "n": len(replies),
    }  # fmt: skip
    yield line(
        "Chat while an evaluation runs", figures,
        Bound("ttft_p95_over_unloaded", 4, 2), Bound("evaluation_share_of_solo", 0.25, 0.5, is_least=True),
    )  # fmt: skip


def training(bench: Bench) -> Iterator[dict[str, Any]]:
    """The example data with the options as they stand; some steps alone, then with one user who chats all the time.

    That a chat is never held up for more than a step is seen by the longest that a reader waits for a token.
    """
    session, alone = new_session(), bench.alone
    run = bench.runs.training(session)
    try:
        n_alone = 1 if bench.is_short else N_STEPS_ALONE
        run.wait(n_alone + 1)  # the first step counts for nothing
        deadline = time.monotonic() + SECONDS_OF_TRAINING * bench.scale
        replies = asyncio.run(_chats_until(bench, lambda: time.monotonic() > deadline))
        run.look()
    finally:
        bench.page.press("tune-stop", session)
        while not run.look():
            time.sleep(0.05)
    seconds = [step["seconds"] for step in run.steps]
    solo = sum(seconds[1 : n_alone + 1]) / n_alone
    with_chat = seconds[n_alone + 2 :] or seconds[-1:]  # the step in which the first chat came is neither
    firsts = [reply.first for reply in replies if reply.arrivals]
    longest = max(max([reply.first, *reply.gaps]) for reply in replies if reply.arrivals)
    figures = {
        "ttft_p95_over_unloaded": round(percentile(firsts, 95) / alone.first_p95, 2),
        "longest_wait_over_step": round(longest / solo, 3), "longest_wait_s": round(longest, 3),
        "ttft_p95_s": round(percentile(firsts, 95), 3), "ttft_p50_s": round(percentile(firsts, 50), 3),
        "chat_tokens_per_s": round(_tokens_per_second(replies), 1), "step_alone_s": round(solo, 2),
        "training_share_of_solo": round(solo * len(with_chat) / sum(with_chat), 3), "n": len(replies),
    }  # fmt: skip
    yield line(
        "Chat while training runs", figures,
        Bound("ttft_p95_over_unloaded", 6, 3), Bound("longest_wait_over_step", 1, 1),
    )  # fmt: skip


async def _chats_until(bench: Bench, is_over: Callable[[], object]) -> list[Reply]:
    """One user's chats without a pause, the last of them begun before the end."""
    replies: list[Reply] = []
    while not replies or not is_over():
        replies.append(await _watching(bench, is_over))
    return replies


async def _watching(bench: Bench, is_over: Callable[[], object]) -> Reply:
    """A chat, during which the run is looked at."""
    chat = asyncio.create_task(bench.chat())
    while not chat.done():
        is_over()
        await asyncio.wait([chat], timeout=0.1)
    return chat.result()


def _seconds(run: Run) -> float:
    """From the first result to the last."""
    return (run.moments[-1] - run.moments[0]) or 1e-9


def _tokens_per_second(replies: list[Reply]) -> float:
    return sum(reply.n_tokens for reply in replies) / sum(reply.seconds for reply in replies)
