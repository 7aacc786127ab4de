"""What is compiled for this processor: products with blocks, and passes of few tokens through layers of them.

Numba compiles the functions of this package when it is first imported, some ten seconds, and keeps what it made in
`NUMBA_CACHE_DIR`, or beside the source: safe to delete. They compute on addresses of torch's memory, in 32 bits unless
said otherwise; `team` runs them on torch's own threads.
"""

import hashlib
from pathlib import Path

import numba

_SOURCE = Path(__file__).parent


def _digest() -> str:
    """Of the whole package: Numba itself looks only at the file of a function, not at those it calls."""
    files = sorted(_SOURCE.glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


numba.config.CACHE_DIR = str(Path(numba.config.CACHE_DIR or _SOURCE / "__pycache__", _digest()))
