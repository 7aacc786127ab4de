"""Every layout as its project publishes it, held against json, csv and pyarrow."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llm_app.data.dataset_info import read_specs
from llm_app.data.decode import decode
from llm_app.data.formats import Mapping, detect
from llm_app.data.mapping import to_examples
from llm_app.data.mix import DatasetSpec, load
from llm_app.data.read import read_file
from llm_app.data.types import BadRow, Example


@pytest.fixture(scope="module")
def instruct(hub_data: Path) -> Path:
    return hub_data.parent / "raw" / "instruct"


def examples_of(path: Path, mapping: Mapping | None = None) -> tuple[Mapping, list[Example], list[BadRow]]:
    table = read_file(path)
    mapping = mapping or detect(table)
    return mapping, *to_examples(table, mapping)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The oracle: Python's own json, whole or line by line."""
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.split("\n") if line]


@pytest.mark.parametrize("name", ["alpaca_en_demo.json", "alpaca_zh_demo.json", "identity.json"])
def test_alpaca_becomes_question_with_input_and_answer(instruct, name):
    path = instruct / "llama_factory" / name
    mapping, examples, bad = examples_of(path)
    assert (mapping.layout, mapping.prompt, mapping.input, mapping.response, bad) == (
        "alpaca", "instruction", "input", "output", [],
    )  # fmt: skip
    asked = [row["instruction"] + ("\n" + row["input"] if row["input"].strip() else "") for row in rows_of(path)]
    assert [example.turns[0].content for example in examples] == asked
    assert [example.turns[1].content for example in examples] == [row["output"] for row in rows_of(path)]
    assert all([turn.is_trained for turn in example.turns] == [False, True] for example in examples)


def test_sharegpt_keeps_every_turn(instruct):
    path = instruct / "sharegpt" / "dummy_conversation.json"
    mapping, examples, bad = examples_of(path)
    assert (mapping.layout, bad) == ("sharegpt", [])
    said = [[turn["value"] for turn in row["conversations"]] for row in rows_of(path)]
    assert [[turn.content for turn in example.turns] for example in examples] == said


def test_tool_turns_become_calls_and_answers_of_tools(instruct):
    path = instruct / "llama_factory" / "glaive_toolcall_en_demo.json"
    mapping, examples, bad = examples_of(path)
    assert (mapping.layout, mapping.tools, bad, len(examples)) == ("sharegpt", "tools", [], 300)
    rows = rows_of(path)
    counts = Counter(turn["from"] for row in rows for turn in row["conversations"])
    roles = Counter(turn.role for example in examples for turn in example.turns)
    assert roles == {
        "user": counts["human"], "assistant": counts["gpt"] + counts["function_call"], "tool": counts["observation"],
    }  # fmt: skip
    calls = [call for example in examples for turn in example.turns for call in turn.extra.get("tool_calls", [])]
    turns = [turn for row in rows for turn in row["conversations"]]
    asked = [json.loads(turn["value"]) for turn in turns if turn["from"] == "function_call"]
    assert [call["function"] for call in calls] == asked
    tools = [json.loads(row["tools"]) for row in rows]
    assert [[tool["function"] for tool in example.tools] for example in examples] == tools


def test_messages_in_parts_keep_their_weights(instruct):
    path = instruct / "llama_factory" / "v1_sft_demo.jsonl"
    mapping, examples, bad = examples_of(path)
    assert (mapping.layout, bad) == ("messages", [])
    turns = [turn for row in rows_of(path) for turn in row["messages"]]
    said = [(turn["content"][0]["value"], turn["loss_weight"] > 0) for turn in turns]
    assert [(turn.content, turn.is_trained) for example in examples for turn in example.turns] == said


@pytest.mark.parametrize("name", ["dpo_en_demo.json", "dpo_zh_demo.json"])
def test_preference_pairs_train_the_chosen_answer_and_keep_the_rejected(instruct, name):
    path = instruct / "llama_factory" / name
    mapping, examples, bad = examples_of(path)
    assert (mapping.layout, bad) == ("preference", [])
    rows = rows_of(path)
    assert [example.turns[-1].content for example in examples] == [row["chosen"]["value"] for row in rows]
    assert [example.rejected for example in examples] == [row["rejected"]["value"] for row in rows]
    assert [len(example.turns) - 1 for example in examples] == [len(row["conversations"]) for row in rows]
    assert {sum(turn.is_trained for turn in example.turns) for example in examples} == {1}


def test_of_kto_the_good_answers_are_kept_and_the_others_listed(instruct):
    path = instruct / "llama_factory" / "kto_en_demo.json"
    mapping, examples, bad = examples_of(path)
    assert (mapping.layout, mapping.label) == ("messages", "label")
    good = [row["messages"][-1]["content"] for row in rows_of(path) if row["label"]]
    assert [example.turns[-1].content for example in examples] == good
    assert len(bad) == 300 - len(good)
    assert {row.reason for row in bad} == {"marked as a bad answer"}


def test_a_prompt_with_its_own_template_stays_raw_text(instruct):
    path = instruct / "dolly_hhrlhf" / "train_small.jsonl"
    mapping, examples, bad = examples_of(path)
    assert (mapping.layout, mapping.is_chat, bad) == ("prompt_completion", False, [])
    pairs = [(row["prompt"], row["response"]) for row in rows_of(path)]
    assert [(example.prompt, example.completion) for example in examples] == pairs


@pytest.mark.parametrize("name", ["train.jsonl", "valid.jsonl"])
def test_a_text_is_split_before_the_answer_that_every_row_has(instruct, name):
    path = instruct / "wikisql_mlx" / name
    mapping, examples, bad = examples_of(path)
    assert (mapping.layout, mapping.split_at, bad) == ("text", "\nA: ", [])
    texts = [row["text"] for row in rows_of(path)]
    assert [example.prompt + example.completion for example in examples] == texts
    assert all(example.completion.startswith("SELECT") for example in examples)


def test_plain_text_is_a_completion_without_prompt(instruct):
    path = instruct / "llama_factory" / "c4_demo.jsonl"
    mapping, examples, bad = examples_of(path)
    assert (mapping.layout, mapping.split_at, bad) == ("text", None, [])
    assert [example.completion for example in examples] == [row["text"] for row in rows_of(path)]
    assert {example.prompt for example in examples} == {""}


def test_a_text_file_gives_a_row_a_line(instruct):
    path = instruct / "llama_factory" / "wiki_demo_part.txt"
    _, examples, bad = examples_of(path)
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    assert ([example.completion for example in examples], bad) == (lines, [])


def test_seed_tasks_give_an_example_an_instance(instruct):
    path = instruct / "self_instruct" / "seed_tasks.jsonl"
    _, examples, bad = examples_of(path)
    outputs = [instance["output"] for row in rows_of(path) for instance in row["instances"]]
    assert ([example.turns[-1].content for example in examples], bad) == (outputs, [])


def test_questions_without_answers_are_told_row_by_row(instruct):
    mapping, examples, bad = examples_of(instruct / "chat_bench" / "mt_bench_question.jsonl")
    assert (mapping.layout, examples) == ("none", [])
    assert [row.origin.line for row in bad] == list(range(1, 81))
    assert {row.reason for row in bad} == {"questions without answers: nothing to learn"}


def test_dataset_info_describes_the_files_that_lie_beside_it(instruct):
    specs, notes = read_specs(instruct / "llama_factory" / "dataset_info.json")
    loaded = load(specs, seed=0)
    counts = {source.spec.name: (source.n_examples, source.n_bad_rows) for source in loaded.sources}
    assert counts == {
        "identity": (91, 0), "alpaca_en_demo": (999, 0), "alpaca_zh_demo": (1000, 0),
        "glaive_toolcall_en_demo": (300, 0),
        "dpo_en_demo": (300, 0), "dpo_zh_demo": (300, 0), "kto_en_demo": (150, 150), "c4_demo": (300, 0),
    }  # fmt: skip
    assert "data sets of dataset_info.json are not on this machine" in str(notes[-1])


def test_what_dataset_info_says_equals_what_is_detected(instruct):
    specs, _ = read_specs(instruct / "llama_factory" / "dataset_info.json")
    said = load(specs, seed=0)
    found = load([DatasetSpec(spec.path, name=spec.name) for spec in specs], seed=0)
    assert [example.digest() for example in found.examples] == [example.digest() for example in said.examples]


def test_lines_of_a_document_are_where_its_elements_begin(instruct):
    path = instruct / "llama_factory" / "alpaca_zh_demo.json"
    lines = path.read_text(encoding="utf-8").split("\n")
    table = read_file(path)
    # Each element of this file opens on a line of its own, two spaces in.
    assert [row.line for row in table.rows] == [number for number, line in enumerate(lines, 1) if line == "  {"]


@pytest.mark.parametrize(
    ("name", "codec"), [("classify_zh/thucnews10/dev.txt", "gb18030"), ("translation/multi30k/val.de", "cp1252")]
)
def test_five_lines_are_enough_to_tell_an_older_encoding(hub_data, name, codec):
    text = (hub_data.parent / "raw" / name).read_text(encoding="utf-8")
    lines = [line for line in text.split("\n") if not line.isascii()]
    pieces = ["\n".join(lines[start : start + 5]) for start in range(0, len(lines) - 5, 50)]
    assert [piece for piece in pieces if decode(piece.encode(codec))[0] != piece] == []


@pytest.mark.parametrize(
    "name", ["classify_zh/chnsenticorp_htl/ChnSentiCorp_htl_all.csv", "lm/truthfulqa/TruthfulQA.csv"]
)
def test_csv_equals_the_csv_module(hub_data, name):
    path = hub_data.parent / "raw" / name
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [dict(row.cells) for row in read_file(path).rows] == rows


@pytest.mark.parametrize("split", ["train", "validation"])
def test_parquet_equals_pyarrow(hub_data, split):
    import pyarrow.parquet

    path = next((hub_data / "nyu-mll" / "glue").rglob(f"{split}*.parquet"))
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert [dict(row.cells) for row in read_file(path).rows] == rows
