"""Conversations on this machine's disk: one file each. What is torn or foreign is named and left where it is."""

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from llm_app.conversations.disk import told, write_whole
from llm_app.conversations.form import ID, MAX_BYTES, ConversationRefused, as_text, from_json, parsed
from llm_app.conversations.search import Found, Line, Listing, line_of, match
from llm_app.conversations.tree import Conversation
from llm_app.errors import UserError

MAX_CONVERSATIONS = 2_000
DELETED = re.compile(r"\.deleted-([a-z0-9]{12})\.json")
UNDO_SECONDS = 86_400.0  # how long what was deleted can come back; it goes when something else is deleted after that


class ConversationNotFound(UserError):
    """No conversation of that name here."""

    status, code = 404, "conversation_not_found"


class ConversationStore:
    """The conversations of a folder, newest first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._lines: dict[str, tuple[tuple[int, int], Line]] = {}  # id -> (time and size of the file, its line)

    def read(self, conversation_id: object) -> Conversation:
        """Raises: ConversationNotFound; ConversationRefused if the file is damaged. No id leads out of the folder."""
        if not isinstance(conversation_id, str) or not ID.fullmatch(conversation_id):
            raise ConversationNotFound("There is no such conversation.")
        return self._read(self._path(conversation_id))

    def save(self, conversation: Conversation) -> Conversation:
        """Write it whole, with what another window added to it meanwhile; gives what was written.

        Raises: KeepingFailed; ConversationRefused if it is too large or there are too many.
        """
        with self._lock:
            path = self._path(conversation.id)
            try:
                kept = self._read(path)
                conversation = replace(conversation.merged(kept), title=kept.title)  # titles change by `rename` only
            except ConversationNotFound:
                if len(list(self._files())) >= MAX_CONVERSATIONS:
                    raise ConversationRefused(
                        f"{MAX_CONVERSATIONS:,} conversations are kept already; delete some."
                    ) from None
            self._write(path, conversation)
            return conversation

    def rename(self, conversation_id: object, title: str) -> Conversation:
        """Give it another title; an empty one is the beginning of its first message again."""
        with self._lock:
            named = replace(self.read(conversation_id), title=title)
            self._write(self._path(named.id), named)
            return named

    def delete(self, conversation_id: object) -> None:
        """Put it aside, so that `bring_back` can undo it."""
        path = self._path(self._known(conversation_id))
        with self._lock, told():
            self._forget_deleted()
            os.utime(path)  # from now on
            path.rename(self._deleted(path.stem))

    def bring_back(self, conversation_id: object) -> Conversation:
        """Undo `delete`."""
        if not isinstance(conversation_id, str) or not ID.fullmatch(conversation_id):
            raise ConversationNotFound("There is no such conversation.")
        with self._lock, told():
            deleted, path = self._deleted(conversation_id), self._path(conversation_id)
            if not deleted.is_file():
                raise ConversationNotFound("It can no longer be brought back.")
            if path.exists():  # another window wrote it anew meanwhile
                back = replace(self._read(deleted), id=conversation_id)
                self._write(path, self._read(path).merged(back))
                deleted.unlink()
            else:
                deleted.rename(path)
        return self.read(conversation_id)

    def listing(self, wanted: str = "", limit: int = 200) -> Listing:
        """The newest conversations, those that contain the wanted text; and the files that are none."""
        lines: list[Found] = []
        damaged: list[str] = []
        for path in sorted(self._files(), reverse=True):
            try:
                found = self._found(path, wanted)
            except ConversationNotFound:
                continue  # deleted meanwhile
            except UserError:
                damaged.append(path.name)
                continue
            if found is not None:
                lines.append(found)
        lines.sort(key=lambda found: found.line.updated, reverse=True)
        return Listing(tuple(lines[:limit]), max(0, len(lines) - limit), tuple(damaged) + self._foreign())

    def _found(self, path: Path, wanted: str) -> Found | None:
        if wanted:
            return match(self._read(path), wanted)
        state = path.stat() if path.is_file() else None
        if state is None:
            raise ConversationNotFound("It was deleted.")
        known, stamp = self._lines.get(path.stem), (state.st_mtime_ns, state.st_size)
        if known is None or known[0] != stamp:
            known = self._lines[path.stem] = (stamp, line_of(self._read(path)))
        return Found(known[1])

    def _files(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.root):
                if entry.name.endswith(".json") and ID.fullmatch(entry.name.removesuffix(".json")):
                    yield Path(entry.path)

    def _foreign(self) -> tuple[str, ...]:
        """Names in the folder that are not ours; a leading dot means that they are not for show."""
        with contextlib.suppress(FileNotFoundError):
            ours = {path.name for path in self._files()}
            return tuple(sorted(name for name in os.listdir(self.root) if name not in ours and name[:1] != "."))
        return ()

    def _read(self, path: Path) -> Conversation:
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ConversationRefused(f"{path.name} is larger than {MAX_BYTES:,} bytes.")
            conversation = from_json(parsed(path.read_bytes()))
        except FileNotFoundError:
            raise ConversationNotFound("There is no such conversation; it may have been deleted.") from None
        except OSError as error:
            raise ConversationRefused(f"{path.name} cannot be read: {error.strerror}.") from None
        return replace(conversation, id=path.stem)  # the name of the file counts, as it may have been copied

    def _write(self, path: Path, conversation: Conversation) -> None:
        text = as_text(conversation)
        if len(text.encode("utf-8")) > MAX_BYTES:
            raise ConversationRefused(f"This conversation is larger than {MAX_BYTES:,} bytes; start a new one.")
        write_whole(path, text)

    def _known(self, conversation_id: object) -> str:
        is_id = isinstance(conversation_id, str) and ID.fullmatch(conversation_id)
        if not is_id or not self._path(str(conversation_id)).is_file():
            raise ConversationNotFound("There is no such conversation; it may have been deleted.")
        return str(conversation_id)

    def _forget_deleted(self) -> None:
        for entry in os.scandir(self.root):
            if DELETED.fullmatch(entry.name) and time.time() - entry.stat().st_mtime > UNDO_SECONDS:
                os.unlink(entry.path)

    def _path(self, conversation_id: str) -> Path:
        return self.root / f"{conversation_id}.json"

    def _deleted(self, conversation_id: str) -> Path:
        return self.root / f".deleted-{conversation_id}.json"

