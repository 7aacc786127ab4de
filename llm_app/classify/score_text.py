"""Scores as a terminal shows them: a line a figure, a column a classifier, each with its 95 % interval."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from llm_app.classify.versus import versus

if TYPE_CHECKING:
    from eval.classification import Scores
    from eval.statistics import Interval
    from llm_app.classify.judged import Judged

NAMES = {
    "accuracy": "accuracy", "subset_accuracy": "accuracy of whole rows", "mcc": "MCC", "log_loss": "log-loss",
    "roc_auc": "ROC-AUC", "ece": "calibration error", "hamming_loss": "Hamming loss", "samples_f1": "F1 of a row",
    "pearson": "Pearson", "spearman": "Spearman", "mae": "mean absolute error", "rmse": "RMSE",
}  # fmt: skip


def name_of(figure: str) -> str:
    """What a figure is called: `macro_f1` is macro F1."""
    return NAMES.get(figure, figure.replace("_f1", " F1").replace("_", " "))


def scores_text(found: Mapping[str, "Scores"]) -> str:
    """Classifiers by name, side by side; a dash where one has no such figure."""
    names = list(dict.fromkeys(name for scores in found.values() for name in scores.figures))
    rows = [["", *found]]
    rows += [[name_of(name), *(_shown(scores.figures.get(name)) for scores in found.values())] for name in names]
    return _aligned(rows)


def classes_text(scores: "Scores") -> str:
    """The classes of one classifier: how many rows, precision, recall, F1."""
    rows = [["label", "rows", "precision", "recall", "F1"]]
    rows += [
        [one.label, f"{one.support:,}", _shown(one.precision), _shown(one.recall), _shown(one.f1)]
        for one in scores.by_class
    ]
    return _aligned(rows)


def _shown(figure: "Interval | None") -> str:
    if figure is None:
        return "-"
    if not (math.isfinite(figure.low) and math.isfinite(figure.high)):
        return f"{figure.estimate:.3f}"
    return f"{figure.estimate:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def report(found: Mapping[str, "Judged"], table: str) -> Iterator[str]:
    """What a command prints of classifiers on a table, part by part; the first is the one that it is about.

    Nothing where there are no truths. The others, its baselines, are compared with it by the first metric.
    """
    from eval.verdict import task_verdict

    scores = {name: made for name, one in found.items() if (made := one.scores()) is not None}
    if not scores:
        return
    yield scores_text(scores)
    name, *others = found
    if scores[name].by_class:
        yield classes_text(scores[name])
    for other in others:
        comparison, *_ = versus(table, (other, found[other]), (name, found[name]))
        yield task_verdict(comparison, comparison.tasks[0])
