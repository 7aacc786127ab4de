"""Precision, recall and F1 of one label at every threshold that its probability may have to reach."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class ThresholdCurve:
    """Columns side by side, thresholds rising: at each, rows that reach it are given the label."""

    thresholds: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]

    @property
    def best(self) -> int:
        """The place of the highest F1, the lowest threshold of equals."""
        return int(np.argmax(self.f1))

    def place_of(self, threshold: float) -> int | None:
        """Where the answers change last before this threshold; None above all of them, where no row gets the label."""
        place = int(np.searchsorted(self.thresholds, threshold, side="left"))
        return place if place < len(self.thresholds) else None


def threshold_curve(probabilities: ArrayLike, is_label: Sequence[bool]) -> ThresholdCurve:
    """The curve of one label. `probabilities`: that of the label, a row each.

    Raises: ValueError if no row has the label: there is no recall then.
    """
    from sklearn.metrics import precision_recall_curve

    if not any(is_label):
        raise ValueError("No row has the label, so that there is nothing to find.")
    precision, recall, thresholds = precision_recall_curve(np.asarray(is_label), np.asarray(probabilities))
    precision, recall = precision[:-1], recall[:-1]  # the last point belongs to no threshold
    sums = precision + recall
    f1 = np.divide(2 * precision * recall, sums, out=np.zeros_like(sums), where=sums > 0)
    return ThresholdCurve(*(tuple(column.tolist()) for column in (thresholds, precision, recall, f1)))
