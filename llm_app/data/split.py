"""Training and validation examples: decided by content and seed alone, the same on every machine."""

import hashlib
import unicodedata
from collections.abc import Sequence

from llm_app.data.types import Example


def split(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Examples to train on and those held back, each in the order given.

    Examples that ask the same (but for case, width and spaces) stand on one side, so that none is held back whose
    answer was learned. Held back are round(share * n) examples, fewer where only larger groups are left; one example
    at least if there are two groups and share > 0; never all.
    """
    groups: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        groups.setdefault(question_digest(example), []).append(number)
    n_wanted = min(round(share * len(examples)), len(examples) - 1)
    if share > 0 and len(groups) > 1:
        n_wanted = max(n_wanted, 1)
    order = sorted(groups, key=lambda digest: hashlib.sha256(f"{seed}:{digest}".encode()).digest())
    held: set[int] = set()
    for digest in order:
        if len(held) + len(groups[digest]) <= n_wanted:
            held.update(groups[digest])
    if not held and n_wanted > 0 and len(groups) > 1:
        # All groups are larger than what is wanted: the smallest one is nearest to it.
        held.update(groups[min(order, key=lambda digest: len(groups[digest]))])
    train = [example for number, example in enumerate(examples) if number not in held]
    return train, [examples[number] for number in sorted(held)]


def question_digest(example: Example) -> str:
    """SHA-256 of what the example asks; the same for questions that differ in case, width and spaces only."""
    text = " ".join(unicodedata.normalize("NFKC", example.question()).casefold().split())
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def digest_of(examples: Sequence[Example]) -> str:
    """SHA-256 of the examples in their order: what a run records of its split."""
    return hashlib.sha256("\n".join(example.digest() for example in examples).encode()).hexdigest()
