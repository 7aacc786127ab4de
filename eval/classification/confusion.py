"""Which label is taken for which, and the rows in which it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Confusion:
    """`counts[true][answer]`, in the order of `labels`; `rows`: (true, answer) -> places of the rows, where any."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    rows: Mapping[tuple[str, str], tuple[int, ...]]


def confusion(answers: Sequence[str | None], truths: Sequence[str | None], labels: Sequence[str]) -> Confusion:
    """The matrix over the rows that have both, with truths that `labels` lacks at its end."""
    pairs: dict[tuple[str, str], list[int]] = {}
    for place, (answer, truth) in enumerate(zip(answers, truths, strict=True)):
        if answer is not None and truth is not None:
            pairs.setdefault((truth, answer), []).append(place)
    names = tuple(dict.fromkeys([*labels, *(truth for truth, _ in pairs)]))
    counts = tuple(tuple(len(pairs.get((truth, answer), ())) for answer in names) for truth in names)
    return Confusion(names, counts, {pair: tuple(places) for pair, places in pairs.items()})
