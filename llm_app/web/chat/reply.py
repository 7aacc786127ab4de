"""A reply on its way to the page: gathered into frames, counted, and said how it ended."""

import time
from collections.abc import Iterator
from dataclasses import replace

from llm_app.conversations.tree import Details
from llm_app.messages import Delta, Stream, Usage
from llm_app.web.failures import note_error

FRAME_SECONDS = 0.08  # pieces that come faster are shown together
SILENCE_SECONDS = 0.25  # a handler can be closed only where it yields


class Reply:
    """A reply as it grows. `about` says what is known of it before its first token."""

    def __init__(self, stream: Stream, about: Details) -> None:
        self.content = ""
        self.n_output_tokens = 0
        self.failure: Exception | None = None
        self.stream = stream
        self._about = replace(about, seed=stream.seed, ending="cancelled")
        self._usage: Usage | None = None
        self._started_at = time.monotonic()
        self._first_at: float | None = None

    def read(self, silence_seconds: float = SILENCE_SECONDS) -> Iterator[bool]:
        """Take in what comes, True when there is something new to show; an item comes after so much silence, too."""
        try:
            for deltas in frames(self.stream, silence_seconds):
                for delta in deltas:
                    self._add(delta)
                yield bool(deltas)
        except Exception as error:
            note_error(error, self._about.request)
            self.failure = error
            self._about = replace(self._about, ending="failed")

    @property
    def details(self) -> Details:
        """How it came about, and what it cost up to now."""
        usage = self._usage or self._counted()
        return replace(
            self._about,
            n_output_tokens=usage.n_output_tokens,
            seconds_to_first_token=usage.seconds_to_first_token,
            tokens_per_second=usage.tokens_per_second,
        )

    def _add(self, delta: Delta) -> None:
        if delta.token_ids and self._first_at is None:
            self._first_at = time.monotonic()
        self.content += delta.text
        self.n_output_tokens += len(delta.token_ids)
        if delta.usage is not None:
            self._usage = delta.usage
            n_prompt = delta.usage.n_prompt_tokens  # of another server's model it is known only now
            self._about = replace(self._about, ending=delta.finish_reason or "stop", n_prompt_tokens=n_prompt)

    def _counted(self) -> Usage:
        # A stopped reply gets no account from the engine.
        now = time.monotonic()
        to_first = (self._first_at or now) - self._started_at
        n_prompt = self._about.n_prompt_tokens
        return Usage(n_prompt, self.n_output_tokens, to_first, now - self._started_at, self.stream.seed)


def frames(stream: Stream, silence_seconds: float = SILENCE_SECONDS) -> Iterator[list[Delta]]:
    """The pieces of a reply, gathered into at most about twelve frames a second; an empty one when nothing comes."""
    shown_at = 0.0
    while True:
        deltas: list[Delta] = []
        try:
            wait = silence_seconds
            while (delta := stream.get(wait)) is not None:
                deltas.append(delta)
                # Also what is there already: a slow reader must not fall behind.
                wait = max(0.0, shown_at + FRAME_SECONDS - time.monotonic())
        except StopIteration:
            yield deltas
            return
        except Exception:
            yield deltas  # what was written before the failure is kept
            raise
        yield deltas
        shown_at = time.monotonic()
