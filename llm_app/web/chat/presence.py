"""Who is still there: replies under way by visitor, and whether anybody reads them."""

import threading
import time
from typing import Protocol

import gradio as gr

READER_TIMEOUT_SECONDS = 15.0

Written = tuple[str | None, str]  # whose conversation, and its id


class Closable(Protocol):
    """What can be stopped."""

    def close(self) -> None: ...


class Running:
    """The one piece of work that each visitor has under way, so that Stop stops the visitor's own and no other."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._shown: dict[str, Closable] = {}  # by visitor
        self._writing: dict[int, tuple[Closable, Written | None]] = {}  # every work, and what it writes

    def start(self, visitor: str, work: Closable, written: Written | None = None) -> None:
        """Note it. What the same visitor had under way before is stopped."""
        self.drop(visitor)
        with self._changed:
            self._shown[visitor] = work
            self._writing[id(work)] = work, written

    def stop(self, visitor: str) -> bool:
        """Stop the visitor's work; whether there was any. What it came to is still shown."""
        with self._changed:
            work = self._shown.get(visitor)
        if work is not None:
            work.close()
        return work is not None

    def drop(self, visitor: str) -> None:
        """Stop the visitor's work and show nothing more of it, since the page shows something else now."""
        with self._changed:
            work = self._shown.pop(visitor, None)
        if work is not None:
            work.close()

    def is_shown(self, visitor: str, work: Closable) -> bool:
        """Whether the page still shows this work."""
        with self._changed:
            return self._shown.get(visitor) is work

    def end(self, visitor: str, work: Closable) -> None:
        """It is over, and what it came to is kept."""
        with self._changed:
            if self._shown.get(visitor) is work:
                del self._shown[visitor]
            self._writing.pop(id(work), None)
            self._changed.notify_all()

    def settle(self, wanted: Written, seconds: float) -> None:
        """Stop what still writes this conversation, such as for a page that was reloaded, and wait until it is kept."""

        def writers() -> list[Closable]:
            return [work for work, written in self._writing.values() if written == wanted]

        with self._changed:
            works = writers()
        for work in works:
            work.close()
        with self._changed:
            self._changed.wait_for(lambda: not writers(), seconds)


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
