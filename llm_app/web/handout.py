"""Places for files that a visitor downloads: in the temporary folder, from which gradio takes its own copy."""

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

KEEP_SECONDS = 600  # the first copy; gradio's own is the one that is downloaded


def new_place(name: str) -> Path:
    """Where a file of this name can be written; folders of before are removed."""
    root = Path(tempfile.gettempdir()) / "proofbench-exports"
    root.mkdir(mode=0o700, exist_ok=True)
    for old in root.iterdir():
        with suppress(FileNotFoundError):  # another export removed it
            if time.time() - old.stat().st_mtime > KEEP_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=root)) / name
