"""The load goals, each with its figure: a real server in a process of its own, asked over HTTP.

    python -m benchmarks.load [--parts single,streams,arrivals,...] [--model embedded] [--precision auto] [--rounds 3]
                              [--soak-minutes 0] [--short]

One JSON line a goal: its figures, what they must and should be, and which of both holds; the exit code is 0 in any
case. A chat has a prompt of 128 tokens, each with other first words, and asks for 64 tokens, greedy; seconds are its
client's, from before it connects. "Single" and "unloaded" mean one user's chats in the same run, one after the other.
Bursts are repeated --rounds times, and their figures are medians.

    single      one user's TTFT                    overload    200 requests at once, of which 96 have room
    streams     32 at once                         leaving     Stop or a lost connection until the place is free
    arrivals    at random, at half the capacity    chats, sessions, pairs    what stays in memory, threads, files
    long        1,024 tokens among 16 streams      evaluation, training      chats beside runs of the page
    soak        left out unless minutes are given; /health/live is asked during everything, by a process of its own

The client shares the cores with the server, so it must be light: one process, asyncio and plain streams, of which no
more is read than is counted. It takes 0.3 ms of a core for each of 200 requests at once, where httpx takes 4; what it
took is `client_share_of_a_core`. Memory is that of the server and its children. --short takes a twentieth of
everything, to see whether it works; its figures say nothing.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from benchmarks.load import beside, edges, growth, live, streams
from benchmarks.load.bench import Bench
from benchmarks.load.client import Client, Prompts
from benchmarks.load.soak import soak
from benchmarks.server import READY, await_line, serving

PARTS: dict[str, Callable[[Bench], Iterator[dict[str, Any]]]] = {
    "single": streams.single, "streams": streams.streams, "arrivals": streams.arrivals, "long": streams.long,
    "overload": edges.overload, "leaving": edges.leaving, "chats": growth.chats, "sessions": growth.sessions,
    "pairs": growth.pairs, "evaluation": beside.evaluation, "training": beside.training,
}  # fmt: skip


def main() -> None:
    """Measure and print one JSON line a goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--soak-minutes", type=float, default=0.0)
    parser.add_argument("--short", action="store_true", help="see whether it works")
    args = parser.parse_args()
    names = [name for name in args.parts.split(",") if name]
    if unknown := set(names) - set(PARTS):
        parser.error(f"not known: {', '.join(sorted(unknown))}")
    print(f"# {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with measured(args.model, args.precision, args.rounds, is_short=args.short) as bench:
        with live.watched(bench.client.host, bench.client.port) as health:
            for name in names:
                health.begin(name)
                for told in PARTS[name](bench):
                    print(json.dumps(told), flush=True)
            if args.soak_minutes > 0:
                health.begin("soak")
                for told in soak(bench, args.soak_minutes):
                    print(json.dumps(told), flush=True)
        print(json.dumps(health.line()), flush=True)


@contextmanager
def measured(model: str, precision: str, rounds: int, *, is_short: bool) -> Iterator[Bench]:
    """A server whose model answers."""
    with serving(model, precision=precision) as (server, url):
        await_line(server, READY)
        status, body = asyncio.run(Client(url, "").ask("GET", "/v1/models"))
        if status != 200:
            raise RuntimeError(f"/v1/models answered {status}")
        client = Client(url, json.loads(body)["data"][0]["id"])
        yield Bench(url, psutil.Process(server.pid), client, Prompts(client), rounds, is_short)


if __name__ == "__main__":
    main()
