"""Hits, guesses and truths of each class, summed over rows: precision, recall and F1 in all their means.

Totals (..., 3 * n_classes) hold hits, predicted and true, a block each, as `class_counts` makes them of rows. Every
figure is a function of them, so that a resample costs a few additions.
"""

import numpy as np
from numpy.typing import NDArray

from eval.metrics.classification.score import class_counts
from eval.statistics.resampling import Array

AVERAGES = ("macro", "micro", "weighted")
FIGURES = ("precision", "recall", "f1")


def drawn_counts(
    truths: NDArray[np.int_], guesses: NDArray[np.int_], n_classes: int, *, n_resamples: int, seed: int
) -> tuple[Array, Array]:
    """Totals of the rows, and (n_resamples, 3 * n_classes) of as many rows drawn with replacement.

    What a row adds depends on its cell of the confusion matrix alone; so cells are drawn, not rows.
    """
    cells, sizes = np.unique(truths * n_classes + guesses, return_counts=True)
    true, guessed = np.divmod(cells, n_classes)
    rows = class_counts(guessed, true, n_classes)
    n = len(truths)
    draws = np.random.default_rng(seed).multinomial(n, sizes / n, size=n_resamples)
    return sizes @ rows, draws @ rows


def by_class(totals: Array) -> dict[str, Array]:
    """Precision, recall and F1 of each class, (..., n_classes); 0 where nothing can be divided."""
    hits, predicted, true = np.split(totals, 3, axis=-1)
    return {
        "precision": _ratio(hits, predicted), "recall": _ratio(hits, true), "f1": _ratio(2 * hits, predicted + true),
    }


def averaged(totals: Array, *, counts_absent: bool = False) -> dict[str, Array]:
    """`macro_precision` and the like. Macro: over the classes that occur, or over all of them.

    The first is scikit-learn's way with one class a row, the second with columns of several.
    """
    hits, predicted, true = np.split(totals, 3, axis=-1)
    occurs = (predicted + true > 0) | counts_absent
    each = by_class(totals)
    pooled = by_class(np.stack([part.sum(axis=-1) for part in (hits, predicted, true)], axis=-1))
    found: dict[str, Array] = {}
    for name in FIGURES:
        found[f"macro_{name}"] = _ratio((each[name] * occurs).sum(axis=-1), occurs.sum(axis=-1))
        found[f"micro_{name}"] = pooled[name][..., 0]
        found[f"weighted_{name}"] = _ratio((each[name] * true).sum(axis=-1), true.sum(axis=-1))
    return found


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)
