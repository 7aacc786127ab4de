"""What one classifier said of the rows of a table, and what that comes to."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from eval.classification import Scores
from llm_app.classify.judged import Judged
from llm_app.classify.table import LabelledTable
from llm_app.classify.types import Kind, Prediction
from llm_app.web.classify.classifiers import Name


@dataclass(frozen=True)
class Answers:
    """A classifier on a table. `temperature`: what its logits were divided by, 1 where by nothing.

    `key`: by which it is found again among others on the table. `n_learned`: rows of the table that it was trained on,
    or chosen by.
    """

    name: Name
    table: LabelledTable
    judged: Judged
    temperature: float = 1.0
    is_baseline: bool = False
    key: str = ""
    n_learned: int = 0

    @property
    def kind(self) -> Kind:
        """What it predicts."""
        return self.judged.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the scores."""
        return self.judged.labels

    @property
    def scores(self) -> Scores | None:
        """All figures with their intervals; None where there are too few rows for any."""
        return self.judged.scores()

    @cached_property
    def scored(self) -> tuple[int, ...]:
        """Places of the rows that have both a prediction and a truth."""
        return tuple(self.judged.places)

    @property
    def n_done(self) -> int:
        """Rows with a prediction, or the reason why there is none."""
        return sum(row.outcome is not None for row in self.judged.rows)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """Of the scored rows, (n_rows, n_labels)."""
        found = [cast(Prediction, self.judged.rows[place].outcome).scores for place in self.scored]
        return np.array(found, dtype=np.float64).reshape(len(found), len(self.labels))

    def true_numbers(self, places: Sequence[int]) -> NDArray[np.int_]:
        """The true label of these rows as a column of `probabilities`; -1 for one that the classifier lacks."""
        number = {label: place for place, label in enumerate(self.labels)}
        return np.array([number.get(str(self.judged.rows[place].truth), -1) for place in places], dtype=int)
