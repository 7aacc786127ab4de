"""A run is a folder: `spec.json` says what, `events.jsonl` holds what came of it, a line an event.

The folder is all that there is: a reload, a restart or a kill loses at most the line that was being written. Who
appends holds a lock on the log, which ends with its process: a run without one is not under way, whatever it says.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import string
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from llm_app.errors import UserError
from llm_app.jobs import lock

ID = re.compile(r"[a-z0-9]{12}")
DIGITS = string.digits + string.ascii_lowercase  # in the order in which names are sorted
NEW = ".new-"  # a folder of this name holds a run that is being made
EVENTS, RESERVE = "events.jsonl", ".reserve"
RESERVE_BYTES = 4096  # given back when the disk is full, so that the run can still say so
SYNC_SECONDS = 1.0  # what a power cut may lose; a kill loses nothing that was written
BLOCK = 1 << 16  # read at a time, from the end, to find the last whole line
Spec = Mapping[str, Any]
End = Literal["done", "cancelled", "interrupted", "paused", "failed"]


class RunNotFound(UserError):
    """No run of that name, or not this visitor's."""

    status, code = 404, "run_not_found"


class RunIsRunning(UserError):
    """Somebody appends to it, or is about to."""

    status, code = 409, "run_is_running"


class NoSpace(UserError):
    """The disk is full. What was written stays, and the run can be resumed."""

    status, code = 507, "insufficient_storage"


class RunFolder:
    """One run on disk. Only one process at a time may append."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._synced = 0.0

    @classmethod
    def create(cls, root: Path, spec: Spec) -> "RunFolder":
        """A new folder under `root`, with an id of its own making. Sorted by name, runs are sorted by age."""
        while True:
            run_id = new_id()
            made = None
            try:
                root.mkdir(parents=True, exist_ok=True)
                made = Path(tempfile.mkdtemp(prefix=NEW, dir=root))
                made.chmod(0o755)
                text = json.dumps({"id": run_id, **spec}, indent=2, ensure_ascii=False, allow_nan=False)
                write_whole(made / "spec.json", text)
                made.rename(root / run_id)  # it is there whole, or not at all
                return cls(root / run_id)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not root.is_dir():
                    raise told(error, root) from error
            finally:
                if made is not None:
                    shutil.rmtree(made, ignore_errors=True)

    @classmethod
    def open(cls, root: Path, run_id: str) -> "RunFolder":
        """Raises: RunNotFound if there is no such run. The id never leads out of `root`."""
        if not ID.fullmatch(run_id) or not (root / run_id / "spec.json").is_file():
            raise RunNotFound(f"There is no run {run_id!r} here.", param="run")
        return cls(root / run_id)

    @property
    def id(self) -> str:
        """Twelve letters and digits."""
        return self.path.name

    def spec(self) -> dict[str, Any]:
        """What the run is.

        Raises: UserError if the file is damaged.
        """
        try:
            spec = json.loads((self.path / "spec.json").read_text(encoding="utf-8"))
            return dict(spec.items())
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(f"Run {self.id} has no readable spec.json; start a new run.", param="run") from error

    def events(self) -> list[dict[str, Any]]:
        """What was written, without a torn last line.

        Raises: UserError if another line is damaged.
        """
        try:
            data = (self.path / EVENTS).read_bytes()
        except FileNotFoundError:
            return []
        events = []
        for number, line in enumerate(data[: data.rfind(b"\n") + 1].split(b"\n")[:-1], start=1):
            event = read_event(line)
            if event is None:
                raise UserError(
                    f"Line {number} of run {self.id} is damaged. `python -m llm_app doctor --repair` sets it aside.",
                    param="run",
                )
            events.append(event)
        return events

    def tail(self) -> Iterator[dict[str, Any]]:
        """Events from the newest back, as far as a block at the end of the log holds them; damaged ones left out."""
        try:
            with (self.path / EVENTS).open("rb") as file:
                start = end = file.seek(0, os.SEEK_END)
                n_bytes, lines = BLOCK, [b""]
                while start > 0 and len(lines) < 2:
                    start = file.seek(max(0, end - n_bytes))
                    data = file.read(end - start)
                    # What stands before the first line end may be the rest of a longer line.
                    lines = data[: data.rfind(b"\n") + 1].split(b"\n")[start > 0 :]
                    n_bytes *= 8
        except FileNotFoundError:
            return
        for line in reversed(lines[:-1]):
            event = read_event(line)
            if event is not None:
                yield event

    def is_locked(self) -> bool:
        """Whether somebody is appending to it, in this process or another."""
        return lock.is_held(self.path / EVENTS)

    def fileno(self) -> int:
        """The open log, once entered: a process that is handed it holds the lock too."""
        assert self._file is not None, "enter the folder first"
        return self._file

    def __enter__(self) -> "RunFolder":
        """Take the right to append, and cut a line that a kill tore.

        Raises: RunIsRunning if another has it, RunNotFound if the run was deleted.
        """
        try:
            self._file = os.open(self.path / EVENTS, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            is_mine = lock.take(self._file)
            # It may have been deleted or repaired meanwhile.
            if not is_mine or not os.path.samestat(os.fstat(self._file), os.stat(self.path / EVENTS)):
                raise RunIsRunning(
                    f"Run {self.id} is under way in another process. Wait until it ends, or stop it.", param="run"
                )
            self._cut()
            (self.path / RESERVE).write_bytes(bytes(RESERVE_BYTES))
        except FileNotFoundError:
            self._close()
            raise RunNotFound(f"Run {self.id} was deleted.", param="run") from None
        except OSError as error:
            self._close()
            raise told(error, self.path) from error
        except UserError:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            if self._file is not None:
                os.fsync(self._file)
        except OSError as error:
            if kind is None:  # else that is the reason to be told
                raise told(error, self.path) from error
        finally:
            with contextlib.suppress(OSError):
                (self.path / RESERVE).unlink(missing_ok=True)
            self._close()

    def end(self, status: End, **fields: Any) -> None:
        """Append how it ended, on a full disk into the room that was kept for this."""
        (self.path / RESERVE).unlink(missing_ok=True)
        self.append([{"type": "end", "status": status, **fields}])

    def append(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Add lines; when this returns, a kill does not lose them.

        Raises: NoSpace when the disk is full, UserError when it is gone. The run can be resumed.
        """
        assert self._file is not None, "enter the folder before appending"
        lines = "".join(json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n" for event in events)
        data = lines.encode("utf-8", errors="surrogatepass")
        try:
            while data:
                data = data[os.write(self._file, data) :]
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            self._cut()
            raise told(error, self.path) from error

    def write(self, name: str, text: str) -> Path:
        """Write a file of the run: it is there whole, or as it was before."""
        return write_whole(self.path / name, text)

    def _cut(self) -> None:
        assert self._file is not None
        end = os.fstat(self._file).st_size
        keep = start = end
        while start > 0:
            start = max(0, keep - BLOCK)
            newline = os.pread(self._file, keep - start, start).rfind(b"\n")
            if newline >= 0:
                keep = start + newline + 1
                break
            keep = start
        if keep < end:
            os.ftruncate(self._file, keep)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def write_whole(path: Path, text: str) -> Path:
    """Write a file so that a reader sees the old one or the new one, never a part.

    Raises: UserError when the disk is full or cannot be written.
    """
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except OSError as error:
        if partial is not None and os.path.exists(partial):
            os.unlink(partial)
        raise told(error, path.parent) from error
    return path


def new_id() -> str:
    """Eight digits of the time in milliseconds, to the base 36, and four by chance."""
    milliseconds, digits = time.time_ns() // 1_000_000, ""
    for _ in range(8):
        milliseconds, digit = divmod(milliseconds, 36)
        digits = DIGITS[digit] + digits
    return digits + "".join(secrets.choice(DIGITS) for _ in range(4))


def read_event(line: bytes) -> dict[str, Any] | None:
    """The event of a line, or None if it is damaged."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def told(error: OSError, path: Path) -> UserError:
    """What the person can do about a disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return NoSpace("No space left on the disk. The run is paused; free some space and resume it.")
    return UserError(f"Cannot write to {path}: {error.strerror}.")
