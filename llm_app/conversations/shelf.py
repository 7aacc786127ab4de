"""Conversations that a visitor's browser keeps: one JSON value of bounded size, nothing of it on the server's disk."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from llm_app.conversations.form import ConversationRefused, as_json, from_json
from llm_app.conversations.search import Found, Listing, line_of, match
from llm_app.conversations.store import ConversationNotFound
from llm_app.conversations.tree import Conversation
from llm_app.errors import UserError

MAX_CHARACTERS = 800_000  # a browser gives a page some five million; the server holds them while the page is open
MAX_CONVERSATIONS = 50


class Shelf:
    """The conversations of one visitor, with what the `ConversationStore` of a private page can do.

    `unread` is what the browser has beside them, such as of a newer version of this program: it is given back as it
    came, up to the same number of characters.
    """

    def __init__(self, conversations: Mapping[str, Conversation] | None = None, unread: Iterable[Any] = ()) -> None:
        self._kept = dict(conversations or {})
        self._deleted: dict[str, Conversation] = {}
        self._n_gone = 0  # that had to go and of which the visitor was not told yet
        self._unread: list[Any] = []
        room = MAX_CHARACTERS
        for row in unread:
            room -= len(json.dumps(row))
            if room >= 0:
                self._unread.append(row)
            else:
                self._n_gone += 1
        self._drop_oldest()

    @classmethod
    def of(cls, value: object) -> "Shelf":
        """What the browser sent; what is no conversation in it is carried along and not looked at."""
        kept: dict[str, Conversation] = {}
        unread: list[Any] = []
        for row in value if isinstance(value, list) else []:
            try:
                conversation = from_json(row)
                kept[conversation.id] = conversation
            except UserError:
                unread.append(row)
        return cls(kept, unread)

    def value(self) -> list[Any]:
        """What the browser shall keep, the newest first."""
        return [*map(_row, self._newest()), *self._unread]

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
        return self._put(replace(self.read(conversation_id), title=title))

    def delete(self, conversation_id: object) -> None:
        """Put it aside until the page is closed."""
        found = self.read(conversation_id)
        self._deleted = {found.id: self._kept.pop(found.id)}

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
        self._kept[conversation.id] = conversation
        self._drop_oldest(conversation.id)
        return conversation

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
                self._n_gone += 1


def _row(conversation: Conversation) -> dict[str, Any]:
    return {"proofbench": as_json(conversation)["proofbench"]}  # the messages stand in its turns


def _size(conversation: Conversation) -> int:
    return len(json.dumps(_row(conversation)))
