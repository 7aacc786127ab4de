"""Predictions beside truths: what was answered, whether it is right, and what it comes to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from llm_app.classify.types import Kind, Outcome, Prediction, Truth, answer

if TYPE_CHECKING:
    from eval.classification import Scores

# By which one figure a run is known, and how to it is got cheaply.
FIRST_FIGURE: Mapping[Kind, str] = {"single": "accuracy", "multi": "subset_accuracy", "regression": "spearman"}


@dataclass(frozen=True)
class Row:
    """One item: what the classifier says, and what is true; None where there is none.

    `confidence`: of one label its probability; of several, of the least sure of the decisions; of a number None.
    """

    outcome: Outcome | None
    answer: Truth | None
    truth: Truth | None
    confidence: float | None

    @property
    def is_right(self) -> bool | None:
        """None where answer or truth is missing, and of numbers, which are near or far."""
        if self.answer is None or self.truth is None or isinstance(self.truth, float):
            return None
        if isinstance(self.truth, tuple) and isinstance(self.answer, tuple):
            return set(self.truth) == set(self.answer)
        return self.truth == self.answer


@dataclass(frozen=True)
class Judged:
    """The rows in the order of the items, and their scores; None if no row has both answer and truth.

    Left out of the scores: `n_unlabelled` items without a truth, and `n_unclassified` that have one but no answer.
    `threshold`: see `types.answer`.
    """

    kind: Kind
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    n_unlabelled: int
    n_unclassified: int
    threshold: float = 0.5

    @property
    def places(self) -> list[int]:
        """Rows that are scored."""
        return [place for place, row in enumerate(self.rows) if row.answer is not None and row.truth is not None]

    def probabilities(self) -> list[tuple[float, ...]]:
        """Of the rows that are scored, one a label."""
        return [cast(Prediction, self.rows[place].outcome).scores for place in self.places]

    def scores(self) -> "Scores | None":
        """All figures with their intervals, which takes a moment once; None where there is nothing to score."""
        return self._scores

    @cached_property
    def _scores(self) -> "Scores | None":
        from eval.classification import multi_scores, regression_scores, single_scores

        scored = [self.rows[place] for place in self.places]
        answers: list[Any] = [row.answer for row in scored]
        truths: list[Any] = [row.truth for row in scored]
        if not scored or (self.kind == "regression" and len(scored) < 2):
            return None
        if self.kind == "regression":
            return regression_scores(answers, truths)
        score = multi_scores if self.kind == "multi" else single_scores
        return score(answers, truths, self.labels, self.probabilities())

    def first_figure(self) -> tuple[str, float] | None:
        """The one figure by which the list of runs knows it, without an interval."""
        scored = [self.rows[place] for place in self.places]
        if self.kind != "regression":
            right = [row.is_right for row in scored]
            return (FIRST_FIGURE[self.kind], sum(map(bool, right)) / len(right)) if right else None
        from eval.metrics.sts.score import sts

        if len(scored) < 2:
            return None
        value = sts(*([float(cast(float, getattr(row, side))) for row in scored] for side in ("answer", "truth")))
        return (FIRST_FIGURE[self.kind], value["spearman"]) if value["spearman"] == value["spearman"] else None


def judge(
    kind: Kind, labels: Sequence[str], truths: Sequence[Truth | None], outcomes: Iterable[Outcome],
    threshold: float = 0.5,
) -> Judged:
    """The items beside what came of them; items of which nothing is known yet have no outcome."""
    found = {outcome.index: outcome for outcome in outcomes}
    rows = tuple(
        row_of(kind, labels, truth, found.get(place), threshold) for place, truth in enumerate(truths)
    )
    return judged_of(kind, labels, rows, threshold)


def judged_of(kind: Kind, labels: Sequence[str], rows: Sequence[Row], threshold: float = 0.5) -> Judged:
    """Rows that were judged one by one, in the order of the items."""
    n_unclassified = sum(row.truth is not None and row.answer is None for row in rows)
    n_unlabelled = sum(row.truth is None for row in rows)
    return Judged(kind, tuple(labels), tuple(rows), n_unlabelled, n_unclassified, threshold)


def row_of(
    kind: Kind, labels: Sequence[str], truth: Truth | None, outcome: Outcome | None, threshold: float = 0.5
) -> Row:
    """One item: what the classifier said of it beside what is true."""
    if not isinstance(outcome, Prediction):
        return Row(outcome, None, truth, None)
    said = answer(kind, labels, outcome.scores, threshold)
    return Row(outcome, said, truth, confidence_of(kind, labels, outcome.scores, said))


def confidence_of(kind: Kind, labels: Sequence[str], scores: Sequence[float], said: Truth) -> float | None:
    """How sure the classifier is of what it said; see `Row`."""
    if kind == "regression":
        return None
    if kind == "multi":
        return min(max(score, 1 - score) for score in scores)
    return scores[labels.index(str(said))]
