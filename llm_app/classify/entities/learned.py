"""Which sentences a tagger has seen, by their words alone; see `classify/learned.py`."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from llm_app.classify import learned as rows


def write_learned(folder: Path, sentences: Iterable[Sequence[str]]) -> None:
    """Write which sentences a tagger learned from, or was chosen by."""
    rows.write_learned(folder, map(_digest, sentences))


def n_among(learned: frozenset[str], sentences: Iterable[Sequence[str]]) -> int:
    """How many of these sentences are among those that were learned from."""
    return rows.n_among(learned, map(_digest, sentences)) if learned else 0


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(words).encode("utf-8", errors="surrogatepass")).hexdigest()
