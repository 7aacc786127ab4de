"""Two classifiers on one table: compared on the rows that both have answered."""

from typing import TYPE_CHECKING, Any

from llm_app.classify.judged import Judged
from llm_app.errors import UserError

if TYPE_CHECKING:
    from eval.compare import Comparison


def versus(
    table: str, baseline: tuple[str, Judged], candidate: tuple[str, Judged]
) -> "tuple[Comparison, ...]":
    """A comparison a metric, the first being the one to go by; see `compare_classifiers`. Each side has its name.

    Raises: UserError if they predict different kinds of things, or no row has a truth and both answers.
    """
    from eval.classification import compare_classifiers

    (first, before), (second, after) = baseline, candidate
    if before.kind != after.kind or len(before.rows) != len(after.rows):
        raise UserError("These two do not answer the same question, so that they cannot be compared.", param="run")
    places = sorted({*before.places} & {*after.places})
    if not places:
        raise UserError("No row has a truth and an answer of both, so that they cannot be compared.", param="run")
    answers: Any = tuple([one.rows[place].answer for place in places] for one in (before, after))
    truths: list[Any] = [before.rows[place].truth for place in places]
    return compare_classifiers(table, (first, second), answers, truths, before.kind)
