"""What a reader of a comparison must know besides its numbers."""

from collections.abc import Iterator, Sequence

from eval.compare import comparable
from eval.compare.outcome import TaskComparison
from eval.compare.run import Run, Text
from eval.statistics.intervals import MIN_UNITS

FEW_PASSAGES = 10  # below, an interval over passages is rough


def notes_of(first: Run, second: Run, tasks: Sequence[TaskComparison]) -> list[Text]:
    """Settings that differ, what only one run has, and what stands behind the numbers of each task."""
    notes = comparable.setting_notes(first, second)
    for run, other in ((first, second), (second, first)):
        only = _only(run, other)
        if only:
            notes.append((f"Only {run.label} has: {', '.join(only)}.", f"只有 {run.label} 有：{'、'.join(only)}。"))
    for name in (name for name in first.tasks if name in second.tasks):
        notes += comparable.cut_notes(first.tasks[name], second.tasks[name])
    for task in tasks:
        notes += _task_notes(task)
        notes += [note for part in task.parts for note in _counts(part)]
    return notes


def _only(run: Run, other: Run) -> list[str]:
    """Tasks that the other run lacks; a group's name in place of its tasks where it lacks them all."""
    missing = [name for name in run.tasks if name not in other.tasks]
    for group in run.groups.values():
        if set(group.tasks) <= set(missing):
            missing = [group.name, *(name for name in missing if name not in group.tasks)]
    return missing


def _task_notes(task: TaskComparison) -> Iterator[Text]:
    name, result = task.task, task.result
    if task.parts:
        yield (
            f"{name}: tested as one; its {len(task.parts)} tasks stand below it for description, with intervals that"
            " are not corrected.",
            f"{name}：作为一个整体检验；下面列出的 {len(task.parts)} 个子任务仅供了解，其置信区间未作校正。",
        )
    else:
        yield from _counts(task)
    if task.left_out:
        n = len(task.left_out)
        yield (
            f"{name}: {n} of its tasks were not begun in both runs and are not in the score.",
            f"{name}：有 {n} 个子任务两边没有都开始，未计入得分。",
        )
    n_passages = result.n_clusters
    if n_passages is not None:
        yield _about_passages(name, result.n, n_passages)
    if result.low is None and (n_passages is None or n_passages >= MIN_UNITS):
        yield (
            f"{name}: all samples differ alike, or there are too few, so that no interval can say how sure that is.",
            f"{name}：各样本的差别都一样，或样本太少，无法给出置信区间。",
        )


def _counts(task: TaskComparison) -> Iterator[Text]:
    name, n = task.task, task.result.n
    if task.n_one_sided:
        yield (
            f"{name}: compared over the {n:,} samples that both runs have; {task.n_one_sided:,} are in one only.",
            f"{name}：只比较两边都有的 {n:,} 条样本；另有 {task.n_one_sided:,} 条只有一边有。",
        )
    if task.n_unscored:
        yield (
            f"{name}: {task.n_unscored:,} samples could not be scored and are left out of both.",
            f"{name}：{task.n_unscored:,} 条样本无法评分，两边都已略去。",
        )


def _about_passages(name: str, n: int, n_passages: int) -> Text:
    """How many there are; what few of them can show."""
    english = f"{name}: {n:,} samples about {n_passages:,} passages; those of one passage count together."
    chinese = f"{name}：{n:,} 条样本出自 {n_passages:,} 段材料；同一段材料的样本合并计算。"
    if n_passages >= FEW_PASSAGES:
        return english, chinese
    smallest = 2 / 2**n_passages
    if n_passages < MIN_UNITS:
        return (
            f"{english} So few passages give no interval, and p cannot fall below {smallest:.2g}.",
            f"{chinese}材料太少，无法给出置信区间，p 值也不可能低于 {smallest:.2g}。",
        )
    return (
        f"{english} With so few the interval is rough, and p cannot fall below {smallest:.2g}.",
        f"{chinese}材料较少，置信区间只是粗略的，p 值也不可能低于 {smallest:.2g}。",
    )
