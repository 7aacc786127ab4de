"""Keys and values of replies that ended, for the next turn of the same chat, which then reads only what is new.

A prompt takes what an earlier prompt and its reply left behind where it goes on from both. No more is taken, though
more could be: what others ask must not decide how a reply is rounded, nor must the same prompt asked before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

KEPT_BYTES = 128 << 20  # of all chats together: 5,700 tokens of the embedded model
LEAST_TOKENS = 128  # fewer are sooner read again than they are worth the memory
# The end of a prompt opens the reply, and templates open one otherwise that has become history.
OPENING_TOKENS = 4

States = list[tuple[Tensor, Tensor]]  # of each layer: keys and values (heads, tokens, size)


@dataclass(frozen=True, eq=False)
class _Entry:
    adapter: str  # the digest of that under which they came to be, or empty
    token_ids: list[int]
    n_prompt: int
    states: States

    @property
    def n_bytes(self) -> int:
        return sum(each.nbytes for pair in self.states for each in pair)

    def shared(self, prompt_ids: Sequence[int]) -> int:
        """How many tokens of a prompt that goes on from here stand here; 0 for any other."""
        least = max(LEAST_TOKENS, self.n_prompt - OPENING_TOKENS)
        if len(prompt_ids) <= self.n_prompt or list(prompt_ids[:least]) != self.token_ids[:least]:
            return 0
        n = least
        most = min(len(self.token_ids), len(prompt_ids) - 1)  # the last token is read: what comes next follows from it
        while n < most and self.token_ids[n] == prompt_ids[n]:
            n += 1
        return n if n <= most else 0


class Kept:
    """The chats last used, as many as fit, by the digest of the adapter that answered. For one thread's use."""

    def __init__(self, n_bytes: int = KEPT_BYTES) -> None:
        self._most_bytes = n_bytes
        self._entries: list[_Entry] = []  # last used ones at the end

    @property
    def n_bytes(self) -> int:
        """Memory held, in bytes."""
        return sum(entry.n_bytes for entry in self._entries)

    def keep(self, adapter: str, token_ids: Sequence[int], n_prompt: int, states: States) -> None:
        """What a prompt of so many tokens, and the reply behind it, have left; the same chat's is replaced."""
        new = _Entry(adapter, list(token_ids), n_prompt, states)
        prompt = new.token_ids[:n_prompt]
        self._entries = [
            entry for entry in self._entries if entry.adapter != adapter or entry.token_ids[: entry.n_prompt] != prompt
        ]
        self._entries.append(new)
        n_bytes = self.n_bytes
        while n_bytes > self._most_bytes:
            n_bytes -= self._entries.pop(0).n_bytes

    def find(self, adapter: str, prompt_ids: Sequence[int]) -> States | None:
        """The longest that a prompt may go on from, cut to the tokens that both have."""
        found = [(entry.shared(prompt_ids), entry) for entry in self._entries if entry.adapter == adapter]
        n_shared, entry = max(found, key=lambda each: each[0], default=(0, None))
        if entry is None or n_shared == 0:
            return None
        self._entries.remove(entry)
        self._entries.append(entry)
        return [(keys[:, :n_shared], values[:, :n_shared]) for keys, values in entry.states]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
