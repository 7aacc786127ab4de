"""Conversations that a visitor's browser keeps: one JSON value of bounded size, nothing of it on the server's disk."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from llm_app.conversations.form import ID, ConversationRefused, as_json, from_json
from llm_app.conversations.search import Found, Listing, line_of, match
from llm_app.conversations.store import ConversationNotFound
from llm_app.conversations.tree import Conversation
from llm_app.errors import UserError

MAX_CHARACTERS = 800_000  # a browser gives a page some five million; the server holds them while the page is open
MAX_CONVERSATIONS = 50
MAX_GRAVES = 100  # of conversations that went: other tabs of the browser have heard of them long before
TICK = 1e-5  # seconds by which a change without a message is newer than what it changes


class Shelf:
    """The conversations of one visitor, with what the `ConversationStore` of a private page can do.

    `unread` is what the browser has beside them, such as of a newer version of this program: it is given back as it
    came, up to the same number of characters. Of what went, the time is kept, so that another tab of the browser,
    which still has it, does not bring it back.
    """

    def __init__(self, conversations: Mapping[str, Conversation] | None = None, unread: Iterable[Any] = ()) -> None:
        self._kept = dict(conversations or {})
        self._deleted: dict[str, Conversation] = {}
        self._graves: dict[str, float] = {}
        self._n_gone = 0  # that had to go and of which the visitor was not told yet
        self._unread: list[Any] = []
        self._carry(unread)
        self._drop_oldest()

    @classmethod
    def of(cls, value: object) -> "Shelf":
        """What the browser sent; what is no conversation in it is carried along and not looked at."""
        kept: dict[str, Conversation] = {}
        graves: dict[str, float] = {}
        unread: list[Any] = []
        for row in value if isinstance(value, list) else []:
            if (grave := _grave(row)) is not None:
                graves[grave[0]] = grave[1]
                continue
            try:
                conversation = from_json(row)
                kept[conversation.id] = conversation
            except UserError:
                unread.append(row)
        shelf = cls(kept, unread)
        for conversation_id, time in graves.items():
            shelf._bury(conversation_id, time)
        return shelf

    def value(self) -> list[Any]:
        """What the browser shall keep, the newest first."""
        return [*map(_row, self._newest()), *self._unread, *map(_grave_row, self._graves.items())]

    def merge(self, value: object) -> None:
        """Take in what another tab of the browser has kept meanwhile: of each conversation the newest stands."""
        other = Shelf.of(value)
        for theirs in other._kept.values():
            mine = self._kept.get(theirs.id)
            if mine is not None:
                newer, older = (theirs, mine) if theirs.updated > mine.updated else (mine, theirs)
                self._kept[theirs.id] = newer.merged(older)
            elif theirs.updated > self._graves.get(theirs.id, -1.0):
                self._kept[theirs.id] = theirs
                self._graves.pop(theirs.id, None)
        for conversation_id, time in other._graves.items():
            mine = self._kept.get(conversation_id)
            if mine is None or time > mine.updated:
                self._kept.pop(conversation_id, None)
                self._bury(conversation_id, time)
        self._carry(row for row in other._unread if row not in self._unread)
        self._n_gone += other._n_gone
        self._drop_oldest()

    def take_gone(self) -> int:
        """How many conversations had to go for want of room since this was last asked."""
        n_gone, self._n_gone = self._n_gone, 0
        return n_gone

    def has_room(self, conversations: Iterable[Conversation]) -> bool:
        """Whether these fit beside all that is kept."""
        all_of_them = [*self._kept.values(), *conversations]
        return len(all_of_them) <= MAX_CONVERSATIONS and sum(map(_size, all_of_them)) <= MAX_CHARACTERS

    def read(self, conversation_id: object) -> Conversation:
        """Raises: ConversationNotFound."""
        if not isinstance(conversation_id, str) or conversation_id not in self._kept:
            raise ConversationNotFound("There is no such conversation in this browser.")
        return self._kept[conversation_id]

    def save(self, conversation: Conversation) -> Conversation:
        """Keep it; gives what is kept. The oldest go where there is no room for all, see `take_gone`.

        Raises: ConversationRefused if it is too large by itself.
        """
        kept = self._kept.get(conversation.id)
        if kept is not None:
            conversation = replace(conversation.merged(kept), title=kept.title)
        if _size(conversation) > MAX_CHARACTERS:
            raise ConversationRefused("This conversation is too large for the browser to keep; export it.")
        return self._put(conversation)

    def rename(self, conversation_id: object, title: str) -> Conversation:
        """Give it another title."""
        found = self.read(conversation_id)
        return self._put(replace(found, title=title, updated=found.updated + TICK))

    def delete(self, conversation_id: object) -> None:
        """Put it aside until the page is closed."""
        found = self.read(conversation_id)
        self._deleted = {found.id: self._kept.pop(found.id)}
        self._bury(found.id, found.updated + TICK)

    def bring_back(self, conversation_id: object) -> Conversation:
        """Undo `delete`."""
        if not isinstance(conversation_id, str) or conversation_id not in self._deleted:
            raise ConversationNotFound("It can no longer be brought back.")
        back, kept = self._deleted.pop(conversation_id), self._kept.get(conversation_id)
        return self._put(back if kept is None else kept.merged(back))

    def listing(self, wanted: str = "", limit: int = 200) -> Listing:
        """The newest conversations, those that contain the wanted text."""
        found = [hit for kept in self._newest() if (hit := match(kept, wanted) if wanted else Found(line_of(kept)))]
        return Listing(tuple(found[:limit]), max(0, len(found) - limit), ("?",) * len(self._unread))

    def _newest(self) -> list[Conversation]:
        return sorted(self._kept.values(), key=lambda kept: kept.updated, reverse=True)

    def _put(self, conversation: Conversation) -> Conversation:
        grave = self._graves.pop(conversation.id, None)
        if grave is not None and conversation.updated <= grave:
            conversation = replace(conversation, updated=grave + TICK)
        self._kept[conversation.id] = conversation
        self._drop_oldest(conversation.id)
        return conversation

    def _carry(self, rows: Iterable[Any]) -> None:
        """Take in what is not understood, as far as there is room."""
        room = MAX_CHARACTERS - sum(len(json.dumps(row)) for row in self._unread)
        for row in rows:
            n_characters = len(json.dumps(row))
            if n_characters <= room:
                self._unread.append(row)
                room -= n_characters
            else:
                self._n_gone += 1

    def _bury(self, conversation_id: str, time: float) -> None:
        self._graves[conversation_id] = max(time, self._graves.pop(conversation_id, time))
        for oldest in list(self._graves)[:-MAX_GRAVES]:
            del self._graves[oldest]

    def _drop_oldest(self, saved: str = "") -> None:
        """Let go of what there is no room for, the oldest first, and what was saved just now last."""
        room = MAX_CHARACTERS
        is_full = False
        by_worth = sorted(self._newest(), key=lambda kept: kept.id != saved)
        for n, conversation in enumerate(by_worth):
            room -= _size(conversation)
            is_full = is_full or room < 0 or n >= MAX_CONVERSATIONS
            if is_full:
                del self._kept[conversation.id]
                self._bury(conversation.id, conversation.updated + TICK)
                self._n_gone += 1


def _row(conversation: Conversation) -> dict[str, Any]:
    return {"proofbench": as_json(conversation)["proofbench"]}  # the messages stand in its turns


def _grave_row(grave: tuple[str, float]) -> dict[str, Any]:
    return {"proofbench": {"id": grave[0], "updated": grave[1], "deleted": True}}


def _grave(row: object) -> tuple[str, float] | None:
    """The id of a conversation that went, and when."""
    kept = row.get("proofbench") if isinstance(row, Mapping) else None
    if not isinstance(kept, Mapping) or kept.get("deleted") is not True:
        return None
    found, time = kept.get("id"), kept.get("updated")
    if not isinstance(found, str) or not ID.fullmatch(found) or not isinstance(time, int | float):
        return None
    return (found, float(time)) if 0 <= time < 2**53 else None


def _size(conversation: Conversation) -> int:
    return len(json.dumps(_row(conversation)))
