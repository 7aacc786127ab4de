"""Work that a person can stop between two of its parts."""

import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import gradio as gr

from llm_app.web import text
from llm_app.web.chat.presence import Running
from llm_app.web.failures import failed
from llm_app.web.html import GONE
from llm_app.web.views import notice

Part = TypeVar("Part")
Update = dict[Any, Any]


class Halt:
    """Asks a piece of work to end, from any thread."""

    def __init__(self) -> None:
        self._is_asked = threading.Event()

    def close(self) -> None:
        """Ask for the end."""
        self._is_asked.set()

    def until(self, parts: Iterator[Part]) -> Iterator[Part]:
        """The parts until the end is asked for; a part that was made by then is given, and the work closed."""
        try:
            while not self._is_asked.is_set():
                try:
                    part = next(parts)
                except StopIteration:
                    return
                yield part
        finally:
            if isinstance(parts, Generator):
                parts.close()


class Task:
    """What a page does between a press of `start` and its end, or a press of `stop`; of each visitor one at a time.

    `told`: where it says how far it is, or what went wrong.
    """

    def __init__(self, start: gr.Button, stop: gr.Button, told: gr.HTML) -> None:
        self._start, self._stop, self._told = start, stop, told
        self._running = Running()

    def run(
        self, request: gr.Request, opening: str, work: Callable[[Halt], Generator[Update, None, Update]]
    ) -> Iterator[Update]:
        """`opening`: name of what is told first; `work` gives what there is to show meanwhile, and at last."""
        halt, visitor = Halt(), request.session_hash or ""
        self._running.start(visitor, halt)
        yield {self._told: notice(text.both(opening)), **self._buttons(True)}
        try:
            done = yield from work(halt)
        except Exception as error:
            done = {self._told: failed(error)}
        finally:
            self._running.end(visitor, halt)
        yield {**done, **self._buttons(False)}

    def stop(self, request: gr.Request) -> None:
        """End what this page has under way."""
        self._running.stop(request.session_hash or "")

    def _buttons(self, is_working: bool) -> Update:
        return {
            self._stop: gr.update(elem_classes=[] if is_working else [GONE]),
            self._start: gr.update(interactive=not is_working),
        }
