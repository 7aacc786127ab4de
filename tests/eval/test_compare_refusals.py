"""What is not compared, what is left out, and what rings the alarm."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from eval.compare import Metric, compare, to_json
from tests.eval.made_runs import LOGS, WEIGHTED, coins, compared, run_of, task_run


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"n_shots": 5}, r"the number of examples \(shots\) differs: 0 and 5"),
        ({"version": "2.0"}, "the version of the task differs: 1.0 and 2.0"),
        ({"n_asked": 8}, "the limit differs: 4 and 8 samples"),
        ({"digest": "another"}, "the definition of the task differs"),
    ],
)
def test_another_task_is_refused_with_the_reason(fields: dict[str, Any], reason: str) -> None:
    baseline, other = run_of(task_run([0, 1, 1, 0])), run_of(task_run([1, 1, 1, 0], **fields), label="tuned")
    (comparison,) = compare(baseline, [other])
    assert comparison.tasks == ()
    english, chinese = comparison.refused[0].reasons[0]
    assert re.search(reason, english) and chinese


def test_another_template_or_seed_is_refused_with_the_reason() -> None:
    conditions = {"chat template": "one", "seed of the examples": 1}
    baseline = run_of(task_run([0, 1]), conditions=conditions)
    other = run_of(task_run([0, 1]), conditions={"chat template": "two", "seed of the examples": 2}, label="tuned")
    (comparison,) = compare(baseline, [other])
    assert [reason[0] for reason in comparison.refused[0].reasons] == [
        "the chat template differs: one and two", "the seed of the examples differs: 1 and 2",
    ]


def test_other_data_is_refused_and_the_first_sample_is_named() -> None:
    task = task_run([0, 1, 1])
    other = replace(task, samples={**task.samples, 1: replace(task.samples[1], digest="other")})
    (comparison,) = compare(run_of(task), [run_of(other, label="tuned")])
    assert comparison.refused[0].reasons[0][0] == "the data or the prompts differ, first at sample 1"


def test_a_score_by_token_is_refused_for_other_tokenizers() -> None:
    metric = Metric("token_perplexity", "eval.tasks.corpus.perplexity", False)
    baseline = run_of(task_run(WEIGHTED, metric=metric))
    other = run_of(task_run(WEIGHTED, metric=metric), label="tuned", identity={"weights": "w", "tokenizer": "u"})
    (comparison,) = compare(baseline, [other])
    assert "the tokenizers differ" in comparison.refused[0].reasons[0][0]


def test_an_unknown_metric_is_refused_and_the_known_ones_are_named() -> None:
    baseline, other = run_of(task_run([0, 1])), run_of(task_run([1, 1]), label="tuned")
    (comparison,) = compare(baseline, [other], metric="f1")
    assert comparison.refused[0].reasons[0][0] == "it has no metric f1 (it has: acc,none)"


def test_a_partial_run_is_compared_over_what_both_have_and_that_is_said() -> None:
    whole, part = task_run(coins(50, 0.5, 0)), task_run(coins(50, 0.5, 1))
    part = replace(part, samples={i: part.samples[i] for i in range(20)})
    (comparison,) = compare(run_of(whole), [run_of(part, label="tuned")])
    assert comparison.tasks[0].result.n == 20 and comparison.tasks[0].n_one_sided == 30
    assert any("20 samples that both runs have; 30 are in one only" in note[0] for note in comparison.notes)


def test_unscored_samples_are_left_out_of_both_and_counted() -> None:
    comparison = compared([1, None, 0, 1, math.nan], [1, 1, None, 0, 1])
    assert comparison.tasks[0].result.n == 2 and comparison.tasks[0].n_unscored == 3
    assert any("3 samples could not be scored" in note[0] for note in comparison.notes)


def identified(scores: Sequence[float], label: str, **identity: str) -> Any:
    return run_of(task_run(scores), label=label, identity={"weights": "w", "adapter": "", "tokenizer": "t"} | identity)


def test_an_adapter_that_changes_nothing_rings_the_alarm() -> None:
    scores = coins(30, 0.5, 0)
    (comparison,) = compare(identified(scores, "base"), [identified(scores, "tuned", adapter="a")])
    assert comparison.alarms[0][0].startswith("The adapter changes nothing: all 30 outputs are equal")


def test_two_models_with_equal_outputs_ring_the_alarm() -> None:
    scores = coins(30, 0.5, 0)
    (comparison,) = compare(identified(scores, "base"), [identified(scores, "other", weights="v")])
    assert "differ in their weights, yet all 30 outputs are equal" in comparison.alarms[0][0]


def test_a_model_compared_with_itself_rings_the_alarm() -> None:
    (comparison,) = compare(identified([0, 1], "base"), [identified([1, 1], "again")])
    assert "compared with itself" in comparison.alarms[0][0]


def test_an_adapter_that_changes_one_answer_rings_none() -> None:
    (comparison,) = compare(identified([0, 1, 1], "base"), [identified([0, 1, 0], "tuned", adapter="a")])
    assert comparison.alarms == ()


def test_everything_is_in_the_json_and_no_number_that_json_lacks() -> None:
    metric = Metric("perplexity", "perplexity", False)
    data = json.loads(json.dumps(to_json(compared(LOGS, LOGS[::-1], metric)), allow_nan=False))
    assert len(data["tasks"][0]["changes"]) == 40
    assert data["tasks"][0]["result"]["p"] == pytest.approx(compared(LOGS, LOGS[::-1], metric).tasks[0].result.p)
