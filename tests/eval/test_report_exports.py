"""Exports: what other programs read of a report, read back with those programs."""

import csv
import io
import json

import pytest
import yaml
from huggingface_hub import ModelCardData, parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results

from eval.report import export, rows_of
from eval.report.sheet import COLUMNS
from eval.types import EvaluationError
from tests.eval.reported_runs import HOSTILE, choice_task, reported, with_configs, written_task

CONFIG = {"dataset_path": "allenai/ai2_arc", "dataset_name": "ARC-Easy", "test_split": "test"}


def test_csv_is_read_back_as_the_numbers_it_was_made_of():
    run = reported(choice_task(13, 20))
    lines = list(csv.DictReader(io.StringIO(export([run], "csv"), newline="")))
    row = rows_of(run)[0]
    assert list(lines[0]) == list(COLUMNS)
    assert [float(lines[0][name]) for name in ("value", "low", "high", "chance")] == [
        row.value, row.low, row.high, row.chance,
    ]
    assert (lines[0]["n"], lines[0]["partial"], lines[0]["direction"]) == ("20", "false", "↑")


def test_json_holds_rows_and_identity_and_no_bare_nan():
    def fail(name: str) -> None:
        raise AssertionError(name)

    data = json.loads(export([reported(choice_task(3, 4))], "json"), parse_constant=fail)
    run = data["runs"][0]
    assert (run["model"]["weights"], run["results"][0]["value"]) == ("a" * 64, 0.75)
    assert run["results"][0]["is_partial"] is False


def test_markdown_has_a_line_for_each_score_with_its_marks():
    text = export([reported(choice_task(2, 5, n_asked=9))], "markdown")
    assert "| quiz | acc ↑ | 0.400 | [0.118, 0.769] | 5 | 0 | partial, 5 of 9; like guessing |" in text


def test_markdown_of_two_runs_has_a_column_for_each():
    runs = [reported(choice_task(2, 5), label="one"), reported(choice_task(5, 5), label="two")]
    lines = export(runs, "markdown").splitlines()
    assert lines[0] == "| task | metric | one | two |"
    assert lines[2].count("|") == 5 and "0.400" in lines[2] and "1.000" in lines[2]


def test_eval_results_are_read_by_huggingface_hub():
    text = export([with_configs(choice_task(13, 20), quiz=CONFIG)], "eval-results")
    (entry,) = parse_eval_result_entries(yaml.safe_load(text))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("allenai/ai2_arc", "ARC-Easy", 0.65)
    assert entry.date == "2026-01-02T03:04:05Z"
    assert "acc, 0-shot; 95 % interval [0.433, 0.819]; n 20" in entry.notes


def test_eval_results_say_that_a_run_was_limited_or_is_partial():
    results = {"configs": {"quiz": CONFIG}, "n-samples": {"quiz": {"original": 2376, "effective": 5}}}
    limited = reported(choice_task(3, 5, n_asked=9), results=results)
    (entry,) = parse_eval_result_entries(yaml.safe_load(export([limited], "eval-results")))
    assert "first 9 of the task's 2376 samples only" in entry.notes and "partial, 5 of 9" in entry.notes


def test_model_index_is_read_by_huggingface_hub_task_by_task():
    run = with_configs(choice_task(13, 20), choice_task(4, 20, name="other"), quiz=CONFIG, other=CONFIG)
    text = export([run], "model-index")
    name, results = model_index_to_eval_results(yaml.safe_load(text)["model-index"])
    assert name == "model (fp32)"
    assert [(r.task_name, r.dataset_type, r.dataset_config, r.dataset_split, r.metric_type, r.metric_value)
            for r in results] == [
        ("quiz", "allenai/ai2_arc", "ARC-Easy", "test", "acc", 0.65),
        ("other", "allenai/ai2_arc", "ARC-Easy", "test", "acc", 0.2),
    ]
    assert results[0].metric_args["interval"] == "Wilson"


def test_a_model_card_with_our_block_in_its_head_keeps_it():
    text = export([with_configs(choice_task(13, 20), quiz=CONFIG)], "model-index")
    card = ModelCardData(**yaml.safe_load(text))
    assert card.eval_results[0].metric_value == 0.65


@pytest.mark.parametrize("path", ["json", "/data/mine", "./rows", "C:\\data", None])
@pytest.mark.parametrize("form", ["eval-results", "model-index"])
def test_data_that_is_not_on_the_hub_is_not_named_as_if_it_were(form, path):
    with pytest.raises(EvaluationError, match="nothing to export"):
        export([with_configs(choice_task(1, 2), quiz={"dataset_path": path})], form)


def test_a_run_without_results_file_says_how_to_get_one():
    with pytest.raises(EvaluationError, match="benchmark --resume base"):
        export([reported(choice_task(1, 2))], "eval-results")


@pytest.mark.parametrize("form", ["eval-results", "model-index"])
def test_a_card_takes_one_model_only(form):
    with pytest.raises(EvaluationError, match="name one run"):
        export([reported(choice_task(1, 2)), reported(choice_task(1, 2))], form)


def test_the_command_form_is_the_command_alone():
    assert export([reported(choice_task(1, 2))], "command") == (
        "python -m llm_app benchmark --model=model --tasks=quiz\n"
    )


@pytest.mark.parametrize("form", ["html", "markdown", "csv", "json"])
@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_can_be_written_as_utf_8(form, text):
    export([reported(written_task(text, name=text), label=text)], form).encode("utf-8")
