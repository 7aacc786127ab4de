"""What many requests, sessions and cancelled replies leave behind in the server."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks.load.bench import Bench, failed
from benchmarks.load.client import Client, Reply, at_most
from benchmarks.load.figures import Bound, line, slope
from benchmarks.load.page import new_session

N_WARM, N_CHATS, N_BETWEEN_LOOKS = 200, 1_000, 50
N_AT_A_TIME, N_NEW, SHORT = 8, 4, 45
N_SESSIONS, N_WINDOWS = 1_000, 4
N_PAIRS, N_WARM_PAIRS, MAX_PAIR_NEW = 1_000, 100, 400
SETTLE_SECONDS = 12.0  # threads that nobody needs any more end after ten


def chats(bench: Bench) -> Iterator[dict[str, Any]]:
    """1,000 short chats, eight at a time; the server's memory is read after every 50, while nothing runs."""
    places, sizes, n_errors = [], [], 0
    _ask_many(bench, bench.n(N_WARM))
    for n in range(0, bench.n(N_CHATS) + 1, N_BETWEEN_LOOKS):
        places.append(float(n))
        sizes.append(bench.memory())
        n_errors += len(failed(_ask_many(bench, min(N_BETWEEN_LOOKS, bench.n(N_BETWEEN_LOOKS * 20)))))
    figures = {
        "rss_growth_mb": round(sizes[-1] - sizes[0], 1),
        "slope_kb_per_request": round(1024 * slope(places, sizes), 2) if len(sizes) > 1 else None,
        "rss_mb": round(sizes[-1]), "rss_mb_seen": [round(size) for size in sizes], "errors": n_errors,
    }  # fmt: skip
    yield line(
        "1,000 chats after 200", figures,
        Bound("rss_growth_mb", 60, 15), Bound("slope_kb_per_request", 40, 4), Bound("errors", 0, 0),
    )  # fmt: skip


def _ask_many(bench: Bench, n: int) -> list[Reply]:
    words = [bench.prompts.of(SHORT) for _ in range(n)]
    return asyncio.run(at_most(N_AT_A_TIME, [partial(bench.client.chat, one, N_NEW) for one in words]))


def sessions(bench: Bench) -> Iterator[dict[str, Any]]:
    """1,000 windows of the page, four at a time: each gets the page, asks for a short reply, and is left open.

    The server keeps 200; what the first 200 take is part of the growth, and told besides.
    """
    page = bench.page
    first, rest = bench.n(200), bench.n(N_SESSIONS - 200)
    _visits(bench, 4)  # what is made once for all
    before = bench.memory()
    seconds = _timed(lambda: _visits(bench, first))
    full = bench.memory()
    seconds += _timed(lambda: _visits(bench, rest))
    after = bench.memory()
    page.press("new-chat", new_session())
    figures = {
        "rss_growth_mb": round(after - before, 1), "first_200_mb": round(full - before, 1),
        "other_800_mb": round(after - full, 1), "seconds": round(seconds, 1), "n": first + rest,
    }  # fmt: skip
    yield line("1,000 anonymous sessions of the page", figures, Bound("rss_growth_mb", 100, 50))


def _visits(bench: Bench, n: int) -> None:
    def visit(words: str) -> None:
        session = new_session()
        bench.page.open()
        bench.page.ask("send", session, message=words, option_max_new_tokens=2, option_temperature=0)

    words = [bench.prompts.of(SHORT) for _ in range(n)]
    with ThreadPoolExecutor(N_WINDOWS) as windows:
        list(windows.map(visit, words))


def pairs(bench: Bench) -> Iterator[dict[str, Any]]:
    """1,000 replies that are left after their first text, eight at a time, after 100 that do not count."""
    _leave_many(bench, bench.n(N_WARM_PAIRS))
    before = _held(bench)
    seconds = _timed(lambda: _leave_many(bench, bench.n(N_PAIRS)))
    after = _held(bench)
    figures = {
        **{f"{name}_more": round(after[name] - before[name], 1) for name in before},
        **{f"{name}_before_after": [round(before[name], 1), round(after[name], 1)] for name in before},
        "ms_a_pair": round(1000 * seconds / bench.n(N_PAIRS), 1),
    }  # fmt: skip
    yield line(
        "1,000 replies started and cancelled", figures,
        Bound("threads_more", 0, 0), Bound("fds_more", 0, 0), Bound("rss_mb_more", math.inf, 5),
    )  # fmt: skip


def _leave_many(bench: Bench, n: int) -> None:
    words = [bench.prompts.of(SHORT) for _ in range(n)]
    ask = [partial(_left_at_first_text, bench.client, one) for one in words]
    asyncio.run(at_most(N_AT_A_TIME, ask))


async def _left_at_first_text(client: Client, words: str) -> Reply:
    return await client.chat(words, MAX_PAIR_NEW, leave_after=1)


def _held(bench: Bench) -> dict[str, float]:
    """Threads, files and memory of the server's process, once it has come to rest."""
    asyncio.run(bench.client.until_idle())
    time.sleep(SETTLE_SECONDS * (0.1 if bench.is_short else 1))
    _leave_many(bench, 1)  # where threads that have waited for long enough are ended
    asyncio.run(bench.client.until_idle())
    time.sleep(0.5)
    return {
        "threads": bench.server.num_threads(), "fds": bench.server.num_fds(),
        "rss_mb": bench.server.memory_info().rss / 2**20,
    }  # fmt: skip


def _timed(work: Callable[[], None]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started
