"""What is wrong with the entities of a sentence: missed, found where there is none, of another type, of other ends.

Source: the kinds of error of MUC-5 (Chinchor and Sundheim 1993, https://aclanthology.org/M93-1007): missing, spurious,
incorrect, partial.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from llm_app.data.conll import entities_of

Entity = tuple[int, int, str]  # first word, the one after the last, type
Fault = Literal["missed", "spurious", "type", "ends"]


@dataclass(frozen=True)
class WrongSpan:
    """One entity that is not as it should be. `truth` or `found` is None where there is none."""

    fault: Fault
    truth: Entity | None
    found: Entity | None


def wrong_spans(truth: Sequence[str], found: Sequence[str]) -> list[WrongSpan]:
    """All that keeps tags in BIO from being the true ones, in the order of the sentence; each entity stands once."""
    true, said = entities_of(truth), entities_of(found)
    missed = [one for one in true if one not in said]
    spurious = [one for one in said if one not in true]
    wrong = _paired("type", missed, spurious, lambda one, other: one[:2] == other[:2])
    wrong += _paired("ends", missed, spurious, _overlap)
    wrong += [WrongSpan("missed", one, None) for one in missed]
    wrong += [WrongSpan("spurious", None, one) for one in spurious]
    return sorted(wrong, key=lambda one: min(entity for entity in (one.truth, one.found) if entity is not None))


def _overlap(one: Entity, other: Entity) -> bool:
    return one[2] == other[2] and one[0] < other[1] and other[0] < one[1]


def _paired(
    fault: Fault, missed: list[Entity], spurious: list[Entity], is_same: Callable[[Entity, Entity], bool]
) -> list[WrongSpan]:
    """Takes the pairs out of both lists."""
    pairs = []
    for one in list(missed):
        other = next((other for other in spurious if is_same(one, other)), None)
        if other is not None:
            missed.remove(one)
            spurious.remove(other)
            pairs.append(WrongSpan(fault, one, other))
    return pairs
