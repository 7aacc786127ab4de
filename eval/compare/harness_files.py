"""A run from the files that lm-evaluation-harness writes: `results_*.json`, and `samples_*.jsonl` for each task."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.compare.measure import is_known
from eval.compare.run import IDENTITY, Answered, Metric, Run, TaskRun, digest_of, read_group
from eval.types import Answer, EvaluationError, GroupMetric, TaskGroup

FEWSHOT_SEED = 1234  # of the examples, where the person gives none
# What the harness takes where a task names no aggregation.
DEFAULTS = {
    "perplexity": "perplexity", "word_perplexity": "weighted_perplexity", "byte_perplexity": "weighted_perplexity",
    "bits_per_byte": "bits_per_byte", "mcc": "matthews_corrcoef", "f1": "f1", "bleu": "bleu", "chrf": "chrf",
    "ter": "ter", "brier_score": "brier_score",
}


def groups_of(data: Mapping[str, Any]) -> dict[str, TaskGroup]:
    """The outermost groups that have a score in `results_*.json`.

    The file does not say whether tasks weigh by their samples or alike; their scores and the group's tell it. A group
    of which they do not is left out, so that its tasks stand for themselves.
    """
    found: dict[str, TaskGroup] = {}
    for name, scores in (data.get("groups") or {}).items():
        tasks = tuple(dict.fromkeys(_leaves(data, name)))
        metrics = tuple(
            metric for key, value in scores.items()
            if isinstance(value, float) and "," in key and "_stderr," not in key
            if (metric := _group_metric(data, tasks, key, value)) is not None
        )
        if metrics and tasks:
            found[name] = TaskGroup(name, str(data["versions"].get(name, "N/A")), tasks, metrics)
    return {
        name: group for name, group in found.items()
        if not any(set(group.tasks) < set(other.tasks) for other in found.values())
    }


def _leaves(data: Mapping[str, Any], name: str) -> Iterator[str]:
    for child in data["group_subtasks"].get(name, ()):
        if child in data["group_subtasks"]:
            yield from _leaves(data, child)
        else:
            yield child


def _group_metric(data: Mapping[str, Any], tasks: Sequence[str], key: str, value: float) -> GroupMetric | None:
    values = [data["results"].get(task, {}).get(key) for task in tasks]
    sizes = [data["n-samples"].get(task, {}).get("effective") for task in tasks]
    if None in values or None in sizes or not sum(sizes):
        return None
    name, _, filtering = key.partition(",")
    by_size = math.fsum(v * n for v, n in zip(values, sizes, strict=True)) / sum(sizes)
    if math.isclose(value, by_size, rel_tol=1e-9):
        return GroupMetric(name, (filtering,))
    if math.isclose(value, math.fsum(values) / len(values), rel_tol=1e-9):
        return GroupMetric(name, (filtering,), dict.fromkeys(tasks, 1.0))
    return None


def read(path: Path) -> Run:
    """The run whose `results_*.json` this is, or whose folder this is, if it holds the files of one run.

    Raises: EvaluationError saying what is missing or damaged.
    """
    results = _results_file(path)
    data = _json(results, results.read_text(encoding="utf-8"))
    stamp = results.stem.removeprefix("results_")
    tasks = {}
    try:
        for name in data["configs"]:
            samples = next(results.parent.glob(f"samples_{_escaped(name)}_{_escaped(stamp)}.jsonl"), None)
            if samples is not None:
                tasks[name] = _task(name, data, samples)
        if not tasks:
            raise EvaluationError(f"{results} has no samples_*.jsonl beside it; the harness needs --log_samples.")
        return _run(data, stamp, tasks)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise EvaluationError(f"{results} is not as the harness writes it: {type(error).__name__} {error}.") from error


def _results_file(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("results_*.json")) or sorted(path.glob("*/results_*.json"))
    if not found:
        raise EvaluationError(f"{path} holds no run: neither spec.json nor results_*.json.")
    if len(found) > 1:
        raise EvaluationError(f"{path} holds {len(found)} runs; name one of them: {found[0]}, ...")
    return found[0]


def _run(data: Mapping[str, Any], stamp: str, tasks: dict[str, TaskRun]) -> Run:
    config, own = data["config"], data.get("proofbench", {})
    arguments = config.get("model_args")
    identity = {"model": str(data.get("model_name")), "arguments": json.dumps(arguments, sort_keys=True)}
    if "identity" in own:
        identity = {word: str(own["identity"][key]) for key, word in IDENTITY.items()}
    template = data.get("chat_template_sha")
    adapter = arguments.get("adapter") if isinstance(arguments, dict) else None
    name = Path(str(data.get("model_name") or "model")).name
    return Run(
        id=str(own.get("run") or stamp),
        label=f"{name} + {Path(adapter).name}" if adapter else name,
        identity=identity,
        conditions={
            "seed of the examples": config.get("fewshot_seed"),
            "use of the chat template (--chat-template)": template is not None,
            "chat template": template,
        },
        tasks=tasks,
        setting={
            "version of lm-eval": str(data.get("lm_eval_version")), "context length": str(data.get("max_length")),
        },
        groups=groups_of(data) if "groups" not in own else {n: read_group(one) for n, one in own["groups"].items()},
        asked=tuple(own.get("asked", ())),
    )


def _task(name: str, data: Mapping[str, Any], path: Path) -> TaskRun:
    samples: dict[int, Answered] = {}
    is_text = data["configs"][name].get("output_type") == "generate_until"
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line:
            continue
        row = _json(path, line, number)
        found = samples.get(row["doc_id"])
        scores = {f"{metric},{row['filter']}": row[metric] for metric in row["metrics"]}
        samples[row["doc_id"]] = _answered(row, {**(found.scores if found else {}), **scores}, is_text=is_text)
    for number in data.get("cut", {}).get(name, {}).get("doc_ids", ()):
        samples[number] = replace(samples[number], is_cut=True)
    for wrong in data.get("unscored", {}).get(name, ()):
        samples[wrong["doc_id"]] = Answered(wrong["doc_id"], "", {}, "", (), (), {}, wrong["reason"])
    higher = data["higher_is_better"][name]
    given = {metric["metric"]: metric for metric in data["configs"][name].get("metric_list", ()) or ()}
    names = [*given, *(metric for metric in higher if metric not in given)]
    metrics = [
        Metric(metric, _aggregation(metric, given.get(metric, {})), higher[metric])
        for metric in names if higher.get(metric) is not None
    ]
    total = data.get("partial", {}).get(name, {}).get("total", len(samples))
    return TaskRun(name, str(data["versions"][name]), int(data["n-shot"][name]), total, tuple(metrics), samples)


def _aggregation(metric: str, given: Mapping[str, Any]) -> str:
    """As the file names it, unless the name tells nothing and that of the metric does."""
    name = str(given.get("aggregation") or "")
    return name if name and (is_known(name) or metric not in DEFAULTS) else DEFAULTS.get(metric, "mean")


def _answered(row: Mapping[str, Any], scores: Mapping[str, Any], *, is_text: bool) -> Answered:
    requests = [tuple(arguments.values()) for arguments in row["arguments"].values()]
    return Answered(
        sample=row["doc_id"],
        digest=digest_of(row["doc_hash"], row["prompt_hash"], row["target_hash"]),
        doc=row["doc"] if isinstance(row["doc"], dict) else {},
        target=str(row["target"]),
        requests=tuple((str(r[0]), str(r[1]) if len(r) > 1 and isinstance(r[1], str) else "") for r in requests),
        answers=tuple(str(r) if is_text else _answer(r) for responses in row["resps"] for r in responses),
        scores=scores,
    )


def _answer(response: Any) -> Answer:
    """A log-likelihood; the harness writes numbers as text, since there are some that JSON lacks."""
    if isinstance(response, list):
        value, is_greedy = response
        return _number(value), str(is_greedy) == "True"
    return _number(response)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _json(path: Path, text: str, line: int | None = None) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        place = f", line {line}" if line else ""
        raise EvaluationError(f"{path}{place} is not valid JSON: {error}.") from error


def _escaped(text: str) -> str:
    """For a glob: names of tasks may hold brackets."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)
