"""A run is a folder: `spec.json` says what, `events.jsonl` holds what came of it, a line an event.

The folder is all that there is: a reload, a restart or a kill loses at most the line that was being written.
"""

import errno
import json
import os
import re
import secrets
import string
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llm_app.errors import UserError

ID = re.compile(r"[a-z0-9]{12}")
SYNC_SECONDS = 1.0  # what a power cut may lose; a kill loses nothing that was written
BLOCK = 1 << 16  # read at a time, from the end, to find the last whole line
Spec = Mapping[str, Any]


class RunFolder:
    """One run on disk. Only one process at a time may append."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._synced = 0.0

    @classmethod
    def create(cls, root: Path, spec: Spec) -> "RunFolder":
        """A new folder under `root`, with an id of its own making."""
        alphabet = string.ascii_lowercase + string.digits
        run_id = "".join(secrets.choice(alphabet) for _ in range(12))
        try:
            root.mkdir(parents=True, exist_ok=True)
            (root / run_id).mkdir()
        except OSError as error:
            raise _told(error, root) from error
        folder = cls(root / run_id)
        folder.write("spec.json", json.dumps({"id": run_id, **spec}, indent=2, ensure_ascii=False, allow_nan=False))
        return folder

    @classmethod
    def open(cls, root: Path, run_id: str) -> "RunFolder":
        """Raises: UserError if there is no such run. The id never leads out of `root`."""
        if not ID.fullmatch(run_id) or not (root / run_id / "spec.json").is_file():
            raise UserError(f"There is no run {run_id!r} here.", param="run")
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
        except (OSError, ValueError) as error:
            raise UserError(f"Run {self.id} has no readable spec.json; start a new run.", param="run") from error
        return dict(spec)

    def events(self) -> list[dict[str, Any]]:
        """What was written, without a torn last line."""
        try:
            data = (self.path / "events.jsonl").read_bytes()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def __enter__(self) -> "RunFolder":
        """Take the right to append, and cut a line that a kill tore.

        Raises: UserError if another process has it.
        """
        try:
            self._file = os.open(self.path / "events.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            _lock(self._file, self.id)
            self._cut()
        except OSError as error:
            self._close()
            raise _told(error, self.path) from error
        except UserError:
            self._close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            os.fsync(self._file)
        self._close()

    def append(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Add lines; when this returns, a kill does not lose them.

        Raises: UserError when the disk is full or gone. The run can be resumed.
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
            raise _told(error, self.path) from error

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
        raise _told(error, path.parent) from error
    return path


def _lock(file: int, run_id: str) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: nothing guards against two at once
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"Run {run_id} is under way in another process. Wait until it ends, or stop it.") from None


def _told(error: OSError, path: Path) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UserError(f"No space left in {path}. The run is paused; free some space and resume it.")
    return UserError(f"Cannot write to {path}: {error.strerror}.")
