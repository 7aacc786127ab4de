"""Results in the two forms that model cards on the Hugging Face hub read.

`.eval_results/*.yaml`: huggingface_hub's EvalResultEntry, https://huggingface.co/docs/hub/eval-results. One value for
each data set and task of it, so that only the first metric of a task is in it; `notes` says under which conditions.
`model-index`: the older block in the head of README.md, with all metrics.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.repocard_data import eval_results_to_model_index

from eval.report.markdown import marks
from eval.report.numbers import interval_text
from eval.report.rows import Row, first_rows
from eval.report.run import Reported
from eval.types import EvaluationError

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
FILE_KINDS = ("json", "csv", "text", "parquet", "arrow", "pandas", "webdataset")  # what `datasets` reads files with
MODEL_TASK = "text-generation"


def eval_results_yaml(reported: Reported, rows: Sequence[Row]) -> str:
    """A file for `.eval_results/`: the first metric of every task whose data is on the hub.

    `task_id` is the name of the data set's configuration, "default" where it has none; a benchmark that calls its
    tasks otherwise in its `eval.yaml` needs it changed. Raises: EvaluationError if nothing has a place on the hub.
    """
    entries = []
    for row in first_rows(rows):
        data = _data_set(reported, row)
        if data is not None and row.value is not None:
            entries.append(EvalResultEntry(
                dataset_id=data["dataset_path"], task_id=data.get("dataset_name") or "default", value=row.value,
                dataset_revision=_revision(data), date=_date(reported), notes=_notes(reported, row),
            ))
    if not entries:
        raise EvaluationError(_nothing(reported))
    return _yaml(eval_result_entries_to_yaml(entries))


def model_index_yaml(reported: Reported, rows: Sequence[Row]) -> str:
    """The `model-index` entry for the head of README.md, with every metric of every task.

    Raises: EvaluationError if no task has data that is on the hub.
    """
    results: list[Any] = []
    for task in dict.fromkeys(row.task for row in rows):
        # Task by task: on the hub, results of one data set become one, and the name of the second task is lost.
        found = [made for row in rows if row.task == task and (made := _index_entry(reported, row)) is not None]
        if found:
            results += eval_results_to_model_index(reported.label, found)[0]["results"]
    if not results:
        raise EvaluationError(_nothing(reported))
    return _yaml({"model-index": [{"name": reported.label, "results": results}]})


def _yaml(data: Any) -> str:
    return str(yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=120))


def _index_entry(reported: Reported, row: Row) -> EvalResult | None:
    data = _data_set(reported, row)
    if data is None or row.value is None:
        return None
    details = {
        "filter": row.filter, "num_few_shot": row.n_shots, "n": row.n, "stderr": row.stderr, "low": row.low,
        "high": row.high, "interval": row.interval, "note": marks(row),
    }
    return EvalResult(
        task_type=MODEL_TASK, task_name=row.task, dataset_type=data["dataset_path"], dataset_name=row.task,
        dataset_config=data.get("dataset_name"), dataset_split=data.get("test_split") or data.get("validation_split"),
        dataset_revision=_revision(data), metric_type=row.metric, metric_value=row.value, metric_name=row.title,
        metric_args={key: value for key, value in details.items() if value not in (None, "")},
    )


def _data_set(reported: Reported, row: Row) -> Mapping[str, Any] | None:
    """The task's definition, if its data is on the hub; a folder or file of this machine is nothing to others."""
    config = reported.results.get("configs", {}).get(row.task)
    path = config.get("dataset_path") if config else None
    is_on_hub = isinstance(path, str) and _HUB_ID.fullmatch(path) and path not in FILE_KINDS
    return config if is_on_hub else None


def _revision(data: Mapping[str, Any]) -> str | None:
    revision = (data.get("dataset_kwargs") or {}).get("revision")
    return str(revision) if revision else None


def _date(reported: Reported) -> str | None:
    return reported.created[:19] + "Z" if reported.created else None


def _notes(reported: Reported, row: Row) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in list(reported.versions.items())[:2])
    n_whole = reported.results.get("n-samples", {}).get(row.task, {}).get("original", row.n_asked)
    parts = [
        f"{row.title}, {row.n_shots}-shot" if row.n_shots is not None else row.title,
        f"95 % interval {interval_text(row)}" if row.interval else "", f"n {row.n}",
        f"first {row.n_asked} of the task's {n_whole} samples only" if row.n_asked < n_whole else "",
        marks(row), reported.label, versions,
    ]
    return "; ".join(part for part in parts if part)


def _nothing(reported: Reported) -> str:
    if not reported.results:
        return (
            f"Run {reported.run.id} has no results file yet, which names the data sets. Finish it with"
            f" `python -m llm_app benchmark --resume {reported.run.id}`."
        )
    return f"No task of run {reported.run.id} has a score on a data set that is on the hub; nothing to export."
