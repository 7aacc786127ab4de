"""What visitors of a public page left behind, who may never come again."""

import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

OWNER = re.compile(r"[0-9a-f]{32}")  # the name of a visitor's folder; nothing beside those is touched
VISITOR_SECONDS = 30 * 86_400.0  # what nobody touched for so long is nobody's any more


def remove_folder(folder: Path) -> None:
    """Remove what is nobody's any more; what cannot be removed stays."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(visitors: Path, seconds: float, n_bytes: int, remove: Callable[[Path], None] = remove_folder) -> None:
    """Throw away what nobody touched for so long, then the oldest until the rest is no larger than that.

    `visitors`: a folder for each owner, with a folder for each thing that is kept. Owners of nothing go too. What
    `remove` leaves alone, since it is in use, counts.
    """
    owners = [folder for folder in visitors.glob("*") if OWNER.fullmatch(folder.name)]
    # Where nothing was put for so long: to another one, something may be about to be added.
    quiet = [owner for owner in owners if time.time() - changed(owner) > seconds]
    kept = 0
    for folder in sorted((path for owner in owners for path in owner.glob("*")), key=changed, reverse=True):
        if not folder.exists():  # a run that got its name just now, or that another swept
            continue
        kept += _size(folder)
        if time.time() - changed(folder) > seconds or kept > n_bytes:
            remove(folder)
    for owner in quiet:
        with suppress(OSError):  # it holds something, or is gone already
            owner.rmdir()


def changed(folder: Path) -> float:
    """When something was put there; 0 if it is gone."""
    try:
        return folder.stat().st_mtime
    except OSError:  # another handler swept it
        return 0.0


def _size(folder: Path) -> int:
    n_bytes = 0
    for parent, _, names in os.walk(folder):  # which leaves out what vanishes meanwhile
        for name in names:
            with suppress(OSError):
                n_bytes += os.lstat(os.path.join(parent, name)).st_size
    return n_bytes
