"""A file or folder that is there whole or not at all, and that takes nobody's place unasked."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from llm_app.errors import UserError


@contextlib.contextmanager
def new_path(path: Path, *, n_bytes: int = 0, replaces: bool = False) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder to; when the block ends well it becomes `path`.

    `n_bytes`: what will be written, if known; `replaces`: what stands at `path` makes room at the end.
    Raises: UserError if `path` exists already, or the disk is too small or cannot be written.
    """
    if not replaces:
        check_free(path)
    partial = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_room(path, n_bytes)
        yield partial
        _sync(partial)
        if replaces and path.exists():
            old = path.parent / f".{path.name}.{secrets.token_hex(4)}"
            path.rename(old)
            partial.rename(path)
            _remove(old)
        else:
            partial.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise _told(error, path) from error
    finally:
        _remove(partial)


def check_free(path: Path) -> None:
    """Raises: UserError if there is something at `path`; an empty folder is nothing."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path} exists already. Give another name, or remove it first.", param="output")


def check_allowed(path: Path, n_bytes: int, room: int | None) -> None:
    """Raises: UserError if this is more than the `room` that is left to whoever asks; None is no limit."""
    if room is not None and n_bytes > room:
        raise UserError(
            f"{path.name} takes {n_bytes / 1e6:,.0f} MB, and {room / 1e6:,.0f} MB are left of what you may keep here. "
            "Take the adapter alone, or delete runs.",
            param="form",
        )


def _check_room(path: Path, n_bytes: int) -> None:
    n_free = shutil.disk_usage(path.parent).free
    if n_bytes > n_free:
        raise UserError(
            f"{path.name} takes {n_bytes / 1e9:.1f} GB, and {n_free / 1e9:.1f} GB are free on its disk. "
            "Free some space, or give a folder on another disk.",
            param="output",
        )


def _sync(path: Path) -> None:
    """What was written must be on the disk before its name says that it is whole."""
    for file in [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]:
        file.chmod(0o644)  # safetensors writes for its owner alone
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    if path.is_dir():
        sync_folder(path)


def sync_folder(folder: Path) -> None:
    """Names are on the disk too; where a folder cannot be opened (Windows), the system does it in its own time."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _told(error: OSError, path: Path) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UserError(f"No space left on the disk for {path.name}. Free some, or give a folder on another disk.")
    return UserError(f"Cannot write to {path.parent}: {error.strerror or error}.", param="output")
