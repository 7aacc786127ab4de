"""Which sets of labels make sense. No third-party imports."""

from collections.abc import Sequence

from llm_app.classify.types import Kind
from llm_app.errors import UserError

MAX_LABELS = 1_000
# Of "regression", the one label is the name of what is measured; one yes-or-no question is "multi" with one label.
_LEAST = {"single": 2}


def check_labels(labels: Sequence[str], kind: Kind = "single") -> tuple[str, ...]:
    """The labels without space around them.

    Raises: UserError if there are too few or too many of them, or two that are equal, or one that is empty.
    """
    found = tuple(label.strip() for label in labels)
    least = _LEAST.get(kind, 1)
    if len(found) < least:
        few = "No labels are given" if not found else f"There is only one label, {found[0]!r}"
        raise _wrong(f"{few}. Give at least {least}, separated by commas.")
    if len(found) > MAX_LABELS:
        raise _wrong(f"There are {len(found):,} labels; {MAX_LABELS:,} are the limit.")
    if kind == "regression" and len(found) > 1:
        raise _wrong(f"There are {len(found):,} labels, and a regression has one: the name of what it measures.")
    if "" in found:
        raise _wrong(f"Label {found.index('') + 1} is empty. Give every label a name.")
    if len(set(found)) < len(found):
        repeated = next(label for number, label in enumerate(found) if label in found[:number])
        raise _wrong(f"The label {repeated[:80]!r} is given twice. Give each label once.")
    return found


def threshold_of(given: float | None, kind: Kind, labels: Sequence[str]) -> float:
    """The threshold in effect, see `types.answer`; a half if none is given.

    Raises: UserError if it is no probability, or if this classifier has no use for one.
    """
    if given is None:
        return 0.5
    if not 0 <= given <= 1:  # also refuses NaN
        raise UserError(f"A threshold is a probability, from 0 to 1, not {given}.", param="threshold")
    if kind == "regression" or (kind == "single" and len(labels) != 2):
        raise UserError(
            "A threshold is for one of two labels, or for several labels a row: here the likeliest one, or the value,"
            " is the answer. Leave it out.", param="threshold",
        )
    return given


def _wrong(sentence: str) -> UserError:
    return UserError(sentence, param="labels")
