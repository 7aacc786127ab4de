"""What chats of a model begin with: what its template writes before the first question.

Its keys and values are computed once under each adapter, alone in one pass, and every chat in a batch that begins with
it takes them over, the first one too. So it makes no difference to a prompt whether others came before it; and nobody
chose these tokens, so that how soon a reply comes tells nothing of what others ask.
"""

import os
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llm_app.engine.forward import forward
from llm_app.engine.kept import States
from llm_app.engine.slots import SlotCache
from llm_app.errors import UserError

if TYPE_CHECKING:
    from llm_app.engine.template import ChatTemplate

LEAST_TOKENS, MOST_TOKENS = 16, 256  # fewer are as soon read as taken over; more would hold up replies under way
MOST_BYTES = 64 << 20  # under all adapters together; 0.5 MB each for the embedded model
# Nothing in common, not even the day: some templates write it.
CHATS = (("A", datetime(2001, 12, 31, 23, tzinfo=UTC)), ("7", datetime(2032, 2, 4, tzinfo=UTC)))


def opening_ids(tokenizer: PreTrainedTokenizerBase, template: "ChatTemplate | None") -> tuple[int, ...]:
    """The tokens with which a chat begins whatever its first question is; none without a template, or if too few."""
    if template is None:
        return ()
    try:
        texts = [
            template.render_turns([{"role": "user", "content": question}], add_generation_prompt=True, now=now)
            for question, now in CHATS
        ]
    except UserError:
        return ()  # a template may want more than a question
    shared = os.path.commonprefix([tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts])
    return tuple(shared[:MOST_TOKENS]) if len(shared) >= LEAST_TOKENS else ()


class Opening:
    """Keys and values of the first tokens of chats. For one thread's use."""

    def __init__(self, token_ids: Sequence[int]) -> None:
        self._token_ids = list(token_ids)
        self._states: OrderedDict[str, States] = OrderedDict()  # by the adapter's digest, last used ones at the end

    @property
    def n_bytes(self) -> int:
        """Memory held, in bytes."""
        return sum(each.nbytes for states in self._states.values() for pair in states for each in pair)

    def begins(self, prompt_ids: Sequence[int]) -> bool:
        """Whether a prompt begins with it, and goes on."""
        n = len(self._token_ids)
        return 0 < n < len(prompt_ids) and list(prompt_ids[:n]) == self._token_ids

    @torch.inference_mode()
    def states(self, model: PreTrainedModel, digest: str) -> States:
        """What a row begins with, under the adapter in use, which has this digest."""
        if digest in self._states:
            self._states.move_to_end(digest)
            return self._states[digest]
        cache = SlotCache()
        forward(model, cache, [self._token_ids], [0])
        states = [(keys.clone(), values.clone()) for keys, values in cache.states(0, len(self._token_ids))]
        if all(bool(torch.isfinite(each).all()) for pair in states for each in pair):  # else the next chat tries again
            self._states[digest] = states
        while self.n_bytes > MOST_BYTES and len(self._states) > 1:
            self._states.popitem(last=False)
        return states

    def clear(self) -> None:
        """Forget what was computed."""
        self._states.clear()
