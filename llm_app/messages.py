"""What goes into a chat turn and what comes out of it."""

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
