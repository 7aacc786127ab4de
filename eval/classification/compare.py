"""Two classifiers on the same rows: is the difference real? With the tests and the sentences of benchmarks."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy

from eval.classification.counts import averaged
from eval.classification.regression import correlation_of_sums, correlation_rows, root_mean
from eval.compare.difference import Difference, difference
from eval.compare.draws import Part
from eval.compare.measure import Measure, Unit
from eval.compare.outcome import Comparison, Outcome, TaskComparison
from eval.metrics.classification.score import class_counts, macro_f1_of_counts, mcc_of_counts
from eval.statistics import holm
from eval.statistics.resampling import Array, Statistic, mean

ALPHA = 0.05
MAX_NUMBERS = 20_000_000  # of one classifier's rows, a column of hits, guesses and truths for each label: 160 MB


@dataclass(frozen=True)
class _Tested:
    metric: str
    is_higher_better: bool
    measure: Measure
    result: Difference


def compare_classifiers(
    table: str, names: tuple[str, str], answers: tuple[Sequence[Any], Sequence[Any]], truths: Sequence[Any],
    kind: Literal["single", "multi", "regression"] = "single",
) -> tuple[Comparison, ...]:
    """A comparison for each metric, the second classifier against the first, p-values corrected over all of them.

    single: accuracy (exact McNemar), macro F1 and MCC; multi: exact rows (McNemar), micro and macro F1; regression:
    mean absolute error, its root mean square, Pearson's and Spearman's correlation. What is no share of right answers
    is tested by permutation, with an interval by the bootstrap. Of more rows times labels than fit MAX_NUMBERS only the
    share of right answers is compared. `eval.verdict.task_verdict` says each in a sentence;
    the first is the one to go by.
    Raises: ValueError for no rows, or unequal lengths.
    """
    if not len(truths) == len(answers[0]) == len(answers[1]) or not len(truths):
        raise ValueError("A paired comparison needs the same rows on both sides, and one at least.")
    measures = list(_MEASURES[kind](answers, truths))
    tested = [
        _Tested(name, is_higher, measure, difference([Part(measure, None)], alpha=ALPHA, n_tests=len(measures)))
        for name, is_higher, measure in measures
    ]
    corrected = holm([one.result.p for one in tested])
    return tuple(
        Comparison(
            names[0], names[1], "", "", ALPHA, len(tested), (_finished(table, one, p),), (), (), ()
        )
        for one, p in zip(tested, corrected, strict=True)
    )


def _finished(table: str, one: _Tested, p: float) -> TaskComparison:
    result = one.result
    gain = result.difference if one.is_higher_better else -result.difference
    outcome: Outcome = "no detectable change"
    if p < ALPHA and gain != 0:
        outcome = "better" if gain > 0 else "worse"
    before, after = one.measure.each
    wins, losses = int((after > before).sum()), int((after < before).sum())
    return TaskComparison(
        table, one.metric, False, one.is_higher_better, one.measure.unit, result, p, outcome, wins, losses,
        len(before) - wins - losses, 0, 0, (),
    )


_Named = Iterator[tuple[str, bool, Measure]]  # metric, whether higher is better, how it is tested


def _single(answers: tuple[Sequence[str], Sequence[str]], truths: Sequence[str]) -> _Named:
    names = sorted({*truths, *answers[0], *answers[1]})
    number = {name: place for place, name in enumerate(names)}
    true = np.array([number[name] for name in truths])
    given = [np.array([number[name] for name in column]) for column in answers]
    right = [(column == true).astype(np.float64) for column in given]
    yield "accuracy", True, _of_rates(right)
    if not _fits(true, names):
        return
    rows = [class_counts(column, true, len(names)) for column in given]
    yield "macro F1", True, _of_rows(rows, macro_f1_of_counts, "percent", right)
    yield "MCC", True, _of_rows(rows, mcc_of_counts, "coefficient", right)


def _multi(answers: tuple[Sequence[Collection[str]], Sequence[Collection[str]]], truths: Sequence[Any]) -> _Named:
    names = sorted({label for column in (truths, *answers) for labels in column for label in labels})
    right = [
        np.array([float(set(answer) == set(truth)) for answer, truth in zip(column, truths, strict=True)])
        for column in answers
    ]
    yield "subset accuracy", True, _of_rates(right)
    if not _fits(truths, names):
        return
    true, *given = (
        np.array([[name in labels for name in names] for labels in column], dtype=bool).reshape(len(truths), len(names))
        for column in (truths, *answers)
    )
    rows = [np.concatenate([true & one, one, true], axis=1).astype(np.float64) for one in given]
    if names:  # else nothing was there to be found, and nothing was
        for metric in ("micro_f1", "macro_f1"):
            yield metric.replace("_f1", " F1"), True, _of_rows(rows, _average(metric), "percent", right)


def _fits(truths: Sized, names: Sized) -> bool:
    return 3 * len(truths) * len(names) <= MAX_NUMBERS


def _regression(answers: tuple[Sequence[float], Sequence[float]], truths: Sequence[float]) -> _Named:
    true = np.asarray(truths, dtype=np.float64)
    given = [np.asarray(column, dtype=np.float64) for column in answers]
    off = [np.abs(column - true) for column in given]
    nearer = [-column for column in off]
    ones = np.ones(len(true))
    yield "mean absolute error", False, _of_rows([np.stack([o, ones], 1) for o in off], mean, "plain", nearer)
    yield "RMSE", False, _of_rows([np.stack([o**2, ones], 1) for o in off], root_mean, "plain", nearer)
    rows = [correlation_rows(column, true) for column in given]
    yield "Pearson", True, _of_rows(rows, correlation_of_sums, "coefficient", nearer)
    ranked = [correlation_rows(scipy.stats.rankdata(column), scipy.stats.rankdata(true)) for column in given]
    yield "Spearman", True, _of_rows(ranked, correlation_of_sums, "coefficient", nearer)


_MEASURES: Mapping[str, Callable[[Any, Any], _Named]] = {"single": _single, "multi": _multi, "regression": _regression}


def _of_rates(right: Sequence[Array]) -> Measure:
    ones = np.ones(len(right[0]))
    rows = np.stack([right[0], ones], 1), np.stack([right[1], ones], 1)
    return Measure(rows, mean, "percent", (right[0], right[1]), is_binary=True)


def _of_rows(rows: Sequence[Array], statistic: Statistic, unit: Unit, each: Sequence[Array]) -> Measure:
    return Measure((rows[0], rows[1]), statistic, unit, (each[0], each[1]))


def _average(name: str) -> Statistic:
    def statistic(totals: Array) -> Array:
        return averaged(totals, counts_absent=True)[name]

    return statistic
