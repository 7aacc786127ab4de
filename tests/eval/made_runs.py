"""Runs made of numbers, for the tests of comparisons."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.compare import Answered, Comparison, Metric, Run, TaskComparison, TaskRun, compare

ACCURACY = Metric("acc", "mean", True)
LOGS = list(np.random.default_rng(5).normal(-4, 1, 40))
WEIGHTED = [[float(value), int(n)] for value, n in zip(LOGS, np.random.default_rng(6).integers(1, 9, 40), strict=True)]


def task_run(
    scores: Sequence[Any], *, name: str = "sst2", metric: Metric = ACCURACY, docs: Sequence[Mapping[str, Any]] = (),
    **fields: Any,
) -> TaskRun:
    """One score a sample; None for one that could not be scored. The answers are one text each, that of the score."""
    samples = {}
    for number, score in enumerate(scores):
        is_scored = score is not None
        samples[number] = Answered(
            sample=number,
            digest=f"digest {number}",
            doc=docs[number] if docs else {"text": f"question {number}"},
            target="yes",
            requests=((f"question {number}", ""),),
            answers=(f"answer {score}",) if is_scored else (),
            scores={f"{metric.name},none": score} if is_scored else {},
            error=None if is_scored else "too long",
        )
    given: dict[str, Any] = {"version": "1.0", "n_shots": 0, "n_asked": len(scores), "digest": "the task"}
    return TaskRun(name=name, metrics=(metric,), samples=samples, **(given | fields))


def run_of(*tasks: TaskRun, label: str = "base", **fields: Any) -> Run:
    """A run of a model that is its own, unless `identity` says otherwise."""
    given: dict[str, Any] = {
        "id": label, "identity": {"weights": label, "tokenizer": "t"}, "conditions": {"chat template": None},
    }
    return Run(label=label, tasks={task.name: task for task in tasks}, **(given | fields))


def compared(first: Sequence[Any], second: Sequence[Any], metric: Metric = ACCURACY, **fields: Any) -> Comparison:
    baseline = run_of(task_run(first, metric=metric, **fields))
    candidate = run_of(task_run(second, metric=metric, **fields), label="tuned")
    return compare(baseline, [candidate])[0]


def one(first: Sequence[Any], second: Sequence[Any], metric: Metric = ACCURACY, **fields: Any) -> TaskComparison:
    (task,) = compared(first, second, metric, **fields).tasks
    return task


def coins(n: int, rate: float, seed: int) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).random(n) < rate]
