"""Log-probabilities in the two shapes that OpenAI's routes have."""

import codecs
import math
from collections.abc import Sequence
from typing import Any

from llm_app.messages import TokenLogprob

LOWEST = -9999.0  # stands for a probability of zero, since JSON has no infinity


def finite(logprob: float) -> float | None:
    """The number as JSON can hold it; None for the first token of a text, which nothing comes before."""
    if math.isnan(logprob):
        return None
    return max(logprob, LOWEST)


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    """The `logprobs` of a chat choice."""
    content = [_described(token) | {"top_logprobs": [_described(other) for other in token.top]} for token in tokens]
    return {"content": content, "refusal": None}


def _described(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "logprob": finite(token.logprob), "bytes": list(token.data)}


class LegacyLogprobs:
    """The `logprobs` of the completions route, also over several pieces: offsets go on where the last piece ended."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._n_characters = 0

    def of(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
        """Tokens, their log-probabilities, the alternatives, and where in the text each token begins."""
        offsets = []
        for token in tokens:
            offsets.append(self._n_characters)
            self._n_characters += len(self._decoder.decode(token.data))
        return {
            "tokens": [token_name(token) for token in tokens],
            "token_logprobs": [finite(token.logprob) for token in tokens],
            "top_logprobs": [_alternatives(token) for token in tokens],
            "text_offset": offsets,
        }


def token_name(token: TokenLogprob) -> str:
    """The token as text; bytes that are no text are spelled out, so that different tokens keep different names."""
    try:
        return token.data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.data)


def _alternatives(token: TokenLogprob) -> dict[str, float | None] | None:
    if not token.top:
        return None
    # Likeliest first wins where two tokens have one name, so that the maximum stays true.
    found: dict[str, float | None] = {}
    for other in (*token.top, token):
        found.setdefault(token_name(other), finite(other.logprob))
    return found
