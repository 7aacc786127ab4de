"""Which hypotheses two runs can be asked about: one for each thing that was asked for, a task or a group of tasks."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from eval.compare import comparable
from eval.compare.draws import Part
from eval.compare.measure import Measure, NotMeasurable, Whole, measure
from eval.compare.run import Answered, Metric, Run, TaskRun, Text
from eval.types import GroupMetric, TaskGroup

MAX_REASONS = 3  # of the tasks of one group


@dataclass(frozen=True)
class Refusal:
    """A task, or a group, that is not compared, and why."""

    task: str
    reasons: tuple[Text, ...]


@dataclass(frozen=True)
class Pairing:
    """One task before the test: both columns, over the samples that both have scored."""

    metric: Metric
    key: str
    is_asked: bool
    pairs: list[tuple[Answered, Answered]]
    measured: Measure | Whole
    n_unscored: int
    n_one_sided: int

    def part(self, weight: float = 1.0) -> Part:
        """As a test takes it."""
        return Part(self.measured, comparable.passages([before for before, _ in self.pairs]), weight)


@dataclass(frozen=True)
class Hypothesis:
    """What is tested once: a task, or a group with those of its tasks that both runs have begun.

    `weights` is None where samples weigh alike; `left_out`: its tasks of which no sample was answered in both.
    """

    name: str
    members: Mapping[str, Pairing]
    is_group: bool = False
    weights: Mapping[str, float] | None = None
    left_out: tuple[str, ...] = ()


def hypotheses(first: Run, second: Run, metric: str | None) -> Iterator[Hypothesis | Refusal]:
    """One for each group that was asked for in either run and whose tasks both have; one for each other task."""
    groups = {
        name: group for name, group in {**second.groups, **first.groups}.items()
        if all(task in first.tasks and task in second.tasks for task in group.tasks)
    }
    conditions = tuple(comparable.differing_conditions(first, second))
    shown: set[str] = set()
    for name in (name for name in first.tasks if name in second.tasks):
        holding = [group for group in groups.values() if name in group.tasks]
        for group in holding:
            if group.name not in shown:
                shown.add(group.name)
                yield Refusal(group.name, conditions) if conditions else _of_group(group, first, second, metric)
        if not holding or name in (*first.asked, *second.asked):
            yield Refusal(name, conditions) if conditions else _of_task(name, first, second, metric)


def _of_task(name: str, first: Run, second: Run, metric: str | None) -> Hypothesis | Refusal:
    try:
        return Hypothesis(name, {name: _pairing(name, first, second, metric)})
    except _NotComparable as error:
        return Refusal(name, error.reasons)


def _of_group(group: TaskGroup, first: Run, second: Run, metric: str | None) -> Hypothesis | Refusal:
    """Refused as a whole where one of its tasks is: a score without it would be that of another group."""
    versions = [run.groups[group.name].version for run in (first, second) if group.name in run.groups]
    names = {frozenset(run.groups[group.name].tasks) for run in (first, second) if group.name in run.groups}
    if len(set(versions)) > 1 or len(names) > 1:
        return Refusal(group.name, (("the definition of the group differs", "任务组的定义不同"),))
    how = next((one for one in group.metrics if metric and one.name == metric.split(",")[0]), group.metrics[0])
    begun = [name for name in group.tasks if first.tasks[name].samples.keys() & second.tasks[name].samples.keys()]
    members: dict[str, Pairing] = {}
    reasons: list[Text] = []
    for name in begun:
        try:
            members[name] = _pairing(name, first, second, metric or _wanted(how), is_asked=metric is not None)
        except _NotComparable as error:
            reasons += [(f"{name}: {english}", f"{name}：{chinese}") for english, chinese in error.reasons]
    if not begun:
        reasons.append(("no sample was answered in both", "没有两边都回答过的样本"))
    elif len({member.metric.is_higher_better for member in members.values()}) > 1:
        reasons.append(("its tasks disagree on whether higher is better", "各任务的指标方向不一致"))
    if len(reasons) > MAX_REASONS:
        n = len(reasons) - MAX_REASONS
        reasons[MAX_REASONS:] = [(f"{n} more such reasons", f"还有 {n} 条类似原因")]
    if reasons:
        return Refusal(group.name, tuple(reasons))
    left_out = tuple(name for name in group.tasks if name not in members)
    return Hypothesis(group.name, members, True, how.weights, left_out)


def _wanted(how: GroupMetric) -> str | None:
    return f"{how.name},{how.filters[0]}" if how.name and how.filters else how.name or None


class _NotComparable(Exception):
    def __init__(self, *reasons: Text) -> None:
        super().__init__(reasons[0][0])
        self.reasons = reasons


def _pairing(name: str, first: Run, second: Run, wanted: str | None, *, is_asked: bool | None = None) -> Pairing:
    """Raises: _NotComparable."""
    before, after = first.tasks[name], second.tasks[name]
    reasons = comparable.differing_tasks(before, after)
    if reasons:
        raise _NotComparable(*reasons)
    counts_alike = first.identity.get("tokenizer") == second.identity.get("tokenizer")
    try:
        return _columns(before, after, wanted, (wanted is not None) if is_asked is None else is_asked, counts_alike)
    except NotMeasurable as error:
        raise _NotComparable(error.text) from error


def _columns(first: TaskRun, second: TaskRun, wanted: str | None, is_asked: bool, counts_alike: bool) -> Pairing:
    """`is_asked`: whether a person named the metric; `counts_alike`: both have the same tokenizer.

    If they have not, a score for each token says nothing about the models.

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
    return Pairing(metric, key, is_asked, scored, measured, len(both) - len(scored), n_one_sided)


def _has_score(answered: Answered, key: str) -> bool:
    """Whether there is a score, and no number in it that is infinite or none."""
    values = answered.scores.get(key)
    flat = values if isinstance(values, list | tuple) else [values]
    return values is not None and all(not isinstance(value, float) or math.isfinite(value) for value in flat)
