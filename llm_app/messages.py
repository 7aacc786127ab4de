"""What goes into a chat turn and what comes out of it."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "time", "cancelled"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class TokenLogprob:
    """A token with its natural-log probability under the model, before sampling changes it.

    `data` are the token's bytes: a token may end inside a character.
    """

    token_id: int
    data: bytes
    logprob: float
    top: tuple["TokenLogprob", ...] = ()

    @property
    def text(self) -> str:
        """The bytes as text, with U+FFFD where they are part of a character."""
        return self.data.decode("utf-8", errors="replace")


@dataclass(frozen=True)
class Usage:
    """What a reply cost. Times in seconds; `n_cached_tokens` were not computed again."""

    n_prompt_tokens: int
    n_output_tokens: int
    seconds_to_first_token: float
    seconds_total: float
    seed: int

    @property
    def tokens_per_second(self) -> float:
        """Decoding speed: tokens after the first, over the time after the first."""
        seconds = self.seconds_total - self.seconds_to_first_token
        return (self.n_output_tokens - 1) / seconds if self.n_output_tokens > 1 and seconds > 0 else 0.0


@dataclass(frozen=True)
class Delta:
    """The next piece of a reply. Only the last one has `finish_reason` and `usage`.

    Concatenated `text` is the reply: never a broken character, never a part of a stop string.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


class Stream(Iterator[Delta]):
    """A reply as it comes. Iterate it; close it to stop: whoever answers stops at the next step."""

    def __init__(self, seed: int, wake: Callable[[], None]) -> None:
        self.seed = seed
        self._wake = wake
        self._items: queue.SimpleQueue[Delta | Exception | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._ended = False
        self.on_put: Callable[[], None] | None = None  # called after each put, on the thread of whoever answers

    def __next__(self) -> Delta:
        delta = self.get(None)
        assert delta is not None
        return delta

    def get(self, timeout_seconds: float | None) -> Delta | None:
        """The next piece, or None when nothing came in time.

        Raises: StopIteration at the end; GenerationFailed where the model could not go on.
        """
        if self._ended:
            raise StopIteration
        try:
            item = self._items.get(timeout=timeout_seconds)
        except queue.Empty:
            return None
        if item is None:
            self._ended = True
            raise StopIteration
        if isinstance(item, Exception):
            self._ended = True
            raise item
        return item

    def close(self) -> None:
        """Stop. What was read so far stays valid."""
        if not self._closed.is_set():
            self._closed.set()
            self.put(None)
            self._wake()

    @property
    def is_closed(self) -> bool:
        """Whether the reader has stopped it."""
        return self._closed.is_set()

    def put(self, item: Delta | Exception | None) -> None:
        """For whoever answers: hand over the next piece, a failure, or None at the end."""
        self._items.put(item)
        on_put = self.on_put  # the reader takes it away when it leaves
        if on_put is not None:
            on_put()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
