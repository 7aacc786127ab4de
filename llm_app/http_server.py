"""uvicorn with the manners this program promises: a deadline for headers, and an orderly way out.

SIGTERM: new requests are answered with 503, running replies get 20 seconds, then the process ends with 0.
A second signal, or Ctrl+C: at once, still with 0.
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import threading
from asyncio import TimerHandle, Transport
from collections.abc import Callable
from signal import SIGINT
from types import FrameType
from typing import Any, NoReturn

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

GRACE_SECONDS = 20.0
DEADLINE_SECONDS = 28.0
FORCED_DEADLINE_SECONDS = 4.0
HEADER_SECONDS = 30.0

_TIMEOUT_BODY = b'{"error":{"message":"The request did not arrive in time.","type":"invalid_request_error",' \
    b'"param":null,"code":"request_timeout"}}'
_TIMEOUT_RESPONSE = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_TIMEOUT_BODY)
) + _TIMEOUT_BODY


class HeaderDeadline(H11Protocol):
    """Closes a connection whose next request does not arrive in time; uvicorn itself waits for ever."""

    _header_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_watching()

    def _watch_headers(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_watching()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _stop_watching(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_TIMEOUT_RESPONSE)
            self.transport.close()


class Server(uvicorn.Server):
    """Serves until told to stop.

    `on_start` runs once requests are answered. `drain(seconds)` blocks until running replies are done or cut; it is
    called in a thread of its own.
    """

    def __init__(self, app: Any, on_start: Callable[[], None], drain: Callable[[float], None]) -> None:
        super().__init__(uvicorn.Config(
            app, http=HeaderDeadline, ws="none", lifespan="on", log_config=None, access_log=False, server_header=False,
            proxy_headers=False, timeout_keep_alive=15, timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=64 * 1024,
        ))
        self._on_start = on_start
        self._drain = drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open for requests, then say so."""
        await super().startup(sockets)
        if self.started:
            self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn's own would raise the signal again at the end, and the exit code would not be 0."""
        if self.should_exit or sig == SIGINT:
            self.force_exit = True
        self.should_exit = True
        _end_process_after(FORCED_DEADLINE_SECONDS if self.force_exit else DEADLINE_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Keep the port open while replies finish, so that newcomers get an answer instead of a refused connection."""
        # What is cut off from here on is cut off on purpose.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        if not self.force_exit:
            drain = self._start_drain(GRACE_SECONDS)
            while drain.is_alive() and not self.force_exit:
                await asyncio.sleep(0.05)
        if self.force_exit:
            self._start_drain(0.0)
            await asyncio.sleep(0.3)  # replies still get to say why they end
        await super().shutdown(sockets)

    def _start_drain(self, seconds: float) -> threading.Thread:
        drain = threading.Thread(target=self._drain, args=(seconds,), name="drain", daemon=True)
        drain.start()
        return drain


def end_process() -> NoReturn:
    """End with 0, whatever other threads do: Python's own end would wait for them, or crash under those in torch."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


def _end_process_after(seconds: float) -> None:
    """A thread inside a library cannot be interrupted in another way."""
    timer = threading.Timer(seconds, end_process)
    timer.daemon = True
    timer.start()
