"""Answers that come piece by piece, as server-sent events."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

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
            try:
                await self._send_all(send, first, pieces)
                last = "data: [DONE]\n\n"
            except TimeoutError:
                return  # nobody reads; ending without the last event makes the server close the connection
            except UserError as error:
                last = _event(error_body(error))
            except Exception as error:
                log_failure(request_id, error)
                last = _event(error_body(internal_error(request_id)))
            await _send(send, last.encode(), is_last=True)

    async def _send_all(
        self, send: Send, first: tuple[int, Delta], pieces: AsyncGenerator[tuple[int, Delta], None]
    ) -> None:
        # A repeated prompt with its log-probabilities is megabytes: not to be written where all requests wait.
        opening = await self._work.prepare(self._opening)
        if opening:
            await _send(send, opening)
        await self._send_chunks(send, self._chunks.of(*first))
        async for index, delta in pieces:
            await self._send_chunks(send, self._chunks.of(index, delta))
        await self._send_chunks(send, self._chunks.closing())

    async def _send_chunks(self, send: Send, chunks: list[dict[str, Any]]) -> None:
        if chunks:
            await _send(send, "".join(map(_event, chunks)).encode())

    def _opening(self) -> bytes:
        return "".join(f"data: {json_text(chunk)}\n\n" for chunk in self._chunks.opening()).encode()


def _event(value: dict[str, Any]) -> str:
    # json escapes line breaks, so a piece of text cannot end its event early.
    return f"data: {json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(',', ':'))}\n\n"


async def _send(send: Send, body: bytes, *, is_last: bool = False) -> None:
    with anyio.fail_after(MAX_SEND_SECONDS):
        await send({"type": "http.response.body", "body": body, "more_body": not is_last})
