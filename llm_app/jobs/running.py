"""The score so far, for the line that shows how a run goes on."""

from collections.abc import Sequence
from dataclasses import replace

from eval.compare.run import Metric
from eval.report.estimate import N_RESAMPLES, Estimate, estimate
from eval.tasks.harness import HarnessTask
from eval.types import Result
from llm_app.jobs.asked import metrics_of

N_RESAMPLES_SO_FAR = 200  # it is shown for a moment, and computed again and again


def score_so_far(task: HarnessTask, results: Sequence[Result], *, shares_passages: bool) -> str:
    """`running_score` of a task that is loaded."""
    metrics = [Metric(m["name"], m["aggregation"], m["higher_is_better"]) for m in metrics_of(task)]
    return running_score(metrics, results, n_total=len(task.samples), shares_passages=shares_passages)


def running_score(
    metrics: Sequence[Metric], results: Sequence[Result], *, n_total: int, shares_passages: bool
) -> str:
    """The estimate of what is done, with half its 95 % interval: `acc 0.62 ± 0.04`; empty where there is none yet."""
    found = estimate_so_far(metrics, results, n_total=n_total, shares_passages=shares_passages)
    if found is None or (value := found[1].value) is None:
        return ""
    metric, made = found
    if made.low is None or made.high is None:
        return f"{metric.name} {value:.3g}"
    return f"{metric.name} {value:{_digits(value)}} ± {(made.high - made.low) / 2:{_digits(value)}}"


def estimate_so_far(
    metrics: Sequence[Metric], results: Sequence[Result], *, n_total: int, shares_passages: bool
) -> tuple[Metric, Estimate] | None:
    """The first metric of a task over what is done; with the last of `n_total` samples it is that of the report.

    None where there is no score yet, or where only the task itself can make one of many. Without an interval where
    samples share passages, which come one after the other: those of the run so far say little of the others.
    """
    scored = [result for result in sorted(results, key=lambda result: result.sample) if result.error is None]
    key = next((key for result in scored for key in result.scores), None)
    metric = next((metric for metric in metrics if key is not None and metric.name == key.split(",")[0]), None)
    if key is None or metric is None:
        return None
    values = [value for result in scored if (value := result.scores.get(key)) is not None and value == value]
    n_resamples = N_RESAMPLES if len(results) >= n_total else N_RESAMPLES_SO_FAR
    made = estimate(metric, values, n_resamples=n_resamples) if values else None
    if made is None or made.value is None:
        return None
    return metric, replace(made, low=None, high=None) if shares_passages else made


def _digits(value: float) -> str:
    return ".2f" if abs(value) < 100 else ".4g"
