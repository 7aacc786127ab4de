"""The result table of a run: one row for each task, metric and filter, with interval, chance level and marks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from eval.compare.comparable import passages
from eval.compare.measure import Unit
from eval.compare.run import Answered, Metric, TaskRun
from eval.report.estimate import N_RESAMPLES, Estimate, estimate, finite
from eval.report.run import Reported
from eval.statistics.intervals import MIN_UNITS

# Guessing gives no correlation; in a choice of k it is right once in k.
CORRELATIONS = ("mcc", "pearson", "spearman")
CHOICE_METRICS = ("acc", "acc_norm", "acc_bytes")
NORMAL = 1.959963984540054  # quantile of the normal distribution that leaves 2.5 % above


@dataclass(frozen=True)
class Row:
    """One score. `n` samples made it; `n_answered` of `n_asked` have a result, `n_unscored` of them an error.

    `is_higher_better` is None where the task does not say. `interval`: how low and high were found; empty for none.
    `stderr` is of what the interval is of. Where samples share passages (`n_passages` in all) that differs from the
    harness's own, `stderr_harness`, which counts every sample by itself.
    """

    task: str
    metric: str
    filter: str
    is_higher_better: bool | None
    value: float | None
    stderr: float | None
    low: float | None
    high: float | None
    interval: str
    unit: Unit
    n: int
    n_answered: int
    n_asked: int
    n_unscored: int
    version: str
    n_shots: int | None
    chance: float | None
    is_group: bool = False
    stderr_harness: float | None = None
    n_passages: int | None = None
    n_cut: int = 0  # samples whose prompt lost its beginning

    @property
    def key(self) -> tuple[str, str, str]:
        """What rows of several runs are put side by side by."""
        return self.task, self.metric, self.filter

    @property
    def title(self) -> str:
        """The metric, with its filter where the task has one."""
        return self.metric if self.filter in ("none", "") else f"{self.metric} ({self.filter})"

    @property
    def direction(self) -> str:
        """↑ or ↓, the better side."""
        return {True: "↑", False: "↓", None: ""}[self.is_higher_better]

    @property
    def is_partial(self) -> bool:
        """Whether samples are still to be asked."""
        return self.n_answered < self.n_asked

    @property
    def has_few_passages(self) -> bool:
        """Whether there are too few for an interval."""
        return self.n_passages is not None and self.n_passages < MIN_UNITS

    @property
    def is_like_guessing(self) -> bool:
        """Whether the interval holds what guessing would score."""
        return None not in (self.chance, self.low, self.high) and self.low <= self.chance <= self.high  # type: ignore[operator]

    @property
    def is_begun(self) -> bool:
        """Whether there is anything scored; a task that was not begun has one row, of no filter."""
        return self.n > 0

    @property
    def is_share(self) -> bool:
        """Whether it runs from 0 to 1 and more is better: what a radar can show."""
        return self.unit == "percent" and self.is_higher_better is True and self.value is not None


def rows_of(reported: Reported, *, n_resamples_partial: int = N_RESAMPLES) -> list[Row]:
    """All rows of a run in the order of its tasks, then its groups.

    `n_resamples_partial`: of tasks of which samples are still to be asked.
    """
    rows = [
        row for task in reported.run.tasks.values()
        for row in _task_rows(task, reported.results, N_RESAMPLES if _is_asked(task) else n_resamples_partial)
    ]  # fmt: skip
    return rows + list(_group_rows(reported.results, rows))


def first_rows(rows: Sequence[Row]) -> list[Row]:
    """The first metric of each task: the one that is named where only one can be."""
    return list({row.task: row for row in reversed(rows)}.values())[::-1]


def row_data(row: Row) -> dict[str, Any]:
    """The row as JSON: its fields, and what follows from them."""
    return asdict(row) | {"is_partial": row.is_partial, "is_like_guessing": row.is_like_guessing}


def chance_level(metric: str, task: TaskRun, is_binary: bool) -> float | None:
    """What guessing scores on average, where it is known: one in k among k choices, no correlation; else None."""
    if metric in CORRELATIONS:
        return 0.0
    if metric not in CHOICE_METRICS or not is_binary:
        return None
    counts = [n_choices(sample) for sample in task.samples.values() if sample.error is None]
    return sum(1 / n for n in counts) / len(counts) if counts and min(counts) > 1 else None


def n_choices(sample: Answered) -> int:
    """How many continuations the model chose from; 0 where it was not asked to choose."""
    if any(not isinstance(answer, tuple) for answer in sample.answers):
        return 0
    # With mutual information each choice is asked a second time, without its question.
    has_twins = any(key.startswith("acc_mutual_info,") for key in sample.scores)
    return len(sample.answers) // 2 if has_twins else len(sample.answers)


def _is_asked(task: TaskRun) -> bool:
    return len(task.samples) >= task.n_asked


def _task_rows(task: TaskRun, results: Mapping[str, Any], n_resamples: int) -> Iterator[Row]:
    metrics = {metric.name: metric for metric in task.metrics}
    scored = [sample for _, sample in sorted(task.samples.items()) if sample.error is None]
    # What the file says is of this run's state only if nothing was answered after it was written.
    published = _published(task, results, len(scored))
    keys = list(dict.fromkeys(key for sample in scored for key in sample.scores))
    if not keys and task.metrics:
        yield _row(task, task.metrics[0].name, "", task.metrics[0], _normal(None, None), 0)
    for key in keys:
        name, _, filtering = key.partition(",")
        metric = metrics.get(name)
        made, n = _estimated(metric, key, scored, n_resamples) if metric else (None, len(scored))
        value, stderr = published.get(key), published.get(f"{name}_stderr,{filtering}")
        if made is None and value is None:
            continue
        made = made or _normal(value, stderr)
        if value is not None:
            made = replace(made, value=value)
        if stderr is not None and made.n_clusters is None:
            made = replace(made, stderr=stderr)
        yield _row(task, name, filtering, metric, made, n, stderr)


def _row(
    task: TaskRun, name: str, filtering: str, metric: Metric | None, made: Estimate, n: int,
    stderr_harness: float | None = None,
) -> Row:
    n_unscored = sum(sample.error is not None for sample in task.samples.values())
    return Row(
        task.name, name, filtering, metric.is_higher_better if metric else None, made.value, made.stderr, made.low,
        made.high, made.method, made.unit, n, len(task.samples), task.n_asked, n_unscored, task.version, task.n_shots,
        chance_level(name, task, made.is_binary), stderr_harness=stderr_harness, n_passages=made.n_clusters,
        n_cut=sum(sample.is_cut for sample in task.samples.values()),
    )


def _estimated(
    metric: Metric, key: str, scored: Sequence[Answered], n_resamples: int
) -> tuple[Estimate | None, int]:
    held = [sample for sample in scored if _has_score(sample, key)]
    values = [sample.scores[key] for sample in held]
    return (estimate(metric, values, passages(held), n_resamples=n_resamples) if values else None), len(held)


def _has_score(sample: Answered, key: str) -> bool:
    """NaN is how a task says that a metric does not apply to a sample."""
    value = sample.scores.get(key)
    return value is not None and value == value


def _published(task: TaskRun, results: Mapping[str, Any], n_scored: int) -> dict[str, float]:
    if results.get("n-samples", {}).get(task.name, {}).get("effective") != n_scored:
        return {}
    numbers = {key: finite(value) for key, value in results.get("results", {}).get(task.name, {}).items()}
    return {key: number for key, number in numbers.items() if number is not None}


def _normal(value: float | None, stderr: float | None, unit: Unit = "plain") -> Estimate:
    """What the harness's own standard error gives."""
    if value is None or stderr is None:
        return Estimate(value, None, None, stderr, "", unit)
    return Estimate(value, value - NORMAL * stderr, value + NORMAL * stderr, stderr, "normal", unit)


def _group_rows(results: Mapping[str, Any], rows: Sequence[Row]) -> Iterator[Row]:
    """Groups such as mmlu: the harness's mean over their tasks."""
    for group, scores in results.get("groups", {}).items():
        members = _members(results, group)
        for key, value in scores.items():
            name, separator, filtering = key.partition(",")
            if not separator or name.endswith("_stderr") or finite(value) is None:
                continue
            parts = [row for row in rows if row.task in members and (row.metric, row.filter) == (name, filtering)]
            if not parts:
                continue
            published = finite(scores.get(f"{name}_stderr,{filtering}"))
            stderr = _stderr_of_parts(finite(value), parts) if any(row.n_passages for row in parts) else published
            made = _normal(finite(value), stderr, parts[0].unit)
            yield Row(
                group, name, filtering, parts[0].is_higher_better, made.value, made.stderr, made.low, made.high,
                made.method, made.unit, sum(row.n for row in parts), sum(row.n_answered for row in parts),
                sum(row.n_asked for row in parts), sum(row.n_unscored for row in parts),
                str(results.get("versions", {}).get(group, "")), parts[0].n_shots, None, is_group=True,
                stderr_harness=published,
            )


def _stderr_of_parts(value: float | None, parts: Sequence[Row]) -> float | None:
    """Of a group whose tasks hold passages: from their own errors, with the weights that its score shows."""
    known = [(row.n, row.value, row.stderr) for row in parts if row.value is not None and row.stderr is not None]
    if value is None or len(known) < len(parts):
        return None
    sizes, values, errors = zip(*known, strict=True)
    for weights in (sizes, (1,) * len(known)):
        shares = [weight / sum(weights) for weight in weights]
        if math.isclose(value, math.fsum(s * v for s, v in zip(shares, values, strict=True)), rel_tol=1e-9):
            return math.sqrt(math.fsum((s * e) ** 2 for s, e in zip(shares, errors, strict=True)))
    return None


def _members(results: Mapping[str, Any], group: str) -> set[str]:
    """The tasks of a group, those of the groups in it included."""
    children = results.get("group_subtasks", {}).get(group, ())
    return {name for child in children for name in ({child} | _members(results, child))}
