"""Answers that come piece by piece, as server-sent events."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol, Self

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llm_app.api.errors import error_body, internal_error, log_failure
from llm_app.api.json_text import json_text
from llm_app.api.work import Work, while_connected
from llm_app.errors import UserError
from llm_app.messages import Delta

# A reader that takes nothing for so long holds a place in the batch for nobody.
MAX_SEND_SECONDS = 15.0
N_LOOKS = 5  # in that time: it may be a fifth longer
# Made once: `json.dumps` makes one for each piece. It escapes line breaks, so a piece cannot end its event early.
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Chunks(Protocol):
    """How a route writes its stream."""

    def opening(self) -> list[dict[str, Any]]:
        """Chunks before the first piece."""

    def of(self, index: int, delta: Delta) -> list[dict[str, Any]]:
        """Chunks of one piece of choice `index`."""

    def closing(self) -> list[dict[str, Any]]:
        """Chunks after the last piece."""


class EventStream(Response):
    """Replies as events. The status is sent with the first piece, so that an error before it has its own status.

    An error after it is an event, and then neither a finish reason nor [DONE] follows.
    """

    media_type = "text/event-stream"

    def __init__(self, work: Work, pieces: AsyncGenerator[tuple[int, Delta], None], chunks: Chunks) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        # The length of a stream is not known beforehand.
        del self.headers["content-length"]
        self._work = work
        self._pieces = pieces
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the replies and send them, for as long as somebody listens."""
        await while_connected(receive, self._run(scope["state"]["request_id"], send))

    async def _run(self, request_id: str, send: Send) -> None:
        async with aclosing(self._pieces) as pieces:
            first = await anext(pieces)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            with _Reader(send) as reader:
                try:
                    await self._send_all(reader, first, pieces)
                    last = "data: [DONE]\n\n"
                except UserError as error:
                    last = _event(error_body(error))
                except Exception as error:
                    log_failure(request_id, error)
                    last = _event(error_body(internal_error(request_id)))
                await reader.take(last.encode(), is_last=True)

    async def _send_all(
        self, reader: "_Reader", first: tuple[int, Delta], pieces: AsyncGenerator[tuple[int, Delta], None]
    ) -> None:
        # A repeated prompt with its log-probabilities is megabytes: not to be written where all requests wait.
        opening = await self._work.prepare(self._opening)
        if opening:
            await reader.take(opening)
        await _send_chunks(reader, self._chunks.of(*first))
        async for index, delta in pieces:
            await _send_chunks(reader, self._chunks.of(index, delta))
        await _send_chunks(reader, self._chunks.closing())

    def _opening(self) -> bytes:
        return "".join(f"data: {json_text(chunk)}\n\n" for chunk in self._chunks.opening()).encode()


async def _send_chunks(reader: "_Reader", chunks: list[dict[str, Any]]) -> None:
    if chunks:
        await reader.take("".join(map(_event, chunks)).encode())


def _event(value: dict[str, Any]) -> str:
    return f"data: {_JSON.encode(value)}\n\n"


class _Reader:
    """Who reads a stream. One that takes nothing for too long is left: the connection closes without a last event.

    A timer looks now and then: a deadline for each piece would cost as much as sending the piece.
    """

    def __init__(self, send: Send) -> None:
        self._send, self._scope = send, anyio.CancelScope()
        self._loop = asyncio.get_running_loop()
        self._waits_since = math.inf  # the loop's seconds, while a piece is being sent

    def __enter__(self) -> Self:
        self._scope.__enter__()
        self._look()
        return self

    def __exit__(self, *error: Any) -> bool:
        self._timer.cancel()
        return bool(self._scope.__exit__(*error))

    async def take(self, body: bytes, *, is_last: bool = False) -> None:
        """Send a piece."""
        self._waits_since = self._loop.time()
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})
        self._waits_since = math.inf

    def _look(self) -> None:
        if self._loop.time() - self._waits_since >= MAX_SEND_SECONDS:
            self._scope.cancel()
        self._timer = self._loop.call_later(MAX_SEND_SECONDS / N_LOOKS, self._look)
