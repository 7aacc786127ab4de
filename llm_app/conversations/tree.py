"""A conversation as a tree of turns: another version of a reply, or an edited message, is a branch beside the old one.

Turns are only ever added and never changed, so that two windows on one conversation can be put together by their ids.
"""

import re
import secrets
import string
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from llm_app.messages import Message, Role

DIGITS = string.digits + string.ascii_lowercase  # in the order in which names are sorted
MAX_TITLE = 60  # characters of the first message that a title takes
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # these turn the text behind them around


@dataclass(frozen=True)
class Details:
    """How a reply came about, complete enough to ask for it again."""

    model: str = ""
    precision: str = ""
    adapter: str | None = None
    n_prompt_tokens: int = 0
    n_output_tokens: int = 0
    seconds_to_first_token: float = 0.0
    tokens_per_second: float = 0.0
    seed: int | None = None
    ending: str = "stop"  # stop, length, time, cancelled; failed; edited: written by the person
    n_context: int = 0
    request: str = ""  # the number to ask about, where it failed
    n_cut: int = 0  # messages at the front that no longer fitted the context
    settings: Mapping[str, Any] = field(default_factory=dict)  # sampling options that were not at their default


@dataclass(frozen=True)
class Turn:
    """One message. `parent` is the id of the one before it, empty for the first."""

    id: str
    parent: str
    role: Role
    content: str
    created: float = 0.0  # seconds since 1970
    details: Details | None = None


@dataclass(frozen=True)
class Conversation:
    """All turns in the order in which they were made; `tip` is the last of those in sight."""

    id: str
    title: str = ""  # empty: the beginning of the first message
    turns: tuple[Turn, ...] = ()
    tip: str = ""
    system_prompt: str = ""
    created: float = 0.0
    updated: float = 0.0

    @classmethod
    def new(cls) -> "Conversation":
        """An empty one with an id of its own."""
        now = time.time()
        return cls(new_id(), created=now, updated=now)

    @classmethod
    def of(cls, messages: Iterable[Message], title: str = "") -> "Conversation":
        """A conversation without branches. What system messages say stands before it."""
        made, system = replace(cls.new(), title=title), []
        turns: list[Turn] = []
        for message in messages:
            if message.role == "system":
                system.append(message.content)
            else:
                before = turns[-1].id if turns else ""
                turns.append(Turn(_turn_id(), before, message.role, message.content, made.created))
        tip = turns[-1].id if turns else ""
        return replace(made, turns=tuple(turns), tip=tip, system_prompt="\n\n".join(system))

    @cached_property
    def by_id(self) -> dict[str, Turn]:
        """Turns by their ids."""
        return {turn.id: turn for turn in self.turns}

    @cached_property
    def _after(self) -> dict[str, list[Turn]]:
        after: dict[str, list[Turn]] = {}
        for turn in self.turns:
            after.setdefault(turn.parent, []).append(turn)
        return after

    @cached_property
    def path(self) -> tuple[Turn, ...]:
        """The turns in sight, from the first to the tip."""
        found, at = [], self.tip
        while at:
            turn = self.by_id[at]
            found.append(turn)
            at = turn.parent
        return tuple(reversed(found))

    def versions(self, turn: Turn) -> list[Turn]:
        """The turn and those that could stand in its place, oldest first."""
        return self._after[turn.parent]

    @property
    def name(self) -> str:
        """Its title, or the beginning of its first message."""
        if self.title:
            return self.title
        asked = next((turn.content for turn in self.turns if turn.role == "user"), "")
        first = " ".join(_DIRECTIONS.sub("", asked).split())
        return first if len(first) <= MAX_TITLE else first[: MAX_TITLE - 1].rstrip() + "…"

    def with_turn(self, role: Role, content: str, details: Details | None = None) -> "Conversation":
        """With one more turn after the tip."""
        now = time.time()
        turn = Turn(_turn_id(), self.tip, role, content, now, details)
        return replace(self, turns=(*self.turns, turn), tip=turn.id, updated=now)

    def before(self, turn_id: str) -> "Conversation":
        """Seen up to the turn before this one; what is added then is another version of it."""
        return replace(self, tip=self.by_id[turn_id].parent)

    def showing(self, turn_id: str) -> "Conversation":
        """Seen through this turn, and on along the newest turn after each."""
        tip = turn_id
        while tip in self._after:
            tip = self._after[tip][-1].id
        return replace(self, tip=tip)

    def branch(self, turn_id: str) -> "Conversation":
        """A conversation of its own that begins as this one does up to this turn."""
        seen = replace(self, tip=turn_id).path
        made = Conversation.new()
        return replace(made, title=self.title, turns=seen, tip=turn_id, system_prompt=self.system_prompt)

    def merged(self, other: "Conversation") -> "Conversation":
        """This one with the turns that only the other has; another window may have added them."""
        missing = [turn for turn in other.turns if turn.id not in self.by_id]
        if not missing:
            return self
        return replace(self, turns=tuple(sorted((*self.turns, *missing), key=lambda turn: turn.created)))

    def messages(self) -> list[Message]:
        """What a model is asked: the system prompt first, replies that came to nothing left out."""
        system = [Message("system", self.system_prompt)] if self.system_prompt.strip() else []
        return system + [Message(turn.role, turn.content) for turn in self.path if turn.content]


def new_id() -> str:
    """Twelve letters and digits: the time in milliseconds to the base 36, and four by chance. They sort by age."""
    milliseconds, digits = time.time_ns() // 1_000_000, ""
    for _ in range(8):
        milliseconds, digit = divmod(milliseconds, 36)
        digits = DIGITS[digit] + digits
    return digits + _chance(4)


def _turn_id() -> str:
    return _chance(10)


def _chance(n: int) -> str:
    return "".join(secrets.choice(DIGITS) for _ in range(n))
