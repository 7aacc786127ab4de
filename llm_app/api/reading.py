"""Replies as an event loop reads them: as their pieces come, without a thread that waits for each."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence

from llm_app.api.errors import HttpError
from llm_app.messages import Delta, Stream


class Bell:
    """Wakes tasks of one event loop from other threads: one call into the loop for all that ring meanwhile."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._rung: list[asyncio.Event] = []

    def ring(self, event: asyncio.Event) -> None:
        """Set the event, soon; from any thread."""
        with self._lock:
            self._rung.append(event)
            is_told = len(self._rung) > 1
        if not is_told:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
                self.loop.call_soon_threadsafe(self._set_all)

    def _set_all(self) -> None:
        with self._lock:
            rung, self._rung = self._rung, []
        for event in rung:
            event.set()


class Reading:
    """Streams read side by side."""

    def __init__(self, streams: Sequence[Stream], bell: Bell) -> None:
        self._streams = streams
        self._news = asyncio.Event()
        for stream in streams:
            stream.on_put = lambda: bell.ring(self._news)

    async def __aiter__(self) -> AsyncIterator[tuple[int, Delta]]:
        """(index, piece) as they come. Raises: what broke a reply off."""
        open_streams = dict(enumerate(self._streams))
        while open_streams:
            self._news.clear()  # before the look: what comes after it rings again
            for index, stream in list(open_streams.items()):
                try:
                    while (delta := stream.get(0)) is not None:
                        if delta.finish_reason == "cancelled":
                            raise HttpError(503, "cancelled", "The reply was stopped on the server before its end.")
                        yield index, delta
                except StopIteration:
                    del open_streams[index]
            if open_streams:
                await self._news.wait()

    def close(self) -> None:
        """Stop those under way."""
        for stream in self._streams:
            stream.on_put = None
            stream.close()
