"""A reply on its way to the page: gathered into frames, counted, and said how it ended."""

import time
from collections.abc import Iterator

from llm_app.engine.request import Stream
from llm_app.messages import Delta, Usage
from llm_app.web.chat import views
from llm_app.web.failures import note_error

FRAME_SECONDS = 0.08  # pieces that come faster are shown together
SILENCE_SECONDS = 0.25  # a handler can be closed only where it yields


class Reply:
    """A reply as it grows."""

    def __init__(self, stream: Stream, n_prompt_tokens: int, request_id: str) -> None:
        self.content = ""
        self.note = views.live_note(0)
        self.failure: Exception | None = None
        self.stream = stream
        self._n_prompt_tokens = n_prompt_tokens
        self._n_output_tokens = 0
        self._request_id = request_id
        self._started_at = time.monotonic()
        self._first_at: float | None = None

    @property
    def n_tokens(self) -> int:
        """Tokens of the prompt and of the reply so far."""
        return self._n_prompt_tokens + self._n_output_tokens

    def read(self) -> Iterator[bool]:
        """Take in what comes; yields at least four times a second, True when there is something new to show."""
        usage, reason = None, "cancelled"
        try:
            for deltas in frames(self.stream):
                for delta in deltas:
                    self._add(delta)
                    if delta.usage is not None:
                        usage, reason = delta.usage, delta.finish_reason or "stop"
                yield bool(deltas)
        except Exception as error:
            note_error(error, self._request_id)
            self.failure = error
            self.note = views.failed_note(self._request_id)
            return
        self.note = views.final_note(usage or self._usage(), reason)

    def _add(self, delta: Delta) -> None:
        if delta.token_ids and self._first_at is None:
            self._first_at = time.monotonic()
        self.content += delta.text
        self._n_output_tokens += len(delta.token_ids)
        self.note = views.live_note(self._n_output_tokens)

    def _usage(self) -> Usage:
        # A stopped reply gets no account from the engine.
        now = time.monotonic()
        to_first = (self._first_at or now) - self._started_at
        return Usage(self._n_prompt_tokens, self._n_output_tokens, to_first, now - self._started_at, self.stream.seed)


def frames(stream: Stream) -> Iterator[list[Delta]]:
    """The pieces of a reply, gathered into at most about twelve frames a second; an empty one when nothing comes."""
    shown_at = 0.0
    while True:
        deltas: list[Delta] = []
        try:
            wait = SILENCE_SECONDS
            while wait > 0 and (delta := stream.get(wait)) is not None:
                deltas.append(delta)
                wait = shown_at + FRAME_SECONDS - time.monotonic()
        except StopIteration:
            yield deltas
            return
        except Exception:
            yield deltas  # what was written before the failure is kept
            raise
        yield deltas
        shown_at = time.monotonic()
