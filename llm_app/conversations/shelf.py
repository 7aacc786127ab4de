"""Conversations that a visitor's browser keeps: one JSON value of bounded size, nothing of it on the server's disk."""

import json
from collections.abc import Mapping
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
    """The conversations of one visitor, with what the `ConversationStore` of a private page can do."""

    def __init__(self, conversations: Mapping[str, Conversation] | None = None, n_damaged: int = 0) -> None:
        self._kept = dict(conversations or {})
        self._deleted: dict[str, Conversation] = {}
        self._n_damaged = n_damaged

    @classmethod
    def of(cls, value: object) -> "Shelf":
        """What the browser sent; what is no conversation in it is counted and left out."""
        kept: dict[str, Conversation] = {}
        n_damaged = 0
        rows = value if isinstance(value, list) else []
        for row in rows[:MAX_CONVERSATIONS]:
            try:
                conversation = from_json(row)
                kept[conversation.id] = conversation
            except UserError:
                n_damaged += 1
        return cls(kept, n_damaged)

    def value(self) -> list[dict[str, Any]]:
        """What the browser shall keep: the newest, as many as there is room for."""
        rows: list[dict[str, Any]] = []
        room = MAX_CHARACTERS
        for conversation in sorted(self._kept.values(), key=lambda kept: kept.updated, reverse=True):
            row = {"proofbench": as_json(conversation)["proofbench"]}  # the messages stand in its turns
            room -= len(json.dumps(row))
            if room < 0 or len(rows) == MAX_CONVERSATIONS:
                break
            rows.append(row)
        return rows

    def read(self, conversation_id: object) -> Conversation:
        """Raises: ConversationNotFound."""
        if not isinstance(conversation_id, str) or conversation_id not in self._kept:
            raise ConversationNotFound("There is no such conversation in this browser.")
        return self._kept[conversation_id]

    def save(self, conversation: Conversation) -> Conversation:
        """Keep it; gives what is kept. The oldest go where there is no room for all.

        Raises: ConversationRefused if it is too large by itself.
        """
        if len(json.dumps(as_json(conversation)["proofbench"])) > MAX_CHARACTERS:
            raise ConversationRefused("This conversation is too large for the browser to keep; export it.")
        kept = self._kept.get(conversation.id)
        if kept is not None:
            conversation = replace(conversation.merged(kept), title=kept.title)
        self._kept[conversation.id] = conversation
        return conversation

    def rename(self, conversation_id: object, title: str) -> Conversation:
        """Give it another title."""
        named = replace(self.read(conversation_id), title=title)
        self._kept[named.id] = named
        return named

    def delete(self, conversation_id: object) -> None:
        """Put it aside until the page is closed."""
        found = self.read(conversation_id)
        self._deleted = {found.id: self._kept.pop(found.id)}

    def bring_back(self, conversation_id: object) -> Conversation:
        """Undo `delete`."""
        if not isinstance(conversation_id, str) or conversation_id not in self._deleted:
            raise ConversationNotFound("It can no longer be brought back.")
        self._kept[conversation_id] = self._deleted.pop(conversation_id)
        return self._kept[conversation_id]

    def listing(self, wanted: str = "", limit: int = 200) -> Listing:
        """The newest conversations, those that contain the wanted text."""
        newest = sorted(self._kept.values(), key=lambda kept: kept.updated, reverse=True)
        found = [hit for kept in newest if (hit := match(kept, wanted) if wanted else Found(line_of(kept)))]
        return Listing(tuple(found[:limit]), max(0, len(found) - limit), ("?",) * self._n_damaged)
