"""What is compiled for this processor: products with blocks, and passes through layers of them.

Numba compiles the functions of this package when it is first imported, some twenty-five seconds, and keeps what it
made in `NUMBA_CACHE_DIR`, beside the source or in the program's own folder: safe to delete. They compute on addresses
of torch's memory; `team` runs them on torch's own threads.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numba

_SOURCE = Path(__file__).parent


def _digest() -> str:
    """Of the whole package: Numba itself looks only at the file of a function, not at those it calls."""
    files = sorted(_SOURCE.glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _folders() -> Iterator[Path]:
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR)
    yield _SOURCE / "__pycache__"
    yield Path(os.environ.get("PROOFBENCH_HOME") or Path.home() / ".proofbench", "compiled")
    yield Path(tempfile.mkdtemp(prefix="proofbench-compiled-"))  # for this process alone: what others wrote is not run


def _kept_in() -> str:
    """The first folder that can be written to. One for each state of the source: none reads what another made."""
    for folder in _folders():
        kept = folder / _digest()
        try:
            kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(kept, os.W_OK | os.X_OK):
            return str(kept)
    raise OSError("What is compiled for this processor can be kept nowhere. Set NUMBA_CACHE_DIR to a folder of yours.")


numba.config.CACHE_DIR = _kept_in()
