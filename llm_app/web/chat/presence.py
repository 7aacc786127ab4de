"""Who is still there: replies under way by visitor, and whether anybody reads them."""

import threading
import time
from typing import Protocol

import gradio as gr

READER_TIMEOUT_SECONDS = 15.0


class Closable(Protocol):
    """What can be stopped."""

    def close(self) -> None: ...


class Running:
    """The one piece of work that each visitor has under way, so that Stop stops the visitor's own and no other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._work: dict[str, Closable] = {}

    def start(self, visitor: str, work: Closable) -> None:
        """Note it. What the same visitor had under way before is stopped."""
        with self._lock:
            before = self._work.get(visitor)
            self._work[visitor] = work
        if before is not None:
            before.close()

    def stop(self, visitor: str) -> bool:
        """Stop the visitor's work; whether there was any."""
        with self._lock:
            work = self._work.get(visitor)
        if work is not None:
            work.close()
        return work is not None

    def end(self, visitor: str, work: Closable) -> None:
        """It is over."""
        with self._lock:
            if self._work.get(visitor) is work:
                del self._work[visitor]


class ReaderWatch:
    """Notices a visitor who asked for a reply and never reads the event stream.

    Gradio runs such a handler to its end and keeps every message. A reader empties the visitor's message queue;
    without one it only grows.
    """

    def __init__(self, page: gr.Blocks, visitor: str) -> None:
        self._queue = page._queue.pending_messages_per_session
        self._visitor = visitor
        self._n_unread = 0
        self._read_at = time.monotonic()

    def is_gone(self) -> bool:
        """Whether nothing was read for 15 seconds. Call it about as often as messages are sent."""
        messages = self._queue.get(self._visitor)
        n_unread = messages.qsize() if messages is not None else 0
        if n_unread == 0 or n_unread < self._n_unread:
            self._read_at = time.monotonic()
        self._n_unread = n_unread
        return time.monotonic() - self._read_at > READER_TIMEOUT_SECONDS
