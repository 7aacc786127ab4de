"""What a person asks for by one name and gets as several tasks: is there one score of it, and how is it made?

A group of the harness says so itself (`aggregate_metric_list`), a suite of ours by `TaskSuite.weights`. A tag, or a
group that names no aggregation, has the plain mean over its tasks if they are scored by the same metric; if not, its
tasks, and the groups in it that have a score, stand for themselves.
"""

from collections.abc import Iterator, Sequence

from lm_eval.api.group import Group

from eval.tasks.harness import HarnessTask, Suite
from eval.tasks.suites import SUITES
from eval.types import GroupMetric, TaskGroup


def task_groups(suite: Suite, asked: Sequence[str]) -> dict[str, TaskGroup]:
    """By name, those of `asked` and of the suites in it that are several tasks with one score."""
    found: dict[str, TaskGroup] = {}
    for one in SUITES:
        if one.name in asked and one.weights is not None:
            tasks = tuple(entry.task for entry in one.entries)
            found[one.name] = TaskGroup(one.name, "", tasks, (GroupMetric("", weights=one.weights),))
    within = {task for group in found.values() for task in group.tasks}
    for name, tasks in suite.entries.items():
        if name not in within and (len(tasks) > 1 or name in suite.groups):
            found |= {group.name: group for group in _of_entry(name, tasks, suite)}
    return found


def _of_entry(name: str, tasks: tuple[str, ...], suite: Suite) -> Iterator[TaskGroup]:
    group = suite.groups.get(name)
    scored = _with_score(group) if group is not None else []
    if scored:
        yield from (_described(one) for one in scored)
    elif len({_first_metric(suite.tasks[task]) for task in tasks}) == 1:
        equal = dict.fromkeys(tasks, 1.0)
        yield TaskGroup(name, group.version if group else "", tasks, (GroupMetric("", weights=equal),))


def _with_score(group: Group) -> list[Group]:
    """The group itself if it has a score, else the outermost groups in it that have one."""
    if group.has_aggregation:
        return [group]
    return [found for child in group if isinstance(child, Group) for found in _with_score(child)]


def _described(group: Group) -> TaskGroup:
    tasks = tuple(task.task_name for task in group.get_all_tasks())
    metrics = tuple(
        GroupMetric(
            one.metric, tuple(one.filter_list or ()), None if one.weight_by_size else dict.fromkeys(tasks, 1.0)
        )
        for one in group.aggregate_metric_list or ()
    )
    return TaskGroup(group.name, group.version, tasks, metrics)


def _first_metric(task: HarnessTask) -> str:
    return next(iter(task.harness.aggregation()), "")
