"""Writing what is kept: whole or not at all, readable by its owner only."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from llm_app.errors import UserError


class KeepingFailed(UserError):
    """The disk is full or refuses; what is on the page is still there."""

    status, code = 507, "insufficient_storage"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part.

    Raises: KeepingFailed.
    """
    partial = None
    with told():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            if partial is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(partial)
            raise


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What the system says about a disk, said to a person."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise KeepingFailed("Not saved: there is no space left on the disk. Free some and try again.") from error
        raise KeepingFailed(f"Not saved: {error.strerror}.") from error
