"""What the Chat tab leaves for training: answers that the person added, and votes as pairs.

On this machine they lie beside the uploads; on a public page within the visitor's own, for as long as uploads stay.
Training takes a copy as things stand: what is added later changes no run.
"""

import hashlib
import json
import threading
from collections.abc import Sequence
from typing import Any

from llm_app import votes
from llm_app.config import Settings
from llm_app.conversations.disk import told, write_whole
from llm_app.data import formats
from llm_app.data.turns import check_order, turns_of
from llm_app.data.types import RowRefused
from llm_app.messages import Message
from llm_app.votes import Vote, VoteBook
from llm_app.web.failures import SentenceError
from llm_app.web.tune.data_shelf import MEGABYTE, DataShelf

FOLDER = "from-chat"
ANSWERS, PAIRS = "chat-answers.jsonl", "chat-votes.jsonl"
_AS_WRITTEN = formats.Mapping("messages", messages="messages")


class Gathered:
    """The two files of whoever asks, by the visitor's secret; None on a private page."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._lock = settings, threading.Lock()

    def add(self, visitor: str | None, messages: Sequence[Message]) -> tuple[str, int]:
        """Keep a conversation that ends with a good answer: its key, and how many there are now. Twice is once.

        Raises: UserError if it is no dialogue, or there is no room.
        """
        line = _line(messages)
        with self._lock:
            lines = self._lines(visitor)
            if line not in lines:
                lines.append(line)
                self._write(visitor, ANSWERS, lines)
        return _key(line), len(lines)

    def take_out(self, visitor: str | None, key: object) -> int:
        """Undo `add`; how many are left.

        Raises: UserError if there is no such answer.
        """
        with self._lock:
            lines = self._lines(visitor)
            left = [line for line in lines if _key(line) != key]
            if len(left) == len(lines):
                raise SentenceError("learn_gone")
            self._write(visitor, ANSWERS, left)
        return len(left)

    def give_votes(self, visitor: str | None, found: Sequence[Vote]) -> int:
        """How many pairs the votes make. Those of a public page's visitor, which only the browser keeps, are put down.

        Raises: UserError if there is no room.
        """
        lines = _lines_of(votes.preference_lines(found))
        if self._settings.is_public and lines:
            self._write(visitor, PAIRS, lines)
        return len(lines)

    def text(self, visitor: str | None, name: str) -> str:
        """One of the files, as it stands; empty if nothing was gathered.

        Raises: UserError if it cannot be read.
        """
        if name == PAIRS and not self._settings.is_public:
            return votes.preference_lines(VoteBook.of(self._settings).read()[0])
        try:
            return (self._shelf(visitor).root / FOLDER / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def _lines(self, visitor: str | None) -> list[str]:
        return _lines_of(self.text(visitor, ANSWERS))

    def _write(self, visitor: str | None, name: str, lines: Sequence[str]) -> None:
        shelf, words = self._shelf(visitor), "".join(lines)
        if len(words.encode()) > shelf.limits.upload_bytes:
            raise SentenceError("learn_full", max=shelf.limits.upload_bytes // MEGABYTE)
        with told():
            shelf.make_room()
        write_whole(shelf.root / FOLDER / name, words)

    def _shelf(self, visitor: str | None) -> DataShelf:
        return DataShelf.of(self._settings, visitor)


def _line(messages: Sequence[Message]) -> str:
    """A line of OpenAI's layout. The last answer is learned; those before it are only read."""
    # Nobody sees a NUL, and no reader of data takes one.
    rows: list[dict[str, Any]] = [
        {"role": message.role, "content": message.content.replace("\0", "")} for message in messages
    ]
    for row in rows[:-1]:
        if row["role"] == "assistant":
            row["weight"] = 0
    try:
        check_order(turns_of(rows, _AS_WRITTEN))
    except RowRefused as refused:
        raise SentenceError("learn_no_dialogue") from refused
    return json.dumps({"messages": rows}, ensure_ascii=False) + "\n"


def _lines_of(text: str) -> list[str]:
    # splitlines would also break at signs that JSON leaves as they are.
    return [f"{line}\n" for line in text.split("\n") if line]


def _key(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:16]
