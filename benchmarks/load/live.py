"""Asks /health/live all the time, from a process of its own, so that the load of the client does not count."""

import http.client
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.load.figures import Bound, line, milliseconds, percentile

EVERY_SECONDS = 0.1
TIMEOUT_SECONDS = 10.0  # counts as so many seconds
Sample = tuple[float, float, float]  # when it was asked, seconds to the answer, seconds that the poller woke too late


@dataclass
class Health:
    """All samples, once the watch is over, and when each part began."""

    parts: list[tuple[str, float]] = field(default_factory=list)
    samples: Sequence[Sample] = ()

    def begin(self, part: str) -> None:
        """What follows belongs to this part."""
        self.parts.append((part, time.monotonic()))

    def line(self) -> dict[str, Any]:
        """The goal's line. `late_p99_ms`: how late the system woke the poller itself, which no server can help."""
        ends = [began for _, began in self.parts[1:]] + [time.monotonic()]
        by_part = {
            part: milliseconds(percentile(found, 99))
            for (part, began), end in zip(self.parts, ends, strict=True)
            if (found := [seconds for asked, seconds, _ in self.samples if began <= asked < end])
        }
        seconds = [sample[1] for sample in self.samples]
        figures = {
            "p99_ms": milliseconds(percentile(seconds, 99)), "p50_ms": milliseconds(percentile(seconds, 50)),
            "largest_ms": milliseconds(max(seconds)), "n": len(seconds), "p99_ms_by_part": by_part,
            "late_p99_ms": milliseconds(percentile([sample[2] for sample in self.samples], 99)),
        }  # fmt: skip
        return line("/health/live during everything", figures, Bound("p99_ms", 250, 50))


@contextmanager
def watched(host: str, port: int) -> Iterator[Health]:
    """Ask until the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    poller = context.Process(target=poll, args=(theirs, host, port), daemon=True)
    poller.start()
    health = Health()
    try:
        yield health
        ours.send(None)
        health.samples = ours.recv()
    finally:
        poller.terminate()


def poll(told: Connection, host: str, port: int) -> None:
    """Ask at even intervals until something is sent; then send back what came."""
    samples: list[Sample] = []
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    wake = time.monotonic()
    while not told.poll(max(0.0, wake - time.monotonic())):
        asked = time.monotonic()
        try:
            connection.request("GET", "/health/live")
            connection.getresponse().read()
            seconds = time.monotonic() - asked
        except (OSError, http.client.HTTPException):
            seconds = TIMEOUT_SECONDS
            connection.close()
        samples.append((asked, seconds, asked - wake))
        wake = max(wake + EVERY_SECONDS, time.monotonic())
    told.send(samples)
