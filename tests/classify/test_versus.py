"""Two classifiers that call the labels of one table differently are compared by what they mean."""

from collections.abc import Sequence

import pytest

from llm_app.classify.judged import Judged, judge
from llm_app.classify.types import Kind, Prediction, Truth
from llm_app.classify.versus import versus
from llm_app.errors import UserError

NUMBERS, NAMES = ("0", "1", "2"), ("negative", "positive", "neutral")
TRUE = (0, 1, 1, 0, 1, 0)


def judged(
    labels: tuple[str, ...], said: Sequence[int], truths: Sequence[Truth | None], kind: Kind = "single"
) -> Judged:
    sure = [
        Prediction(place, tuple(float(n == number) for n in range(len(labels)))) for place, number in enumerate(said)
    ]
    return judge(kind, labels, truths, sure)


def rates(baseline: Judged, candidate: Judged) -> list[tuple[float, float]]:
    return [
        (one.tasks[0].result.first, one.tasks[0].result.second)
        for one in versus("reviews", ("before", baseline), ("after", candidate))
    ]


@pytest.mark.parametrize("names", [NAMES, ("1", "0", "2")], ids=["names", "numbers the other way round"])
def test_labels_that_only_have_other_names_are_compared_by_what_they_mean(names: tuple[str, ...]) -> None:
    before, after = (1, 1, 1, 0, 0, 2), (0, 1, 1, 0, 1, 1)
    alike = [judged(NUMBERS, said, [NUMBERS[n] for n in TRUE]) for said in (before, after)]
    other = judged(names, after, [names[n] for n in TRUE])
    found = rates(alike[0], other)
    assert found[0] == (pytest.approx(3 / 6), pytest.approx(5 / 6))
    assert found == rates(*alike)


def test_several_labels_a_row_are_compared_by_what_they_mean() -> None:
    before, after = (
        judged(labels, TRUE, [(labels[n],) for n in TRUE], "multi") for labels in (NUMBERS, NAMES)
    )
    assert rates(before, after)[0] == (1.0, 1.0)


def test_a_label_that_is_true_of_no_row_is_not_taken_for_one_of_the_same_name() -> None:
    before = judged(("0", "1"), (0, 0, 0), ["0", "0", "0"])
    after = judged(("1", "0"), (1, 1, 1), ["1", "1", "1"])  # says what it calls 0, and 1 is what is true
    assert rates(before, after)[0] == (1.0, 0.0)


@pytest.mark.parametrize("others", [
    ["negative", "positive", "negative"], ["negative", "negative", "negative"], ["negative", "positive", None],
])  # fmt: skip
def test_truths_that_differ_in_more_than_names_cannot_be_compared(others: list[Truth | None]) -> None:
    with pytest.raises(UserError, match="different truths"):
        rates(judged(NUMBERS, (0, 1, 1), ["0", "1", "1"]), judged(NAMES, (0, 1, 1), others))
