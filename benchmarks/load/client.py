"""A client that takes little of the cores: HTTP over plain asyncio streams, no more read of a reply than is counted."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from benchmarks.prompts import TOPICS

Value = TypeVar("Value")
READ_BYTES = 1 << 16
PATIENCE_SECONDS = 300.0
LOOK_SECONDS = 0.004  # between two looks at what runs; without a pause they would take a third of a core
LOST = 0  # in place of a status: the connection broke before an answer


@dataclass
class Reply:
    """One request as its client saw it; moments are seconds of the clock that all processes share.

    `arrivals`: when text came, once for all that came together. `is_whole`: the stream said that it was at its end.
    """

    asked: float
    status: int = LOST
    arrivals: list[float] = field(default_factory=list)
    ended: float = 0.0
    n_prompt: int = 0
    n_tokens: int = 0
    is_whole: bool = False

    @property
    def first(self) -> float:
        """Seconds to the first text; of a reply without any, to its end."""
        return (self.arrivals[0] if self.arrivals else self.ended) - self.asked

    @property
    def seconds(self) -> float:
        """From the request to the end of its answer."""
        return self.ended - self.asked

    @property
    def gaps(self) -> list[float]:
        """Seconds between arrivals."""
        return [after - before for before, after in zip(self.arrivals, self.arrivals[1:], strict=False)]


class Client:
    """Asks one server; each request has a connection of its own, as different users have."""

    def __init__(self, url: str, model: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = str(parts.hostname), int(parts.port or 80)
        self.model = model

    async def chat(
        self, words: str, n_tokens: int, *, leave_after: int | None = None, is_here: Callable[[], Any] = bool
    ) -> Reply:
        """A streamed chat, greedy. The client leaves after so many arrivals of text; `is_here` is told of each."""
        body = {
            "model": self.model, "messages": [{"role": "user", "content": words}], "max_tokens": n_tokens,
            "temperature": 0, "stream": True, "stream_options": {"include_usage": True},
        }  # fmt: skip
        reply = Reply(time.monotonic())
        writer = None
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port)
            writer.write(self._request("POST", "/v1/chat/completions", json.dumps(body).encode()))
            await asyncio.wait_for(_read(reader, reply, leave_after, is_here), PATIENCE_SECONDS)
        except (OSError, TimeoutError):
            pass  # what came is kept, and is not whole
        finally:
            reply.ended = time.monotonic()
            if writer is not None:
                writer.close()
        return reply

    async def ask(
        self, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Status and body of any other request."""
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port)
            writer.write(self._request(method, path, body, content_type))
            answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
            writer.close()
        except (OSError, TimeoutError):
            return LOST, b""
        head, _, rest = answer.partition(b"\r\n\r\n")
        return (int(head.split(maxsplit=2)[1]), rest) if head else (LOST, b"")

    async def ready(self) -> tuple[int, int]:
        """How many replies run, and how many wait."""
        _, body = await self.ask("GET", "/health/ready")
        told = json.loads(body)
        return told["n_running"], told["n_waiting"]

    async def until_idle(self) -> float:
        """The moment when no reply runs or waits."""
        while any(await self.ready()):
            await asyncio.sleep(LOOK_SECONDS)
        return time.monotonic()

    def _request(self, method: str, path: str, body: bytes, content_type: str = "application/json") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n"
        return f"{head}Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def _read(
    reader: asyncio.StreamReader, reply: Reply, leave_after: int | None, is_here: Callable[[], Any]
) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    reply.status = int(head.split(maxsplit=2)[1])
    rest = b""
    while data := await reader.read(READ_BYTES):
        moment = time.monotonic()
        *events, rest = (rest + data).split(b"\n\n")
        if any(b'"content":"' in event and b'"content":""' not in event for event in events):
            reply.arrivals.append(moment)
            is_here()
            if len(reply.arrivals) == leave_after:
                return
        for event in events:
            if b'"usage":{' in event:
                usage = json.loads(event[event.index(b"{") :])["usage"]
                reply.n_prompt, reply.n_tokens = usage["prompt_tokens"], usage["completion_tokens"]
            if event.endswith(b"data: [DONE]"):
                reply.is_whole = True
                return


async def together(requests: Sequence[Awaitable[Value]]) -> list[Value]:
    """All of them at once."""
    return list(await asyncio.gather(*requests))


async def at_most(n: int, requests: Sequence[Callable[[], Coroutine[Any, Any, Value]]]) -> list[Value]:
    """All of them, `n` at a time."""
    places = asyncio.Semaphore(n)

    async def one(request: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        async with places:
            return await request()

    return await together([one(request) for request in requests])


class Prompts:
    """Prompts of set lengths in tokens, no two of which begin alike."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._n_made = 0
        self._per_word, self._of_frame = asyncio.run(self._measured())

    def of(self, n_tokens: int) -> str:
        """A prompt of about so many tokens, the template's own among them."""
        return self._words(max(1, round((n_tokens - self._of_frame) / self._per_word)))

    def _words(self, n_words: int) -> str:
        self._n_made += 1
        choose = random.Random(self._n_made)  # the same in every run
        place = 7919 * self._n_made  # coprime to 32, so that 32,768 prompts in a row begin with other words
        first = [TOPICS[place // 32**power % 32] for power in range(3)]
        rest = [choose.choice(TOPICS) for _ in range(n_words)]
        return f"{first[0]}, {first[1]} and {first[2]} belong together. Tell a long story about {', '.join(rest)}."

    async def _measured(self) -> tuple[float, float]:
        """Tokens of a word, and of what stands around the words."""
        means = []
        for n_words in (20, 60):
            replies = [await self._client.chat(self._words(n_words), 1) for _ in range(4)]
            if not all(reply.is_whole for reply in replies):
                raise RuntimeError(f"the server does not answer: {replies[0].status}")
            means.append(sum(reply.n_prompt for reply in replies) / len(replies))
        per_word = (means[1] - means[0]) / 40
        return per_word, means[0] - 20 * per_word
