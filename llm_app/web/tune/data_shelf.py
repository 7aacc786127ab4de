"""Where uploaded training data is kept: by its content, so that a run finds again what it was started with."""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_app.config import Settings
from llm_app.data.read import KINDS
from llm_app.errors import UserError
from llm_app.jobs.store import RunStore
from llm_app.jobs.sweeping import changed, sweep

MEGABYTE = 1 << 20
MAX_FILES = 20  # of one upload: data files, and a dataset_info.json that describes them
INFO = "dataset_info.json"
_UNSAFE = re.compile(r"[^\w.-]+")
_KEY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Limits:
    """How much one owner may keep. `seconds`: what is older makes room for new data, None never."""

    upload_bytes: int
    n_uploads: int
    seconds: float | None


PRIVATE = Limits(20 * MEGABYTE, 10_000, None)  # gradio takes no larger upload; larger files are given by their path
PUBLIC = Limits(2 * MEGABYTE, 10, 6 * 3_600.0)
VISITORS = "visitor-data-sets"
VISITORS_BYTES = 500 * MEGABYTE  # of all visitors together


class DataShelf:
    """The uploads of one owner; those of others cannot even be named."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self.root, self.limits = root, limits

    @classmethod
    def of(cls, settings: Settings, visitor: str | None) -> "DataShelf":
        """The shelf of this machine; on a public page, the visitor's own."""
        owner = RunStore.of(settings, visitor).owner
        if owner is None:
            return cls(settings.home / "data-sets", PRIVATE)
        return cls(settings.home / VISITORS / owner, PUBLIC)

    def keep(self, uploads: Sequence[Path]) -> list[Path]:
        """Take files of one upload in; gives their places, all in one folder. The same files get the same places.

        Raises: UserError for too much, for names of no data, or a disk that does not take them.
        """
        names = [_safe(upload.name) for upload in uploads]
        if not 0 < len(names) <= MAX_FILES or len(set(names)) < len(names):
            raise UserError(f"Upload 1 to {MAX_FILES} files at once, each under a name of its own.", param="data")
        n_bytes = sum(upload.stat().st_size for upload in uploads)
        if n_bytes > self.limits.upload_bytes:
            limit = self.limits.upload_bytes // MEGABYTE
            size = n_bytes / MEGABYTE
            raise UserError(f"These files have {size:.1f} MB; {limit} MB is the limit here.", param="data")
        try:
            self.make_room(n_new=1)
            folder = self.root / _key(uploads, names)
            if not folder.is_dir():
                self._place(uploads, names, folder)
            os.utime(folder)
        except OSError as error:
            raise UserError(f"The files could not be kept: {error.strerror}. Make room on the disk.") from error
        return [folder / name for name in names]

    def keep_text(self, name: str, text: str) -> Path:
        """Take in what was written here, as if it had been uploaded under this name. Raises: as `keep`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            return self.keep([path])[0]

    def make_room(self, n_new: int = 0) -> None:
        """The folder is there with room for new uploads; what is too old or too much in it, or beside it, is not."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._sweep(self.limits.n_uploads - n_new)
        if self.limits.seconds is not None:
            sweep(self.root.parent, self.limits.seconds, VISITORS_BYTES)
            self.root.mkdir(exist_ok=True)

    def drop(self, path: Path) -> None:
        """Let go of the upload that this file of this shelf is of."""
        if self.holds(path):
            shutil.rmtree(path.parent, ignore_errors=True)

    def holds(self, path: Path) -> bool:
        """Whether this is a file of this shelf."""
        return path.parent.parent == self.root and bool(_KEY.fullmatch(path.parent.name)) and path.is_file()

    def _place(self, uploads: Sequence[Path], names: Sequence[str], folder: Path) -> None:
        """The folder is there whole, or not at all."""
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
        try:
            for upload, name in zip(uploads, names, strict=True):
                shutil.copyfile(upload, made / name)
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another window uploaded the same
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _sweep(self, n_most: int) -> None:
        """Make room: of an owner with a limit, the oldest go first."""
        folders = [path for path in self.root.iterdir() if _KEY.fullmatch(path.name)]
        newest = sorted(folders, key=changed, reverse=True)
        for n, folder in enumerate(newest):
            is_old = self.limits.seconds is not None and time.time() - changed(folder) > self.limits.seconds
            if is_old or n >= n_most:
                shutil.rmtree(folder, ignore_errors=True)


def _key(uploads: Sequence[Path], names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name, upload in sorted(zip(names, uploads, strict=True)):
        with upload.open("rb") as file:
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()[:16]


def _safe(name: str) -> str:
    """A name of a file without folders and signs of the shell.

    Raises: UserError for a kind of file that is not read.
    """
    base = Path(name.replace("\\", "/")).name
    suffix = Path(base).suffix.lower()
    if suffix not in KINDS:
        raise UserError(f"{base[:80]}: data files end in {', '.join(KINDS)}.", param="data")
    stem = _UNSAFE.sub("_", Path(base).stem).strip("._-")[:60]
    return f"{stem or 'data'}{suffix}"
