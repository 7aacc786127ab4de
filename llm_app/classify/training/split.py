"""Rows to train on, to validate with and to test with: stratified, and decided by content and seed alone."""

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from llm_app.classify.table import item_digest, labels_of
from llm_app.classify.types import Item, Kind, Truth

N_QUANTILES = 10  # of a regression's values, which then count as labels


@dataclass(frozen=True)
class Split:
    """Places of the rows, in their order."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True)
class _Group:
    """Rows with the same text. `place`: how far into its stratum it stands, from 0 to 1."""

    digest: str
    rows: tuple[int, ...]
    stratum: str
    place: float = 0.0


def split(
    items: Sequence[Item], truths: Sequence[Truth], kind: Kind, *, validation: float, test: float, seed: int
) -> Split:
    """Three parts, each with about the same share of every label (of a regression: of every tenth of the values).

    Of n rows, round(share * n) are held back for a part, at least one, fewer where only larger groups of equal texts
    are left; something always stays to train on. Rows whose texts differ in case, width and spaces only stand in one
    part. The test part does not depend on the validation share.
    """
    left = _ordered(_groups(items, _strata(truths, kind)), seed)
    tested = _taken(left, test, len(items))
    validated = _taken(left, validation, len(items))
    return Split(tuple(sorted(row for group in left for row in group.rows)), validated, tested)


def _strata(truths: Sequence[Truth], kind: Kind) -> list[str]:
    """One name a row. Of several labels the rarest: the others are frequent enough to spread by themselves."""
    if kind == "regression":
        values = sorted(value for value in truths if isinstance(value, float))
        return [str(bisect_left(values, value) * N_QUANTILES // len(values)) for value in truths]
    if kind == "single":
        return [str(label) for label in truths]
    counts = Counter(label for truth in truths for label in labels_of(truth))
    return [min(labels_of(truth), key=lambda label: (counts[label], label), default="") for truth in truths]


def _groups(items: Sequence[Item], strata: Sequence[str]) -> list[_Group]:
    rows: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        rows.setdefault(item_digest(item), []).append(number)
    return [
        _Group(digest, tuple(numbers), _commonest([strata[number] for number in numbers]))
        for digest, numbers in rows.items()
    ]


def _commonest(names: Sequence[str]) -> str:
    counts = Counter(names)
    return min(counts, key=lambda name: (-counts[name], name))


def _ordered(groups: Sequence[_Group], seed: int) -> list[_Group]:
    """By how far into its stratum each stands: any stretch of this list holds the same share of all strata."""
    def drawn(group: _Group) -> str:
        return hashlib.sha256(f"{seed}:{group.digest}".encode()).hexdigest()

    strata: dict[str, list[_Group]] = {}
    for group in sorted(groups, key=drawn):
        strata.setdefault(group.stratum, []).append(group)
    placed: list[_Group] = []
    for members in strata.values():
        n_rows, n_before = sum(len(group.rows) for group in members), 0
        for group in members:
            place = (n_before + len(group.rows) / 2) / n_rows
            placed.append(_Group(group.digest, group.rows, group.stratum, place))
            n_before += len(group.rows)
    return sorted(placed, key=lambda group: (group.place, drawn(group)))


def _taken(left: list[_Group], share: float, n_rows: int) -> tuple[int, ...]:
    """The rows of about `share` of all, in groups that `left` loses from its beginning; at least one group stays."""
    if share == 0 or len(left) < 2:
        return ()
    n_left = sum(len(group.rows) for group in left)
    n_wanted = min(max(round(share * n_rows), 1), n_left - 1)
    taken: list[_Group] = []
    n_taken = 0
    for group in left:
        if n_taken + len(group.rows) <= n_wanted:
            taken.append(group)
            n_taken += len(group.rows)
    # All groups are larger than what is wanted: the smallest one is nearest to it.
    taken = taken or [min(left, key=lambda group: len(group.rows))]
    gone = {group.digest for group in taken}
    left[:] = [group for group in left if group.digest not in gone]
    return tuple(sorted(row for group in taken for row in group.rows))
