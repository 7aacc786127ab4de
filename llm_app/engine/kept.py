"""Keys and values of chats whose reply ended, for their next turn, which then reads only what is new.

A prompt takes what an earlier prompt and its reply left where it goes on from both. The same prompt asked again takes
as much as it took before, so that it is rounded alike; and no prompt takes what another chat merely begins with too.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llm_app.engine.blocks import empty
from llm_app.engine.failures import is_out_of_memory

log = logging.getLogger(__name__)
KEPT_BYTES = 256 << 20  # of all chats together: 11,600 tokens of the embedded model, more than its context holds
LEAST_TOKENS = 128  # fewer are sooner read again than they are worth the memory
# The end of a prompt opens the reply, and templates open one otherwise that has become history.
REPLY_START_TOKENS = 4

States = list[tuple[Tensor, Tensor]]  # of each layer: keys and values (heads, tokens, size)


@dataclass(frozen=True, eq=False)
class _Chat:
    adapter: str  # the digest of that under which the states came to be, or empty
    token_ids: list[int]
    n_prompt: int  # of them, those of the last turn's prompt
    taken: tuple[int, ...]  # how many the turns took from those before
    states: States
    n_bytes: int  # of the states

    def offered(self, prompt_ids: list[int]) -> int:
        """How many tokens a prompt may take over: all that it shares if it is the next turn, else what one took."""
        most = min(len(self.token_ids), len(prompt_ids) - 1)  # the last one is read: what comes next follows from it
        if self.token_ids[:LEAST_TOKENS] != prompt_ids[:LEAST_TOKENS]:
            return 0  # another chat, as nearly all are
        n_shared = next((i for i in range(most) if self.token_ids[i] != prompt_ids[i]), most)
        if n_shared >= self.n_prompt - REPLY_START_TOKENS and len(prompt_ids) > self.n_prompt:
            return n_shared
        return max((n for n in self.taken if n <= n_shared), default=0)


def _copied(states: States) -> States:
    """In one piece where all are alike, by one operation of one thread.

    Torch would share each copy among its threads, which wait for each other, and one of them for what else is running.
    """
    parts = [each for pair in states for each in pair]
    if len({part.shape for part in parts}) > 1 or parts[0].device.type != "cpu":
        return [(keys.clone(), values.clone()) for keys, values in states]
    whole = empty((len(parts), *parts[0].shape), parts[0])
    np.stack([part.view(torch.uint8).numpy() for part in parts], out=whole.view(torch.uint8).numpy())
    return list(zip(whole[::2], whole[1::2], strict=True))


class Kept:
    """The chats last used, as many as fit, by the digest of the adapter that answered. For one thread's use."""

    def __init__(self, n_bytes: int = KEPT_BYTES) -> None:
        self._most_bytes = n_bytes
        self._chats: list[_Chat] = []  # last used ones at the end

    @property
    def n_bytes(self) -> int:
        """Memory held, in bytes."""
        return sum(chat.n_bytes for chat in self._chats)

    def keep(self, adapter: str, token_ids: Sequence[int], n_prompt: int, n_taken: int, states: States) -> None:
        """Copy what a turn has left: a prompt of so many tokens, of which it took so many over, and its reply.

        It takes the place of the turns before it, and of another reply to its prompt; one that said more stays.
        """
        ids = list(token_ids)
        n_bytes = sum(each.nbytes for pair in states for each in pair)
        if len(ids) < LEAST_TOKENS or n_bytes > self._most_bytes:
            return
        same = [chat for chat in self._chats if chat.adapter == adapter]
        if any(chat.token_ids[: len(ids)] == ids for chat in same):
            return
        before = [chat for chat in same if n_taken and chat.token_ids[:n_taken] == ids[:n_taken]]
        taken = {n for chat in before for n in chat.taken if n <= n_taken} | ({n_taken} if n_taken else set())
        ended = [*before, *(chat for chat in same if chat.token_ids[: chat.n_prompt] == ids[:n_prompt])]
        self._chats = [chat for chat in self._chats if chat not in ended]
        self._make_room(n_bytes)
        try:
            copied = _copied(states)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            log.warning("no memory to keep a chat for its next turn")
            self.clear()
            return
        self._chats.append(_Chat(adapter, ids, n_prompt, tuple(sorted(taken)), copied, n_bytes))

    def find(self, adapter: str, prompt_ids: Sequence[int]) -> States | None:
        """The most that a prompt may take over, or None."""
        ids = list(prompt_ids)
        offers = [(chat.offered(ids), chat) for chat in self._chats if chat.adapter == adapter]
        n_taken, chat = max(offers, key=lambda offer: offer[0], default=(0, None))
        if chat is None or n_taken < LEAST_TOKENS:
            return None
        self._chats.remove(chat)
        self._chats.append(chat)
        return [(keys[:, :n_taken], values[:, :n_taken]) for keys, values in chat.states]

    def clear(self) -> None:
        """Forget everything."""
        self._chats.clear()

    def _make_room(self, n_bytes: int) -> None:
        held = self.n_bytes + n_bytes
        while held > self._most_bytes:
            held -= self._chats.pop(0).n_bytes
