"""What LLaMA-Factory's dataset_info.json may say, by the table of options in its data/README.md."""

import json
from pathlib import Path
from typing import Any

import pytest

from llm_app.data.dataset_info import read_specs
from llm_app.data.mix import load
from llm_app.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"question": "q", "answer": "a", "chat": [{"who": "me", "says": "q"}, {"who": "it", "says": "a"}]}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    return tmp_path


def describe(folder: Path, **entry: Any) -> Path:
    path = folder / "dataset_info.json"
    path.write_text(json.dumps({"mine": {"file_name": "a.json", **entry}}))
    return path


def said(path: Path) -> list[tuple[str, str]]:
    (example,) = load(read_specs(path)[0], seed=0).examples
    return [(turn.role, turn.content) for turn in example.turns] or [("", example.completion)]


def test_columns_say_which_is_question_and_which_answer(folder):
    path = describe(folder, columns={"prompt": "answer", "response": "question"})
    assert said(path) == [("user", "a"), ("assistant", "q")]


def test_a_prompt_without_response_is_plain_text(folder):
    assert said(describe(folder, columns={"prompt": "question"})) == [("", "q")]


def test_tags_say_how_turns_are_written(folder):
    tags = {"role_tag": "who", "content_tag": "says", "user_tag": "me", "assistant_tag": "it"}
    path = describe(folder, formatting="sharegpt", columns={"messages": "chat"}, tags=tags)
    assert said(path) == [("user", "q"), ("assistant", "a")]


def test_a_column_that_the_file_lacks_is_refused(folder):
    path = describe(folder, columns={"prompt": "question", "response": "output"})
    with pytest.raises(UserError, match="mine has no column 'output' for response; it has question, answer, chat"):
        load(read_specs(path)[0], seed=0)


def test_a_name_without_end_is_refused(folder):
    path = folder / "dataset_info.json"
    path.write_text(json.dumps({"x" * 5_000: {"file_name": "a.json"}}))
    with pytest.raises(UserError, match="a name of 5,000 characters .*; 200 is the limit") as refused:
        read_specs(path)
    assert len(refused.value.message) < 200


def test_an_option_that_is_not_honoured_is_told(folder):
    _, (note,) = read_specs(describe(folder, num_samples=5))
    assert str(note) == "mine: num_samples is not honoured; all rows are read."


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"file_name": None, "hf_hub_url": "org/name"}, r"lies on a hub \(org/name\)"),
        ({"file_name": "b.json"}, r"names b\.json, which is not here"),
        ({"file_name": "../a.json"}, r"names a file outside its folder"),
        ({"columns": {"messages": "chat", "images": "images"}}, "has pictures, sound or films"),
        ({"formatting": "xml"}, "formatting 'xml' is not known"),
    ],
)
def test_a_wanted_data_set_that_cannot_be_had_is_refused_with_the_reason(folder, entry, reason):
    path = describe(folder, **entry)
    with pytest.raises(UserError, match=reason):
        read_specs(path, ["mine"])


def test_a_name_that_is_not_in_it_is_refused_with_those_that_are(folder):
    with pytest.raises(UserError, match="has no data set 'yours'; it has mine"):
        read_specs(describe(folder), ["yours"])


def test_a_file_that_describes_nothing_is_refused(folder):
    with pytest.raises(UserError, match="describes no data sets"):
        read_specs(folder / "a.json")
