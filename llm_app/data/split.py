"""Training, validation and test examples: decided by content and seed alone, the same on every machine."""

import hashlib
import unicodedata
from collections.abc import Sequence

from llm_app.data.types import Example

Groups = dict[str, list[int]]  # what is asked -> the places of the examples that ask it


def split(
    examples: Sequence[Example], validation: float, test: float, seed: int
) -> tuple[list[Example], list[Example], list[Example]]:
    """Examples to train on, to validate with and to test with, each in the order given.

    Examples that ask the same (but for case, width and spaces) stand in one part, so that none is held back whose
    answer was learned. Of n examples, round(share * n) are held back for a part, fewer where only larger groups are
    left; one at least if share > 0 and a group is left besides; something always stays to train on. The test part is
    taken first: it is the same whatever the share for validation.
    """
    groups: Groups = {}
    for number, example in enumerate(examples):
        groups.setdefault(question_digest(example), []).append(number)
    order = sorted(groups, key=lambda digest: hashlib.sha256(f"{seed}:{digest}".encode()).digest())
    left = {digest: groups[digest] for digest in order}
    tested, validated = (_taken(left, share, len(examples)) for share in (test, validation))
    held = {*tested, *validated}
    train = [example for number, example in enumerate(examples) if number not in held]
    return train, [examples[number] for number in validated], [examples[number] for number in tested]


def _taken(left: Groups, share: float, n_examples: int) -> list[int]:
    """The places of about `share` of all examples, in groups that `left` loses; at least one group stays."""
    if share == 0 or len(left) < 2:
        return []
    n_wanted = min(max(round(share * n_examples), 1), sum(map(len, left.values())) - 1)
    taken: list[int] = []
    for digest in list(left):
        if len(taken) + len(left[digest]) <= n_wanted:
            taken += left.pop(digest)
    # All groups are larger than what is wanted: the smallest one is nearest to it.
    return sorted(taken or left.pop(min(left, key=lambda digest: len(left[digest]))))


def question_digest(example: Example) -> str:
    """SHA-256 of what the example asks first; the same for questions that differ in case, width and spaces only.

    Conversations that begin alike are one question: the later turns of the one may tell the answers of the other.
    """
    first = next((turn.content for turn in example.turns if turn.role == "user"), "")
    text = " ".join(unicodedata.normalize("NFKC", first or example.question() or example.text()).casefold().split())
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def digest_of(examples: Sequence[Example]) -> str:
    """SHA-256 of the examples in their order: what a run records of its split."""
    return hashlib.sha256("\n".join(example.digest() for example in examples).encode()).hexdigest()
