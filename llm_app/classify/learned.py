"""Which rows or sentences a model has seen: their digests lie beside its weights, since scores on those flatter."""

import json
from collections.abc import Iterable
from pathlib import Path

from llm_app.engine.weights import read_json
from llm_app.errors import ModelRejected

LEARNED = "learned.json"
MAX_BYTES = 200_000_000
N_DIGITS = 16  # of a digest in hex: two of a million rows are taken for one once in tens of millions of times


def write_learned(folder: Path, digests: Iterable[str]) -> None:
    """Write which rows a model learned from, or was chosen by; by their SHA-256 in hex."""
    text = json.dumps({"digests": sorted({digest[:N_DIGITS] for digest in digests})}, indent=0)
    (folder / LEARNED).write_text(text + "\n", encoding="utf-8")


def read_learned(folder: Path) -> frozenset[str]:
    """What `write_learned` wrote; nothing of a model that was trained elsewhere.

    Raises: ModelRejected if the file is damaged.
    """
    if not (folder / LEARNED).is_file():
        return frozenset()
    found = read_json(folder / LEARNED, max_bytes=MAX_BYTES).get("digests")
    if not isinstance(found, list) or not all(isinstance(digest, str) for digest in found):
        raise ModelRejected(f"{LEARNED} holds no list of digests.", param="model")
    return frozenset(found)


def n_among(learned: frozenset[str], digests: Iterable[str]) -> int:
    """How many rows with these digests are among those that were learned from."""
    return sum(digest[:N_DIGITS] in learned for digest in digests)
