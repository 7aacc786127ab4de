"""A tuned model against its base: one sentence on what it was trained for, one on what it may have forgotten.

As in `eval.verdict`, better and worse are said only where Holm's corrected p-value is below alpha, and finding no loss
is not called having none.
"""

from collections.abc import Collection, Sequence

from eval.compare import Comparison, TaskComparison
from eval.verdict import Language, change_text, interval_text, metric_text, p_text, rounded, score_text


def trained_for_sentence(comparison: Comparison, trained_for: Collection[str], language: Language = "en") -> str:
    """Whether it is better at `trained_for`, the names of the tasks made of what training held back."""
    tasks = [task for task in comparison.tasks if task.task in trained_for]
    tasks.sort(key=lambda task: not task.is_higher_better)  # answers first: they are what people see
    return _trained_zh(comparison, tasks) if language == "zh" else _trained_en(comparison, tasks)


def forgotten_sentence(comparison: Comparison, trained_for: Collection[str], language: Language = "en") -> str:
    """Whether it is worse at anything else that it was asked."""
    tasks = [task for task in comparison.tasks if task.task not in trained_for]
    return _forgotten_zh(tasks) if language == "zh" else _forgotten_en(tasks)


def _trained_en(comparison: Comparison, tasks: Sequence[TaskComparison]) -> str:
    if not tasks:
        return "On what it was trained for, nothing could be compared."
    corrected = f", corrected over {comparison.n_tests} tests" if comparison.n_tests > 1 else ""
    measured = " and ".join(
        f"{metric_text(task)} {score_text(task.result.second, task)} against {score_text(task.result.first, task)}"
        f" (n = {task.result.n:,}, {change_text(task.result.difference, task)}, {_interval_en(task)},"
        f" {p_text(task.p_corrected)}{'' if task.is_higher_better else ', lower is better'})"
        for task in tasks
    )
    outcomes = _outcomes_en(comparison, tasks)
    return f"On what it was trained for, {outcomes}: on examples that training did not see, {measured}{corrected}."


def _outcomes_en(comparison: Comparison, tasks: Sequence[TaskComparison]) -> str:
    """What is found by each metric; the first one names both sides."""
    candidate, baseline, found = comparison.candidate, comparison.baseline, list[str]()
    for task in tasks:
        is_changed = task.outcome in ("better", "worse")
        outcome: str = task.outcome if is_changed else "no detectable change"
        if not found:
            outcome = f"{candidate} is {outcome} than {baseline}" if is_changed else (
                f"{outcome} from {baseline} to {candidate}"
            )
        found.append(f"{outcome} in {metric_text(task)}")
    return "; ".join(found)


def _forgotten_en(tasks: Sequence[TaskComparison]) -> str:
    start, n = "What it may have forgotten:", len(tasks)
    if not tasks:
        return f"{start} unknown, since nothing else was asked or could be compared."
    better, worse = _having(tasks, "better"), _having(tasks, "worse")
    others = f"{n} other tasks" if n > 1 else "the one other task"
    gained = f" It is better on {_names(better, ', ')}." if better else ""
    if worse:
        lost = "; ".join(
            f"{task.task} ({metric_text(task)} {score_text(task.result.second, task)} against"
            f" {score_text(task.result.first, task)}, {p_text(task.p_corrected)})"
            for task in worse
        )
        n_same = n - len(worse) - len(better)
        same = f"; no detectable change on {n_same}" if n_same else ""
        of = f"{len(worse)} of {others}" if n > 1 else others
        return f"{start} it is worse on {of}: {lost}{same}.{gained}"
    none = f"no detectable loss on any of {others}" if n > 1 else f"no detectable loss on {others}"
    return f"{start} {none}. This does not prove that nothing was lost{_limit_en(tasks)}.{gained}"


def _limit_en(tasks: Sequence[TaskComparison]) -> str:
    """What a loss of 2 points would have needed to be seen, on the task that is furthest from it."""
    task = _bluntest(tasks)
    if task is None:
        return ""
    n, needed = task.result.n, rounded(task.result.n_needed or 0)
    return f": to see a loss of 2 points on {task.task}, for one, it would take about {needed:,} samples, not {n:,}"


def _trained_zh(comparison: Comparison, tasks: Sequence[TaskComparison]) -> str:
    if not tasks:
        return "训练的目标：没有可以比较的内容。"
    words = {"better": "优于", "worse": "不如"}
    candidate, baseline = comparison.candidate, comparison.baseline
    outcomes = "；".join(
        f"就 {metric_text(task)} 而言，{candidate} {words[task.outcome]} {baseline}" if task.outcome in words
        else f"就 {metric_text(task)} 而言，{candidate} 与 {baseline} 相比没有测出变化"
        for task in tasks
    )
    corrected = f"（已按 {comparison.n_tests} 次检验校正）" if comparison.n_tests > 1 else ""
    measured = "；".join(
        f"{metric_text(task)} 为 {score_text(task.result.second, task, 'zh')}，"
        f"原为 {score_text(task.result.first, task, 'zh')}"
        f"（n = {task.result.n:,}，相差 {change_text(task.result.difference, task)}，{_interval_zh(task)}，"
        f"{p_text(task.p_corrected)}{'' if task.is_higher_better else '，越低越好'}）"
        for task in tasks
    )
    return f"训练的目标：{outcomes}。在训练时没有见过的样本上，{measured}{corrected}。"


def _forgotten_zh(tasks: Sequence[TaskComparison]) -> str:
    start, n = "可能遗忘的：", len(tasks)
    if not tasks:
        return f"{start}未知，因为没有测其他任务，或者都无法比较。"
    better, worse = _having(tasks, "better"), _having(tasks, "worse")
    gained = f"另外，在 {_names(better, '、')} 上有提升。" if better else ""
    if worse:
        lost = "；".join(
            f"{task.task}（{metric_text(task)} 为 {score_text(task.result.second, task, 'zh')}，"
            f"原为 {score_text(task.result.first, task, 'zh')}，{p_text(task.p_corrected)}）"
            for task in worse
        )
        n_same = n - len(worse) - len(better)
        same = f"；有 {n_same} 个没有测出变化" if n_same else ""
        return f"{start}其他 {n} 个任务中有 {len(worse)} 个变差：{lost}{same}。{gained}"
    return f"{start}其他 {n} 个任务都没有测出变差；这并不证明什么都没有丢失{_limit_zh(tasks)}。{gained}"


def _limit_zh(tasks: Sequence[TaskComparison]) -> str:
    task = _bluntest(tasks)
    if task is None:
        return ""
    n, needed = task.result.n, rounded(task.result.n_needed or 0)
    return f"：例如要在 {task.task} 上看出 2 个百分点的下降，大约需要 {needed:,} 条样本，而不是 {n:,} 条"


def _bluntest(tasks: Sequence[TaskComparison]) -> TaskComparison | None:
    """Of the tasks scored by a share, the one whose samples fall shortest of those needed, if they do."""
    short = {task.task: (task.result.n_needed or 0) / task.result.n for task in tasks if task.unit == "percent"}
    found = max((task for task in tasks if task.task in short), key=lambda task: short[task.task], default=None)
    return found if found is not None and short[found.task] > 1 else None


def _interval_en(task: TaskComparison) -> str:
    if task.result.low is None:
        return "no interval"
    return f"{100 * task.result.confidence:.3g} % interval {interval_text(task, ' to ')}"


def _interval_zh(task: TaskComparison) -> str:
    if task.result.low is None:
        return "无置信区间"
    return f"{100 * task.result.confidence:.3g}% 置信区间 {interval_text(task, ' 至 ')}"


def _having(tasks: Sequence[TaskComparison], outcome: str) -> list[TaskComparison]:
    return [task for task in tasks if task.outcome == outcome]


def _names(tasks: Sequence[TaskComparison], between: str) -> str:
    return between.join(task.task for task in tasks)
