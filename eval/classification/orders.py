"""Which rows are worth a look first."""

from collections.abc import Sequence
from typing import Literal, get_args

Order = Literal["all", "errors", "confident errors", "least confident"]
ORDERS: tuple[Order, ...] = get_args(Order)


def ordered(order: Order, is_right: Sequence[bool | None], confidence: Sequence[float | None]) -> list[int]:
    """Places of the rows: all, or errors only, as they came; errors by confidence, falling; all by it, rising.

    `is_right` is None without a truth, `confidence` None without a prediction: such a row is no error, and stands in
    no order by confidence.
    """
    if order == "all":
        return list(range(len(is_right)))
    errors = [place for place, right in enumerate(is_right) if right is False]
    if order == "errors":
        return errors
    sure = {place: value for place, value in enumerate(confidence) if value is not None}
    if order == "confident errors":
        return sorted((place for place in errors if place in sure), key=lambda place: -sure[place])
    return sorted(sure, key=lambda place: sure[place])
