"""One writer to a file. The lock ends with the process that holds it, so a kill leaves nothing to clean up."""

import os
import time
from pathlib import Path

from llm_app.errors import UserError

PATIENCE_SECONDS = 0.5  # whoever looks whether a file is locked has it for a moment
PAUSE_SECONDS = 0.02


def take(file: int) -> bool:
    """Hold the open file until it is closed; False if another holds it for more than a moment.

    Raises: UserError if the file system has no locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows: nothing guards against two at once
        return True
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(PAUSE_SECONDS)
        except OSError as error:
            raise UserError(
                f"The file system of the runs has no file locks ({error.strerror}), so two programs could write into"
                " one run. Set PROOFBENCH_HOME to a folder on a disk of this machine."
            ) from error


def is_held(path: Path) -> bool:
    """Whether somebody holds the file, in this process or another."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):  # no locks here, thus nobody who holds one
        return False
    finally:
        os.close(file)
    return False
