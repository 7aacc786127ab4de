"""What a comparison says, in sentences that need no statistics to read; they claim no more than the corrected tests.

Better and worse are said only where the p-value after Holm's correction is below alpha. Everything else is "no
detectable change", with the number of samples that would most likely show a change of 2 points.
"""

from typing import Literal

from eval.compare import Comparison, TaskComparison
from eval.compare.outcome import FIRST_METRICS

Language = Literal["en", "zh"]
MINUS = "\u2212"
SIGNS = {"better": "●", "no detectable change": "○", "worse": "▲", "described": "·"}  # an outcome without colour

METHODS_ZH = {
    "exact McNemar": "精确 McNemar 检验", "paired permutation": "配对置换检验", ", bootstrap interval": "与自助法区间",
    ", t interval": "与 t 区间",
    "stratified ": "分层", "clustered ": "整群",
}  # fmt: skip


def task_verdict(comparison: Comparison, task: TaskComparison, language: Language = "en") -> str:
    """One task or group that was asked for: what changed, by how much, and how sure that is."""
    return _task_zh(comparison, task) if language == "zh" else _task_en(comparison, task)


def overall_verdict(comparison: Comparison, language: Language = "en") -> str:
    """All tasks together."""
    if not comparison.tasks:
        return "总体：没有可以比较的任务。" if language == "zh" else "Overall: there was nothing to compare."
    return _overall_zh(comparison) if language == "zh" else _overall_en(comparison)


def score_text(value: float, task: TaskComparison, language: Language = "en") -> str:
    """A score as it is read: 71.0 %, 0.420, 27.3."""
    if task.unit == "percent":
        return f"{100 * value:.1f}%" if language == "zh" else f"{100 * value:.1f} %"
    if task.unit == "coefficient":
        return _minus(f"{value:.3f}")
    return _minus(f"{value:.1f}" if task.unit == "hundred" else f"{value:.4g}")


def change_text(value: float, task: TaskComparison) -> str:
    """A difference with its sign, in points where the score is a share: +5.0, −0.031."""
    if task.unit == "percent":
        return _minus(f"{100 * value:+.1f}")
    if task.unit == "coefficient":
        return _minus(f"{value:+.3f}")
    return _minus(f"{value:+.1f}" if task.unit == "hundred" else f"{value:+.3g}")


def interval_text(task: TaskComparison, between: str, outside: tuple[str, str] = ("", "")) -> str:
    """Both ends of the difference's interval with what stands `between` and `outside`; a dash where there is none."""
    low, high = task.result.low, task.result.high
    if low is None or high is None:
        return "–"
    return f"{outside[0]}{change_text(low, task)}{between}{change_text(high, task)}{outside[1]}"


def p_text(p: float | None) -> str:
    """p = 0.010, p < 0.001; never rounded to 0 or over a limit that it keeps. A dash for what was not tested."""
    if p is None:
        return "–"
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def methods_text(comparison: Comparison, language: Language) -> str:
    """The tests that were used, each once."""
    names = dict.fromkeys(task.result.method for task in comparison.tasks)
    if language == "en":
        return "; ".join(names)
    for english, chinese in METHODS_ZH.items():
        names = dict.fromkeys(name.replace(english, chinese) for name in names)
    return "；".join(names)


def beyond_zero(comparison: Comparison) -> list[str]:
    """Tasks whose interval leaves out zero while the corrected test shows no change: many were asked at once."""
    return [
        task.task for task in comparison.tasks
        if comparison.n_tests > 1 and task.outcome == "no detectable change"
        and task.result.low is not None and task.result.high is not None
        and (task.result.low > 0 or task.result.high < 0)
    ]  # fmt: skip


def _task_en(comparison: Comparison, task: TaskComparison) -> str:
    result, candidate, baseline = task.result, comparison.candidate, comparison.baseline
    scores = f"{score_text(result.second, task)} against {score_text(result.first, task)} ({_metric_en(task)})"
    points = " points" if task.unit in ("percent", "hundred") else ""
    change = f"{change_text(result.difference, task)}{points}"
    interval = f"{100 * result.confidence:.3g} % interval {interval_text(task, ' to ')}"
    if result.low is None:
        interval = "no interval"
    corrected = "" if comparison.n_tests == 1 else f" after Holm's correction over {_tests_en(comparison)}"
    numbers = f"{scores}, {change}, {interval}, {p_text(task.p_corrected)}{corrected}."
    if task.outcome == "no detectable change":
        return f"No detectable change on {task.task} from {baseline} to {candidate}: {numbers}{_needed_en(task)}"
    lower = "" if task.is_higher_better else " Lower is better here."
    return f"{candidate} is {task.outcome} than {baseline} on {task.task}: {numbers}{lower}"


def _needed_en(task: TaskComparison) -> str:
    n, needed = task.result.n, task.result.n_needed
    if needed is None:
        return ""
    goal = {"percent": "2 points", "coefficient": "0.02", "hundred": "2 points"}.get(task.unit, "2 % of the score")
    if needed <= n:
        return f" A difference of {goal} would most likely have shown with these {n:,} samples."
    return f" About {rounded(needed):,} samples would most likely show a difference of {goal}; these are {n:,}."


def _overall_en(comparison: Comparison) -> str:
    better, worse = comparison.having("better"), comparison.having("worse")
    same, n = comparison.having("no detectable change"), len(comparison.tasks)
    candidate, baseline = comparison.candidate, comparison.baseline
    if not better and not worse:
        tasks = "the one task" if n == 1 else f"any of {n} tasks"
        return (
            f"Overall: no detectable change from {baseline} to {candidate} on {tasks}."
            " This does not prove that they are equal."
        )
    rest = f"; no detectable change on the other {len(same)}" if same else ""
    if better and worse:
        return (
            f"Overall: mixed. {candidate} is better than {baseline} on {_some(better, n)} and worse on"
            f" {_some(worse, n)}{rest}."
        )
    if better:
        won = _some(better, n)
        return f"Overall: better. {candidate} beats {baseline} on {won}, and is detectably worse on none{rest}."
    lost = _some(worse, n)
    return f"Overall: worse. {candidate} falls behind {baseline} on {lost}, and is detectably better on none{rest}."


def _some(names: list[str], n: int) -> str:
    return names[0] if n == 1 else f"{len(names)} of {n} tasks ({', '.join(names)})"


def _tests_en(comparison: Comparison) -> str:
    n = len(comparison.tasks)
    return f"{n} tasks" if comparison.n_tests == n else f"{comparison.n_tests} comparisons"


def _task_zh(comparison: Comparison, task: TaskComparison) -> str:
    result, candidate, baseline = task.result, comparison.candidate, comparison.baseline
    zh: Language = "zh"
    first, second = score_text(result.first, task, zh), score_text(result.second, task, zh)
    scores = f"{_metric_zh(task)} 为 {second}，{baseline} 为 {first}"
    points = {"percent": " 个百分点", "hundred": " 分"}.get(task.unit, "")
    change = f"相差 {change_text(result.difference, task)}{points}"
    interval = f"{100 * result.confidence:.3g}% 置信区间 {interval_text(task, ' 至 ')}"
    if result.low is None:
        interval = "无置信区间"
    n = len(comparison.tasks)
    tests = f"{n} 个任务" if comparison.n_tests == n else f"{comparison.n_tests} 次比较"
    corrected = "" if comparison.n_tests == 1 else f"，已按 {tests}作 Holm 校正"
    numbers = f"{scores}，{change}（{interval}，{p_text(task.p_corrected)}{corrected}）。"
    if task.outcome == "no detectable change":
        return f"在 {task.task} 上，{candidate} 与 {baseline} 相比没有测出变化：{numbers}{_needed_zh(task)}"
    lower = "" if task.is_higher_better else "（此指标越低越好。）"
    word = "优于" if task.outcome == "better" else "不如"
    return f"在 {task.task} 上，{candidate} {word} {baseline}：{numbers}{lower}"


def _needed_zh(task: TaskComparison) -> str:
    n, needed = task.result.n, task.result.n_needed
    if needed is None:
        return ""
    goal = {"percent": " 2 个百分点", "coefficient": " 0.02 ", "hundred": " 2 分"}.get(task.unit, "得分 2% ")
    if needed <= n:
        return f"如果差别有{goal.rstrip()}，这 {n:,} 条样本多半已经能看出来。"
    return f"要看出{goal}的差别，大约需要 {rounded(needed):,} 条样本，这次只有 {n:,} 条。"


def _overall_zh(comparison: Comparison) -> str:
    better, worse = comparison.having("better"), comparison.having("worse")
    same, n = comparison.having("no detectable change"), len(comparison.tasks)
    candidate, baseline = comparison.candidate, comparison.baseline
    if not better and not worse:
        tasks = "这个任务上" if n == 1 else f"全部 {n} 个任务上都"
        return f"总体：{candidate} 与 {baseline} 相比，在{tasks}没有测出变化；这并不证明两者相同。"
    rest = f"；其余 {len(same)} 个没有测出变化" if same else ""
    ahead, behind = (
        f" {names[0]} " if n == 1 and names else f" {n} 个任务中的 {len(names)} 个（{'、'.join(names)}）"
        for names in (better, worse)
    )
    if better and worse:
        return f"总体：有得有失。{candidate} 在{ahead}上优于 {baseline}，在{behind}上不如它{rest}。"
    if better:
        return f"总体：有提升。{candidate} 在{ahead}上优于 {baseline}，没有测出变差的任务{rest}。"
    return f"总体：变差了。{candidate} 在{behind}上不如 {baseline}，没有测出变好的任务{rest}。"


def metric_text(task: TaskComparison) -> str:
    """The metric without what says nothing."""
    return task.metric.removesuffix(",none")


def _metric_en(task: TaskComparison) -> str:
    if not task.parts:
        return metric_text(task)
    name = "first metrics" if task.metric == FIRST_METRICS else metric_text(task)
    return f"{name} over {len(task.parts)} tasks, weighted {'by size' if task.weighting == 'by size' else 'alike'}"


def _metric_zh(task: TaskComparison) -> str:
    if not task.parts:
        return metric_text(task)
    name = "各任务首个指标" if task.metric == FIRST_METRICS else metric_text(task)
    how = "按样本数加权" if task.weighting == "by size" else "等权"
    return f"{len(task.parts)} 个子任务的 {name}（{how}）"


def rounded(n: int) -> int:
    """Two digits are all that a figure for planning is good for; rounded up."""
    step = 10 ** max(0, len(str(n)) - 2)
    return -(-n // step) * step


def _minus(text: str) -> str:
    return text.replace("-", MINUS)
