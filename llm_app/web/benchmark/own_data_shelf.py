"""Where a person's own tasks are kept: a folder each, with the data and the task file that describes it.

A task that is being made is a folder as well, under a name that no task can have.
"""

import re
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from eval.tasks.own_file import read_task_file
from eval.tasks.own_rows import DELIMITERS, LINES, Row, read_rows
from eval.types import EvaluationError
from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.jobs.store import RunStore
from llm_app.jobs.sweeping import VISITOR_SECONDS, changed, sweep

MEGABYTE = 1 << 20
DRAFT, DELETED = ".draft-", ".deleted-"
CHECK = ".check-"  # a task file that is being tried out, in the folder of its draft
DRAFT_SECONDS = 3 * 3_600  # a draft that nobody touched for so long is thrown away
VISITORS_BYTES = 500 * MEGABYTE  # of all visitors of a public page together
SHOWN_ROWS = 5
MAX_COLUMNS = 200
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Limits:
    """How much one owner may keep."""

    n_tasks: int
    file_bytes: int


PRIVATE, PUBLIC = Limits(500, 20 * MEGABYTE), Limits(10, 2 * MEGABYTE)


@dataclass(frozen=True)
class Draft:
    """A data file that was read: what it has, and where it waits to become a task."""

    folder: Path
    data: str  # name of the file
    columns: tuple[str, ...]
    n_rows: int
    head: tuple[Row, ...]


@dataclass(frozen=True)
class Kept:
    """A task of the person's own."""

    name: str
    kind: str
    path: Path  # the task file
    data: str
    n_bytes: int


class TaskShelf:
    """The tasks of one owner; those of others cannot even be named."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self.root, self._limits = root, limits

    @classmethod
    def of(cls, settings: Settings, visitor: str | None) -> "TaskShelf":
        """The shelf of this machine; on a public page, the visitor's own."""
        owner = RunStore.of(settings, visitor).owner
        if owner is None:
            return cls(settings.home / "tasks", PRIVATE)
        return cls(settings.home / "visitor-tasks" / owner, PUBLIC)

    def draft(self, name: str, upload: Path) -> Draft:
        """Take an uploaded file in, and read it.

        Raises: UserError for a file that is too large or of another kind, EvaluationError naming the line at fault.
        """
        self._sweep()
        limit = self._limits.file_bytes
        if upload.stat().st_size > limit:
            size = upload.stat().st_size / MEGABYTE
            raise UserError(f"{name[:80]} has {size:.1f} MB; {limit // MEGABYTE} MB is the limit here.", param="data")
        data = _safe(name)
        folder = self.root / f"{DRAFT}{secrets.token_hex(8)}"
        try:
            folder.mkdir(parents=True)
            shutil.copyfile(upload, folder / data)
            return _read(folder, data)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise UserError(f"{data} could not be kept: {error.strerror}. Make room on the disk.") from error
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def keep(self, draft: Draft, name: str, text: str) -> Path:
        """The draft as a task; gives the path of its task file.

        Raises: UserError if there is such a task, too many, or the draft is gone; EvaluationError for a bad text.
        """
        if not draft.folder.is_dir():
            raise UserError("The uploaded file is no longer here. Upload it again.", param="data")
        if len(self.kept()) >= self._limits.n_tasks:
            raise UserError(f"You keep {self._limits.n_tasks} tasks, which is the limit. Delete one first.")
        if not NAME.fullmatch(name):
            raise UserError("A name has 1 to 64 letters, digits, dots, dashes and underscores.", param="name")
        file = draft.folder / f"{name}.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            read_task_file(file)
            target = self.root / name
            if target.exists():
                raise UserError(f"There is a task {name} already. Choose another name, or delete that one.")
            draft.folder.rename(target)
            for left in target.glob(f"{CHECK}*"):
                left.unlink(missing_ok=True)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return target / file.name

    def kept(self) -> list[Kept]:
        """All tasks, by name; a folder that is no task is left out."""
        if not self.root.is_dir():
            return []
        found = []
        for folder in sorted(self.root.iterdir(), key=lambda path: path.name.lower()):
            path = folder / f"{folder.name}.yaml"
            if folder.name.startswith(".") or not path.is_file():
                continue
            with suppress(EvaluationError, OSError):
                file = read_task_file(path)
                n_bytes = (folder / file.data).stat().st_size
                found.append(Kept(folder.name, file.kind, path, file.data, n_bytes))
        return found

    def find(self, name: object) -> Kept:
        """Raises: UserError if there is no such task."""
        for kept in self.kept():
            if kept.name == name:
                return kept
        raise UserError(f"There is no task {str(name)[:64]} here any more.", param="task")

    def delete(self, name: object) -> str:
        """Take a task away; `restore` brings it back as long as nothing else was deleted. Gives its name."""
        kept = self.find(name)
        self._forget_deleted()
        kept.path.parent.rename(self.root / f"{DELETED}{kept.name}")
        return kept.name

    def restore(self) -> str:
        """Bring back what was deleted last. Raises: UserError if there is nothing, or its place is taken."""
        for folder in self.root.glob(f"{DELETED}*") if self.root.is_dir() else ():
            name = folder.name.removeprefix(DELETED)
            if (self.root / name).exists():
                raise UserError(f"There is another task {name} by now. Delete that one first.")
            folder.rename(self.root / name)
            return name
        raise UserError("There is nothing to bring back.")

    def _forget_deleted(self) -> None:
        for folder in self.root.glob(f"{DELETED}*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Throw away drafts that were left, of an owner with a limit all but the newest few, and what visitors left."""
        if self._limits == PUBLIC and self.root.parent.is_dir():
            sweep(self.root.parent, VISITOR_SECONDS, VISITORS_BYTES)
        drafts = sorted(self.root.glob(f"{DRAFT}*"), key=changed, reverse=True) if self.root.is_dir() else []
        for n, folder in enumerate(drafts):
            if n >= self._limits.n_tasks or time.time() - changed(folder) > DRAFT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _safe(name: str) -> str:
    """A name of a file without folders and signs of the shell.

    Raises: UserError for a kind of file that is not read.
    """
    base = Path(name.replace("\\", "/")).name
    suffix = Path(base).suffix.lower()
    if suffix not in (*LINES, *DELIMITERS):
        raise UserError(f"{base[:80]}: data files end in {', '.join((*LINES, *DELIMITERS))}.", param="data")
    stem = _UNSAFE.sub("_", Path(base).stem).strip("._-")[:60]
    return f"{stem or 'data'}{suffix}"


def _read(folder: Path, data: str) -> Draft:
    rows = read_rows(folder / data)
    if not rows:
        raise EvaluationError(f"{data} has no rows.")
    columns: Mapping[str, None] = dict.fromkeys(column for row in rows for column in row.cells)
    if len(columns) > MAX_COLUMNS:
        raise EvaluationError(f"{data} has {len(columns):,} columns; at most {MAX_COLUMNS} are read.")
    head = [row for row in rows if not row.problem][:SHOWN_ROWS]
    return Draft(folder, data, tuple(columns), len(rows), tuple(head))
