"""From the scores of samples to what a paired test needs, for every way in which the harness makes one score of many.

A mean, a perplexity, an F1, an MCC or a BLEU is a function of sums over the samples, so that a resample costs a few
additions. Where there is no such form (`Whole`), the score is made anew from the drawn samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from eval.compare.run import Aggregate, Metric, Text
from eval.metrics.bleu.score import bleu_counts, bleu_of_counts
from eval.metrics.chrf.score import chrf_counts, chrf_of_counts
from eval.metrics.classification.score import class_counts, mcc_of_counts
from eval.statistics.resampling import Array, Statistic, mean
from eval.tasks.corpus import CorpusScore, bits, perplexity
from eval.tasks.glue import pearson, spearman

# percent: a share of 1, shown times 100; coefficient: shown as it is; hundred: from 0 to 100; plain: any number.
Unit = Literal["percent", "coefficient", "hundred", "plain"]

# Functions of this project by their full names, which is how a run on disk tells them.
OWN: dict[str, Aggregate] = {
    "eval.tasks.glue.pearson": pearson,
    "eval.tasks.glue.spearman": spearman,
    "eval.tasks.corpus.perplexity": CorpusScore(perplexity),
    "eval.tasks.corpus.bits": CorpusScore(bits),
    "eval.metrics.bleu.score.bleu_of_counts": CorpusScore(bleu_of_counts),
    "eval.metrics.chrf.score.chrf_of_counts": CorpusScore(chrf_of_counts),
}
HUNDRED = ("bleu", "chrf", "chrf++", "ter")
COEFFICIENTS = ("mcc", "pearson", "spearman", "brier_score")


class NotMeasurable(Exception):
    """This metric cannot be tested from what the runs hold; `text` says why, in English and Chinese."""

    def __init__(self, english: str, chinese: str) -> None:
        super().__init__(english)
        self.text: Text = (english, chinese)


@dataclass(frozen=True)
class Measure:
    """Two columns of scores in the form that a test takes them.

    `rows`: numbers of each sample, whose column sums `statistic` maps to the score; `each`: how good each sample is,
    the higher the better; `is_binary`: the rows are (1 or 0, 1), right or wrong.
    """

    rows: tuple[Array, Array]
    statistic: Statistic
    unit: Unit
    each: tuple[Array, Array]
    is_binary: bool = False


@dataclass(frozen=True)
class Whole:
    """Two columns of scores that only `aggregate` can put together; `each` is None where a sample has no score."""

    values: tuple[Sequence[Any], Sequence[Any]]
    aggregate: Aggregate
    unit: Unit
    each: tuple[Array, Array] | None


Form = Callable[[Metric, Sequence[Any], Sequence[Any]], Measure]


def is_known(aggregation: str) -> bool:
    """Whether the name alone says how one score is made of many."""
    return aggregation in OWN or aggregation in _FORMS


def measure(metric: Metric, first: Sequence[Any], second: Sequence[Any]) -> Measure | Whole:
    """The form of both columns, the same for both.

    Raises: NotMeasurable.
    """
    how = OWN.get(metric.aggregation, metric.aggregation) if isinstance(metric.aggregation, str) else metric.aggregation
    try:
        if isinstance(how, CorpusScore):
            return _of_sums(how.statistic, how.rows)(metric, first, second)
        if isinstance(how, str) and how in _FORMS:
            return _FORMS[how](metric, first, second)
    except (TypeError, ValueError, IndexError) as error:
        raise NotMeasurable(
            f"the sample scores of {metric.name} are not those of {metric.aggregation!r}: {error}",
            f"{metric.name} 的样本得分与 {metric.aggregation!r} 不符：{error}",
        ) from error
    if isinstance(how, str):
        raise NotMeasurable(
            f"it is unknown how {metric.name} ({how}) makes one score of many; the task could not be loaded",
            f"无法得知 {metric.name}（{how}）如何由样本得分汇总；任务无法加载",
        )
    unit: Unit = "coefficient" if metric.name in COEFFICIENTS else "plain"
    return Whole((first, second), how, unit, _pairs(metric, first, second))


def _of_mean(metric: Metric, first: Sequence[Any], second: Sequence[Any]) -> Measure:
    columns = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if columns[0].ndim != 1:
        raise ValueError("they are no plain numbers")
    both = np.concatenate(columns)
    unit: Unit = "percent" if ((both >= 0) & (both <= 1)).all() else "plain"
    is_binary = bool(np.isin(both, (0, 1)).all())
    each = [column if metric.is_higher_better else is_binary - column for column in columns]
    rows = [np.column_stack([column, np.ones(len(column))]) for column in columns]
    return Measure((rows[0], rows[1]), mean, unit, (each[0], each[1]), is_binary)


def _of_likelihood(statistic: Statistic) -> Form:
    """Log-likelihoods, plain or with a weight each: words, bytes."""

    def form(metric: Metric, first: Sequence[Any], second: Sequence[Any]) -> Measure:
        rows = []
        for column in (first, second):
            array = np.asarray(column, dtype=np.float64)
            rows.append(array if array.ndim == 2 else np.column_stack([array, np.ones(len(array))]))
        return Measure((rows[0], rows[1]), statistic, "plain", (rows[0][:, 0], rows[1][:, 0]))

    return form


def _of_labels(statistic: Statistic, unit: Unit, known: tuple[int, ...] = ()) -> Form:
    """Pairs of right and given label, counted by class; `known`: all the labels that there can be."""

    def form(metric: Metric, first: Sequence[Any], second: Sequence[Any]) -> Measure:
        labels = {label for pair in [*first, *second] for label in pair}
        if known and not labels <= set(known):
            raise ValueError(f"labels other than {known}")
        numbers = {label: number for number, label in enumerate(known or sorted(labels))}
        rows, each = [], []
        for column in (first, second):
            gold, given = np.array([[numbers[label] for label in pair] for pair in column]).T
            rows.append(class_counts(given, gold, len(numbers)))
            each.append((gold == given).astype(np.float64))
        return Measure((rows[0], rows[1]), statistic, unit, (each[0], each[1]))

    return form


def _of_sums(statistic: Statistic, rows_of: Callable[[Sequence[Any]], Array]) -> Form:
    """Rows made from the values, and the score that their sums have."""

    def form(metric: Metric, first: Sequence[Any], second: Sequence[Any]) -> Measure:
        rows = rows_of(first), rows_of(second)
        sign = 1.0 if metric.is_higher_better else -1.0
        each = [sign * np.nan_to_num(statistic(column)) for column in rows]
        whole = [float(statistic(column.sum(axis=0))) for column in rows]
        unit: Unit = "percent" if all(0 <= score <= 1 for score in whole) else "plain"
        if metric.name in COEFFICIENTS:
            unit = "coefficient"
        elif metric.name in HUNDRED:
            unit = "hundred"
        elif "perplexity" in metric.name or "bits" in metric.name:
            unit = "plain"
        return Measure(rows, statistic, unit, (each[0], each[1]))

    return form


def _of_brier(metric: Metric, first: Sequence[Any], second: Sequence[Any]) -> Measure:
    """Squared distance of the probabilities from the right answer's 1 and the others' 0."""
    columns = []
    for column in (first, second):
        distances = [np.asarray(p, dtype=np.float64) - np.eye(len(p))[int(gold)] for gold, p in column]
        columns.append([float(distance @ distance) for distance in distances])
    made = _of_mean(metric, columns[0], columns[1])
    return Measure(made.rows, made.statistic, "coefficient", made.each)


def _translations(counts: Callable[..., Array]) -> Callable[[Sequence[Any]], Array]:
    """Counts of (references, translation) pairs as the harness keeps them: either may be a list of one."""

    def rows(values: Sequence[Any]) -> Array:
        texts = [text if isinstance(text, str) else text[0] for _, text in values]
        return counts(texts, [given for given, _ in values])

    return rows


def _ter_counts(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> Array:
    """Rows (edits, length of the reference); the score is 100 times their ratio."""
    from sacrebleu.metrics.ter import TER

    lists = [[given] if isinstance(given, str) else list(given) for given in references]
    scores = [TER().sentence_score(text, given) for text, given in zip(predictions, lists, strict=True)]
    return np.array([(score.num_edits, score.ref_length) for score in scores], dtype=np.float64)


def _ter(totals: Array) -> Array:
    return np.asarray(100 * mean(totals))


def _f1(totals: Array) -> Array:
    """F1 of label 1 of two, 0 where it neither is nor is given; as scikit-learn."""
    hits, guessed, true = totals[..., 1], totals[..., 3], totals[..., 5]
    return np.divide(2 * hits, guessed + true, out=np.zeros_like(hits), where=guessed + true > 0)


def _pairs(metric: Metric, first: Sequence[Any], second: Sequence[Any]) -> tuple[Array, Array] | None:
    """How good each sample is, where its score is a number or a pair of them (right and given); None elsewhere."""
    sign = 1.0 if metric.is_higher_better else -1.0
    try:
        columns = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if columns[0].ndim == 1:
        return sign * columns[0], sign * columns[1]
    if columns[0].ndim == 2 and columns[0].shape[1] == 2:
        return -np.abs(columns[0][:, 0] - columns[0][:, 1]), -np.abs(columns[1][:, 0] - columns[1][:, 1])
    return None


_FORMS: dict[str, Form] = {
    "mean": _of_mean,
    "nanmean": _of_mean,  # what is no number is left out before
    "perplexity": _of_likelihood(perplexity),
    "weighted_perplexity": _of_likelihood(perplexity),
    "bits_per_byte": _of_likelihood(bits),
    "f1": _of_labels(_f1, "percent", (0, 1)),
    "matthews_corrcoef": _of_labels(mcc_of_counts, "coefficient"),
    "brier_score": _of_brier,
    "bleu": _of_sums(bleu_of_counts, _translations(bleu_counts)),
    "chrf": _of_sums(chrf_of_counts, _translations(chrf_counts)),
    "ter": _of_sums(_ter, _translations(_ter_counts)),
}
