"""Held-back examples as tasks: prompt and reference are what training would have shown, to the token and the letter."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_app.data.types import Example, Origin, Turn
from llm_app.errors import UserError
from llm_app.jobs.held_back import write_held_back
from llm_app.training.encode import encode
from tests import tiny
from tests.training.templates import STYLES

ORIGIN = Origin("data", 1)


def chat(*turns: str) -> Example:
    """User and assistant in turns."""
    roles = ("user", "assistant")
    return Example(ORIGIN, tuple(
        Turn(roles[number % 2], content, is_trained=number % 2 == 1) for number, content in enumerate(turns)
    ))


def rows_of(folder: Path, name: str = "replies.jsonl") -> list[dict[str, Any]]:
    (path,) = folder.rglob(name)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    "example",
    [
        chat("hello", "one two"), chat("hello", "one", "and then", "three\nfour"), chat("你好", "  今天天气很好。 "),
        Example(ORIGIN, prompt="what is the answer? ", completion="forty two"),
    ],
    ids=["one turn", "two turns", "chinese", "raw text"],
)
def test_prompt_answer_and_end_are_the_text_that_training_showed(example: Example, tmp_path: Path) -> None:
    tokenizer = tiny.make_tokenizer()
    write_held_back(tmp_path, [example], tokenizer, max_length=512)
    (row,) = rows_of(tmp_path)
    encoded = encode(example, tokenizer, max_length=512, responses_only=True)
    assert row["prompt"] + row["answer"] + row["end"] == tokenizer.decode(encoded.ids)
    asked = tokenizer(row["prompt"])["input_ids"]
    assert asked == encoded.ids[: len(asked)] and all(encoded.trained[len(asked) :])
    last = example.turns[-1].content if example.turns else example.completion
    assert row["answer"].strip() == last.strip() and row["end"].lstrip().startswith("<|im_end|>")
    assert row["prompt"].endswith("<|im_start|>assistant\n" if example.turns else "answer? ")


def test_a_text_without_a_prompt_is_asked_how_likely_it_is(tmp_path: Path) -> None:
    made = write_held_back(
        tmp_path, [Example(ORIGIN, completion="the lazy dog")], tiny.make_tokenizer(), max_length=64
    )
    assert [path.stem for path in made.tasks] == ["held_back_text"]
    assert rows_of(tmp_path, "texts.jsonl") == [{"text": "the lazy dog"}]


def test_an_example_that_is_cut_off_or_refused_by_the_template_is_left_out_and_counted(tmp_path: Path) -> None:
    tokenizer = tiny.make_tokenizer(STYLES["Gemma"].source)
    spoken = chat("hello once more", "two")
    refused = replace(spoken, turns=(Turn("system", "Be brief."), *spoken.turns))
    examples = [chat("hello", "one"), chat("hello again", "the lazy dog " * 40), refused]
    made = write_held_back(tmp_path, examples, tokenizer, max_length=100)
    assert (made.n_asked, made.n_left_out) == (1, 2)
    with pytest.raises(UserError, match="None of the held-back examples can be asked"):
        write_held_back(tmp_path, examples[1:], tokenizer, max_length=100)


def test_of_many_the_same_ones_are_asked_in_whatever_order_they_come_and_none_twice(tmp_path: Path) -> None:
    examples = [chat(f"question {n}", f"answer {n}") for n in range(20)]
    write_held_back(tmp_path / "a", [*examples, *examples], tiny.make_tokenizer(), max_length=64, n_samples=5)
    write_held_back(tmp_path / "b", examples[::-1], tiny.make_tokenizer(), max_length=64, n_samples=5)
    first, second = ({row["prompt"] for row in rows_of(tmp_path / name)} for name in "ab")
    assert len(first) == 5 and first == second
