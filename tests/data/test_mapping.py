"""Layouts that people bring, as examples; and what is told of the rows that become none."""

import json
from typing import Any

import pytest

from llm_app.data.formats import Mapping, detect
from llm_app.data.mapping import to_examples
from llm_app.data.read import read_file
from llm_app.data.table import Table
from llm_app.data.types import Example
from llm_app.errors import UserError

CALL = {"name": "add", "arguments": {"a": 1}}
OPENAI_CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


def table_of(*rows: dict[str, Any]) -> Table:
    return read_file("\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode(), "a.jsonl")


def the_example(row: dict[str, Any], mapping: Mapping | None = None) -> Example:
    table = table_of(row)
    (example,), bad = to_examples(table, mapping or detect(table))
    assert bad == []
    return example


def the_reason(row: dict[str, Any], mapping: Mapping | None = None) -> str:
    table = table_of(row)
    examples, (bad,) = to_examples(table, mapping or detect(table))
    assert (examples, bad.origin.line) == ([], 1)
    assert bad.reason_zh
    return bad.reason


def said(example: Example) -> list[tuple[str, str, bool]]:
    return [(turn.role, turn.content, turn.is_trained) for turn in example.turns]


def talk(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in pairs]


def test_alpaca_with_system_prompt_and_history():
    row = {"instruction": "q2", "input": "i", "output": "a2", "system": "s", "history": [["q1", "a1"]]}
    assert said(the_example(row)) == [
        ("system", "s", False), ("user", "q1", False), ("assistant", "a1", True), ("user", "q2\ni", False),
        ("assistant", "a2", True),
    ]  # fmt: skip


def test_an_empty_system_prompt_is_none():
    assert said(the_example({"instruction": "q", "output": "a", "system": " "}))[0][0] == "user"


@pytest.mark.parametrize(
    ("prompt", "response"),
    [("prompt", "completion"), ("question", "answer"), ("Prompt", "Response"), ("问题", "回答"), ("输入", "输出")],
)
def test_pairs_of_many_names_become_question_and_answer(prompt, response):
    example = the_example({"id": "7", prompt: "q", response: " a"})
    assert said(example) == [("user", "q", False), ("assistant", " a", True)]


def test_a_text_with_its_class_in_words_is_question_and_answer():
    table = table_of({"text": "t", "label": "good"}, {"text": "u", "label": "bad"})
    assert detect(table).response == "label"


def test_prompt_and_completion_may_be_messages():
    row = {"prompt": talk(("system", "s"), ("user", "q")), "completion": talk(("assistant", "a"))}
    assert said(the_example(row)) == [("system", "s", False), ("user", "q", False), ("assistant", "a", True)]


def test_messages_written_as_text_in_a_table_are_read():
    csv = b'messages,n\n"[{""role"": ""user"", ""content"": ""q""}, {""role"": ""assistant"", ""content"": ""a""}]",x\n'
    table = read_file(csv, "a.csv")
    ((example,), bad) = to_examples(table, detect(table))
    assert (said(example), bad) == ([("user", "q", False), ("assistant", "a", True)], [])


def test_calls_of_openai_and_sharegpt_become_the_same_turns():
    openai = the_example({
        "messages": [
            *talk(("user", "q")), {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]},
            {"role": "tool", "content": "2", "tool_call_id": "c1"}, *talk(("assistant", "a")),
        ],
        "tools": [{"type": "function", "function": {"name": "add"}}],
    })  # fmt: skip
    turns = [("human", "q"), ("function_call", json.dumps(CALL)), ("observation", "2"), ("gpt", "a")]
    sharegpt = the_example({
        "conversations": [{"from": role, "value": value} for role, value in turns], "tools": '[{"name": "add"}]',
    })  # fmt: skip
    assert said(openai) == said(sharegpt)
    assert openai.tools == sharegpt.tools
    calls = [example.turns[1].extra["tool_calls"][0]["function"] for example in (openai, sharegpt)]
    assert calls == [CALL, CALL]
    assert openai.turns[2].extra == {"tool_call_id": "c1"}


def test_calls_in_a_row_are_one_turn():
    turns = [("human", "q"), ("function_call", json.dumps(CALL)), ("function_call", json.dumps(CALL)),
             ("observation", "1"), ("observation", "2"), ("gpt", "a")]  # fmt: skip
    example = the_example({"conversations": [{"from": role, "value": value} for role, value in turns]})
    assert [turn.role for turn in example.turns] == ["user", "assistant", "tool", "tool", "assistant"]
    assert len(example.turns[1].extra["tool_calls"]) == 2


def test_a_turn_of_weight_zero_is_not_trained():
    messages = talk(("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b"))
    messages[1]["weight"] = 0
    assert [turn.is_trained for turn in the_example({"messages": messages}).turns] == [False, False, False, True]


def test_unknown_names_of_roles_can_be_said():
    row = {"messages": talk(("alice", "q"), ("bob", "a"))}
    assert the_reason(row) == "turn 1 has the unknown role 'alice'"
    mapping = Mapping("messages", messages="messages", roles={"alice": "user", "bob": "assistant"})
    assert said(the_example(row, mapping)) == [("user", "q", False), ("assistant", "a", True)]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": talk(("user", "q")), "chosen": talk(("assistant", "a")), "rejected": talk(("assistant", "b"))},
        {"chosen": talk(("user", "q"), ("assistant", "a")), "rejected": talk(("user", "q"), ("assistant", "b"))},
        {"prompt": "q", "chosen": talk(("user", "q"), ("assistant", "a")),
         "rejected": talk(("user", "q"), ("assistant", "b"))},
        {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "a"},
         "rejected": {"from": "gpt", "value": "b"}},
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
    ],
)  # fmt: skip
def test_every_form_of_a_preference_pair_gives_the_same_example(row):
    example = the_example(row)
    assert said(example) == [("user", "q", False), ("assistant", "a", True)]
    assert example.rejected == "b"


def test_a_system_prompt_is_not_lost_in_raw_text():
    row = {"prompt": "q\n### Response:\n", "completion": "a", "system": "s"}
    assert said(the_example(row))[0] == ("system", "s", False)
    mapping = Mapping("prompt_completion", prompt="prompt", response="completion", system="system", is_chat=False)
    with pytest.raises(UserError, match="Raw text has no place for system"):
        to_examples(table_of(row), mapping)


def test_of_a_preference_pair_earlier_answers_are_not_trained():
    prompt = talk(("user", "q"), ("assistant", "a"), ("user", "r"))
    example = the_example({"prompt": prompt, "chosen": talk(("assistant", "b")), "rejected": talk(("assistant", "c"))})
    assert [turn.is_trained for turn in example.turns] == [False, False, False, True]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "q", "output": " "}, "the answer is empty"),
        ({"instruction": "", "output": "a"}, "the question is empty"),
        ({"prompt": "q", "completion": ["a"]}, "the answer is a list, not text"),
        ({"messages": talk(("user", "q"))}, "it ends with a turn of user: no answer to learn"),
        ({"messages": talk(("assistant", "a"))}, "turn 1 is of assistant at the start"),
        ({"messages": talk(("user", "q"), ("user", "r"))}, "turn 2 is of user after a turn of user"),
        ({"messages": talk(("user", "q"), ("system", "s"))}, "turn 2 is of system after a turn of user"),
        ({"messages": talk(("user", "q"), ("assistant", ""))}, "turn 2 (assistant) is empty"),
        ({"messages": talk(("user", "q"), ("tool", "1"))}, "turn 2 is of tool after a turn of user"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
         "turn 1 holds 'image_url'; only text is learned"),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "add"}]},
         "turn 2 is not JSON: 'add'"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "chosen and rejected are the same"),
        ({"chosen": talk(("user", "q"), ("assistant", "a")), "rejected": talk(("user", "r"), ("assistant", "b"))},
         "chosen and rejected differ before their last turn"),
        ({"prompt": "q", "completion": "a", "label": False}, "marked as a bad answer"),
        ({"question_id": 81, "turns": ["q"]}, "questions without answers: nothing to learn"),
        ({"x": "q", "y": "z"}, "its layout is not known: say which columns hold question and answer"),
    ],
)  # fmt: skip
def test_a_row_that_becomes_no_example_is_listed_with_the_reason(row, reason):
    assert the_reason(row) == reason


def test_a_separator_that_a_row_lacks_is_told():
    mapping = Mapping("text", text="text", split_at="\nA: ", is_chat=False)
    assert the_reason({"text": "Q: what?"}, mapping) == "'\\nA: ' is not in the text"


def test_T9_a_target_column_that_is_missing_is_refused_with_the_columns_there_are():
    table = table_of({"instruction": "q", "outputs": "a"})
    with pytest.raises(UserError, match=r"no column 'output' for response; it has instruction, outputs\. Is 'outputs'"):
        to_examples(table, Mapping("alpaca", prompt="instruction", response="output"))
    with pytest.raises(UserError, match="say which column is the response; layout alpaca needs it"):
        to_examples(table, Mapping("alpaca", prompt="instruction"))


def test_T9_a_row_without_the_target_is_listed():
    table = table_of({"prompt": "q", "completion": "a"}, {"prompt": "q"})
    examples, bad = to_examples(table, detect(table))
    assert (len(examples), [(row.origin.line, row.reason) for row in bad]) == (1, [(2, "the answer is empty")])


def test_lines_that_could_not_be_read_are_listed_among_the_others():
    table = read_file(b'{"prompt": "q", "completion": ""}\n{"prom\n{"prompt": "q", "completion": "a"}', "a.jsonl")
    examples, bad = to_examples(table, detect(table), "mine")
    assert [row.origin.line for row in bad] == [1, 2]
    assert {row.origin.dataset for row in bad} | {example.origin.dataset for example in examples} == {"mine"}


def test_a_mapping_survives_json():
    mapping = Mapping("messages", messages="chat", roles={"bob": "assistant"}, is_chat=False)
    assert Mapping.from_json(json.loads(json.dumps(mapping.to_json()))) == mapping


@pytest.mark.parametrize("values", [{"layout": "csv"}, {"layout": "text", "colour": "x"}, {"text": "x"},
                                    {"layout": "text", "text": 7}, {"layout": "text", "is_chat": "no"}])  # fmt: skip
def test_a_mapping_of_nonsense_is_refused(values):
    with pytest.raises(UserError):
        Mapping.from_json(values)
