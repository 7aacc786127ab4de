"""What a run came to, in the shape of lm-evaluation-harness: results, samples, and the table that it prints."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.evaluator_utils import EvalAcc, aggregate_groups
from lm_eval.utils import handle_non_serializable, hash_string, make_table, sanitize_list

from eval.tasks.harness import HarnessTask, Suite
from eval.types import Result, count_cut

N_BOOTSTRAP = 100_000  # the harness's own


@dataclass(frozen=True)
class Report:
    """Scores over what is done, and what is not."""

    data: dict[str, Any]
    partial: Mapping[str, tuple[int, int]]  # task -> samples with a result, of all asked; unfinished tasks only
    unscored: Mapping[str, Sequence[Result]]  # task -> results with an error
    cut: Mapping[str, tuple[int, int]]  # task -> scored samples whose prompt lost its beginning, of all scored
    n_context: int | None = None  # tokens that a prompt may have

    @property
    def table(self) -> str:
        """As the harness prints it, with a line for all that is not there."""
        parts = [make_table(self.data)] if self.data["results"] else []
        if self.data.get("groups"):
            parts.append(make_table(self.data, "groups"))
        parts += [f"{task}: partial, {done} of {total} samples" for task, (done, total) in self.partial.items()]
        parts += [
            f"{task}: {len(results)} samples not scored. The first: {results[0].error}"
            for task, results in self.unscored.items()
        ]
        at = "" if self.n_context is None else f" at {self.n_context:,} tokens"
        parts += [f"{task}: {n_cut:,} of {n:,} prompts were cut{at}" for task, (n_cut, n) in self.cut.items()]
        return "\n".join(part.rstrip() for part in parts)


def report(
    suite: Suite, results: Mapping[str, Sequence[Result]], *, n_bootstrap: int = N_BOOTSTRAP,
    n_context: int | None = None,
) -> Report:
    """Scores, standard errors and groups over the results that are there."""
    made = EvalAcc()
    scored = {name: [r for r in results.get(name, ()) if r.error is None] for name in suite.tasks}
    for name, task in suite.tasks.items():
        if scored[name]:
            _add(made, name, task, task.aggregate(scored[name], n_bootstrap=n_bootstrap))
    made.groups = {
        name: group for name, group in suite.groups.items()
        if all(scored.get(task.task_name) for task in group.get_all_tasks())
    }
    return Report(
        dict(aggregate_groups(made)._to_eval_results()),
        {
            name: (len(results.get(name, ())), len(task.samples))
            for name, task in suite.tasks.items() if len(results.get(name, ())) < len(task.samples)
        },
        {name: errors for name in suite.tasks if (errors := [r for r in results.get(name, ()) if r.error is not None])},
        {name: counts for name in suite.tasks if (counts := count_cut(results.get(name, ())))[0]},
        n_context,
    )


def results_text(made: Report, suite: Suite, results: Mapping[str, Sequence[Result]], about: Mapping[str, Any]) -> str:
    """A `results_*.json`. The same results make the same bytes: nothing in it is of the moment of writing."""
    data: dict[str, Any] = {**made.data, **about, "task_hashes": _hashes(suite, results)}
    if made.partial:
        data["partial"] = {name: {"done": done, "total": total} for name, (done, total) in made.partial.items()}
    if made.unscored:
        data["unscored"] = {
            name: [{"doc_id": r.sample, "reason": r.error} for r in sorted(errors, key=lambda r: r.sample)]
            for name, errors in made.unscored.items()
        }
    if made.cut:
        data["cut"] = {
            name: {"context": made.n_context, "doc_ids": sorted(r.sample for r in results[name] if r.is_cut)}
            for name in made.cut
        }
    gone: list[str] = []
    data = finite(data, gone)
    if gone:
        data["not_finite"] = gone  # these are null above
    return json.dumps(data, indent=2, default=handle_non_serializable, ensure_ascii=False, allow_nan=False) + "\n"


def samples_lines(task: HarnessTask, results: Sequence[Result]) -> Iterator[str]:
    """The lines of a `samples_*.jsonl`."""
    for row in task.logged(results):
        arguments = {
            f"gen_args_{i}": {f"arg_{j}": part for j, part in enumerate(argument)}
            for i, argument in enumerate(row["arguments"])
        }
        written = row | {
            "resps": sanitize_list(row["resps"]),
            "filtered_resps": sanitize_list(row["filtered_resps"]),
            "arguments": arguments,
            "target": str(row["target"]),
        }
        yield json.dumps(finite(written), default=handle_non_serializable, ensure_ascii=False, allow_nan=False) + "\n"


def finite(value: Any, gone: list[str] | None = None, path: str = "") -> Any:
    """The value with None for every number that JSON does not have; `gone` gets their places."""
    if isinstance(value, float) and not math.isfinite(value):
        if gone is not None:
            gone.append(f"{path}: {value}")
        return None
    if isinstance(value, Mapping):
        return {key: finite(item, gone, f"{path}/{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item, gone, f"{path}/{number}") for number, item in enumerate(value)]
    return finite(value.tolist(), gone, path) if hasattr(value, "tolist") else value


def _add(made: EvalAcc, name: str, task: HarnessTask, scores: dict[str, Any]) -> None:
    made.metrics[name] = scores
    made.configs[name] = task.config()
    made.versions[name] = task.harness.VERSION
    made.num_fewshot[name] = task.n_shots
    made.higher_is_better[name] = task.harness.higher_is_better()
    made.n_samples[name] = {"original": len(task.harness.eval_docs), "effective": scores["sample_len"]}


def _hashes(suite: Suite, results: Mapping[str, Sequence[Result]]) -> dict[str, str]:
    return {
        name: hash_string("".join(
            row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in task.logged(results.get(name, ()))
        ))
        for name, task in suite.tasks.items()
    }
