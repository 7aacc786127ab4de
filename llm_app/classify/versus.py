"""Two classifiers on one table: compared on the rows that both have answered."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llm_app.classify.judged import Judged
from llm_app.classify.table import labels_of
from llm_app.classify.types import Truth
from llm_app.errors import UserError

if TYPE_CHECKING:
    from eval.compare import Comparison


def versus(
    table: str, baseline: tuple[str, Judged], candidate: tuple[str, Judged]
) -> "tuple[Comparison, ...]":
    """A comparison a metric, the first being the one to go by; see `compare_classifiers`. Each side has its name.

    The sides may call the labels differently, such as 0 and 1 here, negative and positive there: the truths, which are
    those of one table, say which label is which.
    Raises: UserError if they predict different kinds of things or were told different truths, or if no row has a truth
    and both answers.
    """
    from eval.classification import compare_classifiers

    (first, before), (second, after) = baseline, candidate
    if before.kind != after.kind or len(before.rows) != len(after.rows):
        raise UserError("These two do not answer the same question, so that they cannot be compared.", param="run")
    places = sorted({*before.places} & {*after.places})
    if not places:
        raise UserError("No row has a truth and an answer of both, so that they cannot be compared.", param="run")
    renamed = _renaming(before, after)
    answers: Any = (
        [before.rows[place].answer for place in places], [renamed(after.rows[place].answer) for place in places],
    )  # fmt: skip
    truths: list[Any] = [before.rows[place].truth for place in places]
    return compare_classifiers(table, (first, second), answers, truths, before.kind)


def _renaming(before: Judged, after: Judged) -> Callable[[Any], Any]:
    """What one of `after` says, in the words of `before`. Raises: UserError if their truths differ in more than names.

    A label that is true of no row keeps its name, unless that is what another label is called over there.
    """
    ours: dict[str, str] = {}
    for theirs, own in zip(after.rows, before.rows, strict=True):
        pairs = list(zip(labels_of(theirs.truth), labels_of(own.truth), strict=False))
        if not _is_alike(theirs.truth, own.truth) or any(ours.setdefault(one, other) != other for one, other in pairs):
            raise _told_otherwise()
    taken = set(ours.values())
    if len(taken) < len(ours):
        raise _told_otherwise()
    for label in after.labels:
        ours.setdefault(label, f"{label} (of the other classifier)" if label in taken else label)

    def renamed(answer: Any) -> Any:
        if isinstance(answer, tuple):
            return tuple(ours[label] for label in answer)
        return ours[answer] if isinstance(answer, str) else answer

    return renamed


def _is_alike(one: Truth | None, other: Truth | None) -> bool:
    """Whether two truths are the same but for the names of their labels."""
    if isinstance(one, float) or isinstance(other, float):
        return one == other
    return type(one) is type(other) and len(labels_of(one)) == len(labels_of(other))


def _told_otherwise() -> UserError:
    return UserError("These two were told different truths, so that they cannot be compared.", param="run")
