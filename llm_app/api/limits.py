"""How much a request may send, and how long it may take to send it."""

import time

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_app.api.errors import ClientGone, HttpError

MAX_JSON_BYTES = 1 << 20
MAX_UPLOAD_BYTES = 20 << 20
MAX_BODY_SECONDS = 30.0
# A client that is still sending hears an answer only if its bytes are taken; this many at most, then it is cut off.
MAX_DRAINED_BYTES = 64 << 20
MAX_DRAIN_SECONDS = 2.0


class BodyLimit:
    """Counts the body as it comes, with or without a Content-Length; too much is 413, too slow is 408.

    Whatever the application answers to a body that was cut short is replaced by that refusal.
    """

    def __init__(
        self, app: ASGIApp, *, json_bytes: int = MAX_JSON_BYTES, upload_bytes: int = MAX_UPLOAD_BYTES,
        seconds: float = MAX_BODY_SECONDS,
    ) -> None:
        self.app = app
        self.json_bytes = json_bytes
        self.upload_bytes = upload_bytes
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application on a body within the limits."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_upload = scope["path"].rstrip("/").endswith("/upload")
        limit = self.upload_bytes if is_upload else self.json_bytes
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and (len(declared) > 15 or int(declared) > limit):
            await _drain(receive)
            raise _too_large(limit)
        body = _Body(receive, send, limit, self.seconds)
        try:
            await self.app(scope, body.receive, body.send)
        except Exception:
            if body.refusal is None:
                raise
        if body.refusal is not None and not body.has_answered:
            if not body.is_complete and body.refusal.status == 413:
                await _drain(receive)
            raise body.refusal


class _Body:
    """One request's body on its way in."""

    def __init__(self, receive: Receive, send: Send, limit: int, seconds: float) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._n_bytes = 0
        self.is_complete = False
        self.refusal: HttpError | None = None
        self.has_answered = False

    async def receive(self) -> Message:
        if self.is_complete:
            return await self._receive()  # from here on only the disconnect can come
        if self.refusal is not None:
            raise self.refusal
        try:
            with anyio.fail_after(max(0.0, self._deadline - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            late = f"The body did not arrive within {self._seconds:g} seconds."
            self.refusal = HttpError(408, "request_timeout", late, headers={"Connection": "close"})
            raise self.refusal from None
        if message["type"] == "http.request":
            self._n_bytes += len(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)
            if self._n_bytes > self._limit:
                self.refusal = _too_large(self._limit)
                raise self.refusal
        elif message["type"] == "http.disconnect":
            raise ClientGone
        return message

    async def send(self, message: Message) -> None:
        if self.refusal is not None and not self.has_answered:
            return
        self.has_answered = True
        await self._send(message)


def _too_large(limit: int) -> HttpError:
    size = f"{limit >> 20} MB" if limit >= 1 << 20 else f"{limit} bytes"
    message = f"The body is too large; the limit is {size}."
    return HttpError(413, "payload_too_large", message, headers={"Connection": "close"})


async def _drain(receive: Receive) -> None:
    n_bytes = 0
    with anyio.move_on_after(MAX_DRAIN_SECONDS):
        while n_bytes < MAX_DRAINED_BYTES:
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return
