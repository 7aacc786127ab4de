"""What a list shows of conversations, and which of them contain some words."""

import unicodedata
from dataclasses import dataclass

from llm_app.conversations.tree import Conversation

BEFORE, AFTER = 24, 60  # characters of a message shown around what was found
MAX_WANTED = 200


@dataclass(frozen=True)
class Line:
    """A conversation in the list."""

    id: str
    name: str
    n_turns: int
    updated: float


@dataclass(frozen=True)
class Found:
    """A line, and the place in its text where the words stand."""

    line: Line
    excerpt: str = ""


@dataclass(frozen=True)
class Listing:
    """Conversations, how many more there are, and files that could not be read."""

    found: tuple[Found, ...]
    n_more: int = 0
    damaged: tuple[str, ...] = ()


def line_of(conversation: Conversation) -> Line:
    """What the list shows of it."""
    return Line(conversation.id, conversation.name, len(conversation.turns), conversation.updated)


def match(conversation: Conversation, wanted: str) -> Found | None:
    """Where the conversation contains the text, in any writing of its letters; None if nowhere.

    A part of a word is found too, so that writing without spaces between words can be searched.
    """
    looked_for = _plain(wanted.strip())
    if not looked_for:
        return Found(line_of(conversation))
    in_sight = {turn.id for turn in conversation.path}
    for turn in sorted(conversation.turns, key=lambda turn: turn.id not in in_sight):
        at = _plain(turn.content).find(looked_for)
        if at >= 0:
            return Found(line_of(conversation), _excerpt(turn.content, at, len(looked_for)))
    return Found(line_of(conversation)) if looked_for in _plain(conversation.name) else None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _excerpt(text: str, at: int, length: int) -> str:
    # The place is counted in folded text, which seldom differs in length; a few characters off shows as well.
    start, end = max(0, at - BEFORE), at + length + AFTER
    words = " ".join(text[start:end].split())
    return ("…" if start else "") + words + ("…" if end < len(text) else "")
