"""Two or more runs against each other, task by task, with p-values corrected for how many were looked at."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from eval.compare import comparable
from eval.compare.changes import SampleChange, change
from eval.compare.difference import Difference, difference
from eval.compare.measure import Measure, NotMeasurable, Unit, Whole, measure
from eval.compare.run import Answered, Metric, Run, TaskRun, Text
from eval.statistics import holm

Outcome = Literal["better", "worse", "no detectable change"]


@dataclass(frozen=True)
class TaskComparison:
    """One task. `p` is the test's own, `p_corrected` is after Holm; `outcome` claims no more than the latter.

    Differences are candidate minus baseline in the metric's own units. `n_one_sided`: samples that only one run has
    answered; `n_unscored`: samples that either could not score. Both are left out. `is_metric_asked`: whether a person
    chose the metric; if not, it is the first that the task names, so that it was chosen before anything was seen.
    """

    task: str
    metric: str
    is_metric_asked: bool
    is_higher_better: bool
    unit: Unit
    result: Difference
    p_corrected: float
    outcome: Outcome
    wins: int
    losses: int
    ties: int
    n_unscored: int
    n_one_sided: int
    changes: tuple[SampleChange, ...]


@dataclass(frozen=True)
class Refusal:
    """A task that is not compared, and why."""

    task: str
    reasons: tuple[Text, ...]


@dataclass(frozen=True)
class Comparison:
    """A candidate against the baseline. `n_tests`: how many p-values Holm's correction is over."""

    baseline: str
    candidate: str
    baseline_id: str
    candidate_id: str
    alpha: float
    n_tests: int
    tasks: tuple[TaskComparison, ...]
    refused: tuple[Refusal, ...]
    alarms: tuple[Text, ...]
    notes: tuple[Text, ...]

    def having(self, outcome: Outcome) -> list[str]:
        """Names of the tasks that came out so."""
        return [task.task for task in self.tasks if task.outcome == outcome]


@dataclass(frozen=True)
class _Prepared:
    """A task before the test: both columns, over the samples that both have scored."""

    metric: Metric
    key: str
    is_asked: bool
    pairs: list[tuple[Answered, Answered]]
    measured: Measure | Whole
    n_unscored: int
    n_one_sided: int


def compare(
    baseline: Run, candidates: Sequence[Run], *, metric: str | None = None, alpha: float = 0.05
) -> tuple[Comparison, ...]:
    """Each candidate against the baseline, over the tasks that both have; Holm's correction is over all of them.

    `metric`: the one to compare by ("acc" or "acc,none"); without it the first that each task names, so that it is
    chosen before anything is seen.
    """
    prepared = [_prepare(baseline, candidate, metric) for candidate in candidates]
    n_tests = sum(len(found) for found, _ in prepared)
    tested: list[dict[str, Difference]] = []
    refused: list[list[Refusal]] = []
    for found, refusals in prepared:
        differences = {}
        for name, task in found.items():
            clusters = comparable.passages([before for before, _ in task.pairs])
            try:
                differences[name] = difference(task.measured, clusters, alpha=alpha, n_tests=n_tests)
            except NotMeasurable as error:
                refusals.append(Refusal(name, (error.text,)))
        tested.append(differences)
        refused.append(refusals)
    corrected = iter(holm([result.p for differences in tested for result in differences.values()]))
    comparisons = []
    for candidate, (found, _), differences, refusals in zip(candidates, prepared, tested, refused, strict=True):
        tasks = [_finish(name, found[name], result, next(corrected), alpha) for name, result in differences.items()]
        comparisons.append(Comparison(
            baseline.label, candidate.label, baseline.id, candidate.id, alpha,
            sum(len(differences) for differences in tested), tuple(tasks), tuple(refusals),
            tuple(comparable.alarms(baseline, candidate, list(differences))),
            tuple(_notes(baseline, candidate, tasks)),
        ))
    return tuple(comparisons)


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Everything as plain values that JSON has; no NaN."""
    plain: dict[str, Any] = _finite(asdict(comparison))
    return plain


def _prepare(first: Run, second: Run, metric: str | None) -> tuple[dict[str, _Prepared], list[Refusal]]:
    found: dict[str, _Prepared] = {}
    refusals = []
    conditions = comparable.differing_conditions(first, second)
    counts_alike = first.identity.get("tokenizer") == second.identity.get("tokenizer")
    for name in (name for name in first.tasks if name in second.tasks):
        reasons = conditions + comparable.differing_tasks(first.tasks[name], second.tasks[name])
        if not reasons:
            try:
                found[name] = _columns(first.tasks[name], second.tasks[name], metric, counts_alike=counts_alike)
            except NotMeasurable as error:
                reasons = [error.text]
        if reasons:
            refusals.append(Refusal(name, tuple(reasons)))
    return found, refusals


def _columns(first: TaskRun, second: TaskRun, wanted: str | None, *, counts_alike: bool) -> _Prepared:
    """`counts_alike`: both have the same tokenizer; if not, a score for each token says nothing about the models.

    Raises: NotMeasurable if the task has no such metric, or nothing that both have scored.
    """
    both = [(first.samples[i], second.samples[i]) for i in sorted(first.samples.keys() & second.samples.keys())]
    keys = list(dict.fromkeys(key for pair in both for side in pair for key in side.scores))
    named = [(metric, key) for metric in first.metrics for key in keys if key.split(",")[0] == metric.name]
    if wanted is not None:
        named = [(metric, key) for metric, key in named if wanted in (key, metric.name)]
    comparable_ones = [one for one in named if counts_alike or not one[0].name.startswith("token_")]
    if named and not comparable_ones:
        raise NotMeasurable(
            f"{named[0][1]} counts tokens, and the tokenizers differ", f"{named[0][1]} 按词元计算，而两边的分词器不同"
        )
    named = comparable_ones
    if not named:
        known = ", ".join(keys) or "none"
        raise NotMeasurable(
            f"it has no metric {wanted or 'that can be compared'} (it has: {known})",
            f"没有{f'指标 {wanted}' if wanted else '可比较的指标'}（现有：{known}）",
        )
    metric, key = named[0]
    scored = [
        (before, after) for before, after in both
        if before.error is None and after.error is None and _has_score(before, key) and _has_score(after, key)
    ]
    if not scored:
        raise NotMeasurable(f"no sample has a score for {key} in both", f"没有样本在两边都有 {key} 得分")
    measured = measure(metric, [before.scores[key] for before, _ in scored], [after.scores[key] for _, after in scored])
    n_one_sided = len(first.samples.keys() ^ second.samples.keys())
    return _Prepared(metric, key, wanted is not None, scored, measured, len(both) - len(scored), n_one_sided)


def _has_score(answered: Answered, key: str) -> bool:
    """Whether there is a score, and no number in it that is infinite or none."""
    values = answered.scores.get(key)
    flat = values if isinstance(values, list | tuple) else [values]
    return values is not None and all(not isinstance(value, float) or math.isfinite(value) for value in flat)


def _finish(name: str, task: _Prepared, result: Difference, p_corrected: float, alpha: float) -> TaskComparison:
    measured, gain = task.measured, result.difference if task.metric.is_higher_better else -result.difference
    outcome: Outcome = "no detectable change"
    if p_corrected < alpha and gain != 0:
        outcome = "better" if gain > 0 else "worse"
    each = measured.each
    is_right_or_wrong = each is not None and measured.unit in ("percent", "coefficient") and bool(
        np.isin(np.concatenate(each), (0, 1)).all()
    )
    changes = []
    for number, (before, after) in enumerate(task.pairs):
        goodness = None if each is None else (float(each[0][number]), float(each[1][number]))
        changes.append(change(before, after, task.key, goodness, is_binary=is_right_or_wrong))
    wins = sum(one.kind in ("fixed", "better") for one in changes)
    losses = sum(one.kind in ("broken", "worse") for one in changes)
    return TaskComparison(
        name, task.key, task.is_asked, task.metric.is_higher_better, measured.unit, result, p_corrected, outcome,
        wins, losses, len(changes) - wins - losses, task.n_unscored, task.n_one_sided, tuple(changes),
    )


def _notes(first: Run, second: Run, tasks: Sequence[TaskComparison]) -> list[Text]:
    notes = comparable.setting_notes(first, second)
    for run, other in ((first, second), (second, first)):
        only = [name for name in run.tasks if name not in other.tasks]
        if only:
            notes.append((f"Only {run.label} has: {', '.join(only)}.", f"只有 {run.label} 有：{'、'.join(only)}。"))
    return notes + [note for task in tasks for note in _task_notes(task)]


def _task_notes(task: TaskComparison) -> list[Text]:
    name, n, notes = task.task, task.result.n, list[Text]()
    if task.n_one_sided:
        notes.append((
            f"{name}: compared over the {n:,} samples that both runs have; {task.n_one_sided:,} are in one only.",
            f"{name}：只比较两边都有的 {n:,} 条样本；另有 {task.n_one_sided:,} 条只有一边有。",
        ))
    if task.n_unscored:
        notes.append((
            f"{name}: {task.n_unscored:,} samples could not be scored and are left out of both.",
            f"{name}：{task.n_unscored:,} 条样本无法评分，两边都已略去。",
        ))
    if task.result.low == task.result.high:
        notes.append((
            f"{name}: no sample makes a difference, so the interval cannot say how sure that is.",
            f"{name}：没有样本带来差别，因此置信区间说明不了有多大把握。",
        ))
    n_passages = task.result.n_clusters
    if n_passages is not None:
        notes.append((
            f"{name}: {n:,} samples about {n_passages:,} passages; those of one passage count together.",
            f"{name}：{n:,} 条样本出自 {n_passages:,} 段材料；同一段材料的样本合并计算。",
        ))
    return notes


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
