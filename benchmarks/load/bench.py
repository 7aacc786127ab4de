"""What all parts share: the server, who asks it, and what one user alone gets."""

import asyncio
import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import psutil

from benchmarks.load.client import Client, Prompts, Reply
from benchmarks.load.figures import percentile
from benchmarks.load.page import Page, Runs

N_PROMPT, N_NEW = 128, 64


@dataclass(frozen=True)
class Alone:
    """What one user gets, one chat after the other, from a server that does nothing else."""

    replies: Sequence[Reply]

    @property
    def first_p95(self) -> float:
        """Seconds to the first text."""
        return percentile([reply.first for reply in self.replies], 95)

    @property
    def tokens_per_second(self) -> float:
        """With prompts and pauses between chats, which there are none of."""
        return sum(reply.n_tokens for reply in self.replies) / sum(reply.seconds for reply in self.replies)

    @property
    def step(self) -> float:
        """Seconds of a token after the first."""
        return statistics.median(gap for reply in self.replies for gap in reply.gaps)


@dataclass
class Bench:
    """One server under measurement."""

    url: str
    server: psutil.Process
    client: Client
    prompts: Prompts
    rounds: int
    is_short: bool
    scale: float = field(init=False)

    def __post_init__(self) -> None:
        self.scale = 0.05 if self.is_short else 1.0

    def n(self, number: int) -> int:
        """So many, or in a short run a twentieth."""
        return max(2, round(number * self.scale))

    @cached_property
    def page(self) -> Page:
        """The page."""
        return Page(self.url)

    @cached_property
    def runs(self) -> Runs:
        """Runs started on the page."""
        return Runs(self.page, self.server.pid)

    @cached_property
    def alone(self) -> Alone:
        """Measured when it is first asked for."""
        asyncio.run(self.chats(3))  # warm-up
        return Alone(asyncio.run(self.chats(self.n(30))))

    @cached_property
    def capacity(self) -> float:
        """Chats a second that 32 streams at once get."""
        replies = asyncio.run(self.burst())
        return len(replies) / (max(reply.ended for reply in replies) - min(reply.asked for reply in replies))

    async def chats(self, n: int) -> list[Reply]:
        """One user's chats, one after the other."""
        return [await self.chat() for _ in range(n)]

    async def chat(self) -> Reply:
        """A chat of the usual size."""
        return await self.client.chat(self.prompts.of(N_PROMPT), N_NEW)

    async def burst(self, n: int = 32, n_new: int = N_NEW) -> list[Reply]:
        """So many users who ask at the same moment."""
        words = [self.prompts.of(N_PROMPT) for _ in range(n)]
        return list(await asyncio.gather(*(self.client.chat(one, n_new) for one in words)))

    def memory(self) -> float:
        """Megabytes that server and children hold."""
        total = 0
        for process in (self.server, *self.server.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):  # a child that has just ended
                total += process.memory_info().rss
        return total / 2**20


def failed(replies: Sequence[Reply]) -> list[Reply]:
    """Those that were refused or did not come to their end."""
    return [reply for reply in replies if reply.status != 200 or not reply.is_whole]
