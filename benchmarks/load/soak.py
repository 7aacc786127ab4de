"""A long time under everything at once."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from benchmarks.load.bench import Bench
from benchmarks.load.figures import Bound, line

N_USERS = 6
LABELS = ("negative", "positive")
SHARES = {"chat": 6, "cancel": 2, "classify": 2, "upload": 1}
BOUNDARY = "a-boundary-between-parts"


def soak(bench: Bench, minutes: float) -> Iterator[dict[str, Any]]:
    """Six users who chat, leave, classify and upload, one thing after the other, chosen by chance."""
    counts: Counter[str] = Counter()
    before = bench.memory()
    asyncio.run(_all_users(bench, 60 * minutes, counts))
    asyncio.run(bench.client.until_idle())
    figures = {
        "unexpected_5xx": sum(n for name, n in counts.items() if name.split()[1].startswith("5")),
        "broken": sum(n for name, n in counts.items() if name.split()[1] in ("0", "cut")),
        "minutes": minutes, "counts": dict(sorted(counts.items())), "rss_growth_mb": round(bench.memory() - before, 1),
    }  # fmt: skip
    hours = 0.0 if minutes >= 480 else float("-inf")  # the aim is eight hours of the same
    yield line(f"Soak of {minutes:g} minutes", figures, Bound("unexpected_5xx", 0, hours), Bound("broken", 0, hours))


async def _all_users(bench: Bench, seconds: float, counts: Counter[str]) -> None:
    deadline = time.monotonic() + seconds
    await asyncio.gather(*(_user(bench, number, deadline, counts) for number in range(N_USERS)))


async def _user(bench: Bench, number: int, deadline: float, counts: Counter[str]) -> None:
    draw = random.Random(number)
    while time.monotonic() < deadline:
        kind = draw.choices(list(SHARES), list(SHARES.values()))[0]
        counts[f"{kind} {await _once(bench, kind, draw)}"] += 1


async def _once(bench: Bench, kind: str, draw: random.Random) -> str:
    """The status of one request; `cut` for a stream that broke off."""
    client = bench.client
    words = bench.prompts.of(draw.choice((40, 128, 400)))
    if kind == "chat":
        reply = await client.chat(words, draw.randint(1, 64))
        return str(reply.status) if reply.is_whole or reply.status != 200 else "cut"
    if kind == "cancel":
        return str((await client.chat(words, 200, leave_after=draw.randint(1, 8))).status)
    if kind == "classify":
        body = {"model": client.model, "input": [words[:300]] * draw.randint(1, 4), "labels": LABELS}
        return str((await client.ask("POST", "/v1/classify", json.dumps(body).encode()))[0])
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="words.txt"\r\n\r\n'
    body_bytes = f"{head}{words * 20}\r\n--{BOUNDARY}--\r\n".encode()
    kind_of_body = f"multipart/form-data; boundary={BOUNDARY}"
    return str((await client.ask("POST", "/gradio_api/upload", body_bytes, kind_of_body))[0])
