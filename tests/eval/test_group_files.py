"""Groups in the files of lm-evaluation-harness, which do not say how a group weighs its tasks."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm_eval.api import metrics as harness

from eval.compare import compare, harness_files
from eval.compare.harness_files import groups_of
from eval.compare.run import read_group
from eval.types import GroupMetric, TaskGroup
from tests.eval.test_compare_groups import Columns, compared, group, subjects


def results_file(values: Mapping[str, float], sizes: Mapping[str, int], *, by_size: bool) -> dict[str, Any]:
    """What the harness writes of a group within a group."""
    score = harness.aggregate_subtask_metrics(list(values.values()), list(sizes.values()), by_size)
    scores = {"alias": "mmlu", "name": "mmlu", "acc,none": score, "acc_stderr,none": 0.01, "sample_len": 10}
    return {
        "groups": {"mmlu": scores, "mmlu_stem": {"acc,none": values["a"]}},
        "group_subtasks": {"mmlu": ["mmlu_stem", "b", "c"], "mmlu_stem": ["a"]},
        "results": {name: {"acc,none": value} for name, value in values.items()},
        "n-samples": {name: {"original": 999, "effective": n} for name, n in sizes.items()},
        "versions": {"mmlu": "2", "mmlu_stem": "2"},
    }


VALUES, SIZES = {"a": 0.25, "b": 0.5, "c": 0.7}, {"a": 10, "b": 30, "c": 100}


@pytest.mark.parametrize(("by_size", "weights"), [(True, None), (False, {"a": 1.0, "b": 1.0, "c": 1.0})])
def test_the_weights_of_a_group_are_found_in_the_harness_s_own_results(
    by_size: bool, weights: Mapping[str, float] | None
) -> None:
    found = groups_of(results_file(VALUES, SIZES, by_size=by_size))
    assert found == {"mmlu": TaskGroup("mmlu", "2", ("a", "b", "c"), (GroupMetric("acc", ("none",), weights),))}


def test_a_group_whose_score_is_neither_mean_is_left_out() -> None:
    data = results_file(VALUES, SIZES, by_size=True)
    data["groups"]["mmlu"]["acc,none"] += 0.01
    assert groups_of(data).keys() == {"mmlu_stem"}


def test_a_group_is_read_as_it_was_written() -> None:
    for weights in (None, {"a": 1.0, "b": 0.5}):
        made = TaskGroup("g", "1", ("a", "b"), (GroupMetric("acc", ("none",), weights), GroupMetric("")))
        assert read_group(json.loads(json.dumps(asdict(made)))) == made


def test_files_of_the_harness_are_compared_by_their_group(tmp_path: Path) -> None:
    tasks = subjects(4, 50, 0.06)
    found = [harness_files.read(written(tmp_path / str(side), tasks, side)) for side in (0, 1)]
    (comparison,) = compare(found[0], found[1:])
    (ours,) = compared(tasks, group(tasks)).tasks
    assert [task.task for task in comparison.tasks] == ["mmlu"]
    assert comparison.tasks[0].result == ours.result


def written(folder: Path, tasks: Columns, side: int) -> Path:
    """`results_*.json` and `samples_*.jsonl` as the harness writes them."""
    folder.mkdir()
    means = {name: float(np.mean(columns[side])) for name, columns in tasks.items()}
    sizes = {name: len(columns[side]) for name, columns in tasks.items()}
    data = {
        "results": {name: {"acc,none": value} for name, value in means.items()},
        "groups": {"mmlu": {"acc,none": harness.aggregate_subtask_metrics(list(means.values()), list(sizes.values()))}},
        "group_subtasks": {"mmlu": list(tasks)},
        "configs": {name: {"output_type": "multiple_choice", "metric_list": [{"metric": "acc"}]} for name in tasks},
        "versions": dict.fromkeys([*tasks, "mmlu"], 1.0), "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": dict.fromkeys(tasks, {"acc": True}),
        "n-samples": {name: {"original": n, "effective": n} for name, n in sizes.items()},
        "config": {"model_args": {"pretrained": f"m{side}"}, "fewshot_seed": 1234}, "model_name": f"m{side}",
    }
    for name, columns in tasks.items():
        lines = [
            {
                "doc_id": i, "doc": {"q": i}, "target": "0", "arguments": {"gen_args_0": {"arg_0": "q", "arg_1": " a"}},
                "resps": [[["-1.0", "False"]]], "filter": "none", "metrics": ["acc"], "acc": score,
                "doc_hash": f"{name}{i}", "prompt_hash": "p", "target_hash": "t",
            }
            for i, score in enumerate(columns[side])
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"samples_{name}_now.jsonl").write_text(text)
    (folder / "results_now.json").write_text(json.dumps(data))
    return folder / "results_now.json"
