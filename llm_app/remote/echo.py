"""Log-probabilities of a prompt, as /v1/completions gives them with `echo` and `logprobs`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm_app.errors import RemoteFailed


class NoLogprobs(RemoteFailed):
    """The server answered, but without the log-probabilities of the prompt."""


@dataclass(frozen=True)
class Scored:
    """The tokens of a prompt: name, log-probability in nats, whether it is the likeliest, where it begins.

    `n_before`: tokens that the server put before the text. `offsets`: in characters; None where they are not those of
    the text.
    """

    tokens: tuple[str, ...]
    logprobs: tuple[float | None, ...]
    is_likeliest: tuple[bool, ...]
    n_before: int
    offsets: tuple[int, ...] | None

    def start_of(self, n_characters: int) -> int | None:
        """The token that begins after so many characters; None where there is none, or nobody can tell."""
        if n_characters == 0:
            return self.n_before
        if self.offsets is None or n_characters not in self.offsets:
            return None
        return self.offsets.index(n_characters)

    def after(self, start: int) -> tuple[float, bool] | None:
        """(sum of log-probabilities, whether greedy decoding gives it) of the tokens from `start` on.

        None where one of them has no log-probability, as a first one has none, or there are none.
        """
        values = [value for value in self.logprobs[start:] if value is not None]
        if not values or len(values) < len(self.logprobs) - start:
            return None
        return sum(values), all(self.is_likeliest[start:])


def read_scored(answer: Mapping[str, Any], text: str) -> Scored:
    """The tokens of the text out of an answer; those that were generated after it are left out.

    Raises: NoLogprobs if they are not there.
    """
    try:
        n_tokens = answer["usage"]["prompt_tokens"]
        found = answer["choices"][0]["logprobs"]
        tokens, values, tops = (found[name][:n_tokens] for name in ("tokens", "token_logprobs", "top_logprobs"))
        if not len(tokens) == len(values) == len(tops) == n_tokens > 0:
            raise ValueError
        logprobs = tuple(None if value is None else float(value) for value in values)
        likeliest = tuple(_is_likeliest(value, top) for value, top in zip(logprobs, tops, strict=True))
        n_before = _n_before(tokens, text)
        offsets = _offsets(found.get("text_offset"), tokens, n_before, text)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise NoLogprobs("The answer holds no log-probabilities of the prompt.") from error
    return Scored(tuple(tokens), logprobs, likeliest, n_before, offsets)


def _is_likeliest(value: float | None, top: Mapping[str, float] | None) -> bool:
    return value is not None and top is not None and value >= max(top.values(), default=math.inf)


def _n_before(tokens: Sequence[str], text: str) -> int:
    """1 where the server put a first token before the text, such as <s>."""
    return int(not text.startswith(tokens[0]) and len(tokens) > 1 and text.startswith(tokens[1]))


def _offsets(offsets: Any, tokens: Sequence[str], n_before: int, text: str) -> tuple[int, ...] | None:
    """Where tokens begin in the text. Some servers count the token before the text, some do not."""
    if not isinstance(offsets, list) or len(offsets) < len(tokens) or not text.startswith(tokens[n_before]):
        return None
    return tuple(offset - offsets[n_before] for offset in offsets[: len(tokens)])
