"""Data sets mixed by weight, and split into training, validation and test."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_app.data.formats import Mapping
from llm_app.data.mix import DatasetSpec, load
from llm_app.data.split import digest_of, split
from llm_app.data.table import Reading
from llm_app.data.types import Example, Origin, Turn
from llm_app.errors import UserError
from llm_app.training.config import TrainConfig


def examples(questions: list[str]) -> list[Example]:
    turns = [(Turn("user", asked), Turn("assistant", f"a{n}", is_trained=True)) for n, asked in enumerate(questions)]
    return [Example(Origin("d", number), turns=pair) for number, pair in enumerate(turns, start=1)]


@pytest.fixture
def file(tmp_path: Path) -> str:
    rows = [{"prompt": f"q{number}", "completion": "a"} for number in range(101)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": "q"}]))
    return str(path)


@pytest.mark.parametrize(("weight", "n"), [(1, 101), (0.5, 50), (2, 202), (2.25, 227), (0.001, 0)])
def test_a_weight_says_how_often_each_example_is_taken(file, weight, n):
    loaded = load([DatasetSpec(file, weight=weight)], seed=0)
    assert len(loaded.examples) == n
    times = Counter(example.origin.line for example in loaded.examples)
    assert set(times.values()) <= {int(weight), int(weight) + 1}
    assert len(loaded.bad_rows) == 1


def test_the_seed_chooses_the_half_that_is_taken(file):
    def half(seed: int) -> list[int]:
        return [example.origin.line for example in load([DatasetSpec(file, weight=0.5)], seed).examples]

    assert half(0) == half(0) != half(1)


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), 1000])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(UserError, match="weight must be above 0"):
        DatasetSpec("a.jsonl", weight=weight)


def test_two_files_of_one_name_stay_apart(file):
    loaded = load([DatasetSpec(file), DatasetSpec(file)], seed=0)
    assert {example.origin.dataset for example in loaded.examples} == {"a.jsonl", "a.jsonl (2)"}
    assert set(loaded.digests) == {"a.jsonl", "a.jsonl (2)"}


def test_what_was_loaded_can_be_loaded_again_from_its_record(file):
    first = load([DatasetSpec(file, weight=0.5, reading=Reading(encoding="utf-8"))], seed=3)
    record = json.loads(json.dumps([source.spec.to_json() for source in first.sources]))
    again = load([DatasetSpec.from_json(values) for values in record], seed=3)
    assert digest_of(again.examples) == digest_of(first.examples)
    assert again.sources == first.sources


def test_a_file_that_changed_since_the_record_is_refused(file):
    spec = load([DatasetSpec(file)], seed=0).sources[0].spec
    Path(file).write_text('{"prompt": "q", "completion": "b"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl is not the file it was"):
        load([spec], seed=0)


def test_the_mapping_of_the_person_goes_before_the_detected_one(file):
    mapping = Mapping("prompt_completion", prompt="completion", response="prompt", is_chat=False)
    assert load([DatasetSpec(file, mapping)], seed=0).examples[0].completion == "q0"


def test_the_shares_say_how_many_are_held_back():
    parts = split(examples([f"q{number}" for number in range(100)]), 0.1, 0.2, seed=0)
    assert [len(part) for part in parts] == [70, 10, 20]


def test_questions_that_differ_in_case_width_and_spaces_only_stand_in_one_part():
    questions = [f"question {number}" for number in range(40)] * 2
    twins = [f"  ＱUESTION\t{number}" for number in range(40)]
    parts = split(examples([*questions, *twins]), 0.2, 0.1, seed=1)
    assert [len(part) for part in parts] == [84, 24, 12]
    asked = [{(example.origin.line - 1) % 40 for example in part} for part in parts]
    assert sum(map(len, asked)) == 40


def test_conversations_that_begin_alike_stand_in_one_part():
    later = [Turn("user", "go on"), Turn("assistant", "more", is_trained=True)]
    short = examples([f"question {number}" for number in range(30)])
    long = [replace(example, turns=(*example.turns, *later)) for example in short]
    asked = [{example.turns[0].content for example in part} for part in split([*short, *long], 0.2, 0.2, seed=0)]
    assert all(asked) and sum(map(len, asked)) == 30


def test_the_split_depends_on_content_and_seed_alone():
    given_order = examples([f"q{number}" for number in range(50)])

    def held(*arguments):
        return [{example.turns[0].content for example in part} for part in split(*arguments)[1:]]

    first = held(given_order, 0.2, 0.1, 0)
    assert held(given_order[::-1], 0.2, 0.1, 0) == first
    assert all(one != other for one, other in zip(held(given_order, 0.2, 0.1, 1), first, strict=True))


def test_the_test_part_is_the_same_whatever_is_validated_with():
    given_examples = examples([f"q{number}" for number in range(50)])
    tested = [split(given_examples, share, 0.2, seed=0)[2] for share in (0.0, 0.1, 0.5)]
    assert len(tested[0]) == 10 and tested[0] == tested[1] == tested[2]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 30), max_size=60), st.floats(0, 0.5), st.floats(0, 0.39), st.integers(0, 5)
)
def test_a_split_loses_nothing_and_always_leaves_something_to_train_on(numbers, validation, test, seed):
    parts = split(examples([str(number) for number in numbers]), validation, test, seed)
    assert sorted(example.origin.line for part in parts for example in part) == list(range(1, len(numbers) + 1))
    assert bool(parts[0]) == bool(numbers)
    asked = [{example.turns[0].content for example in part} for part in parts]
    assert sum(map(len, asked)) == len(set(numbers))
    if len(set(numbers)) == len(numbers) > 2:
        for part, share in zip(parts[1:], (validation, test), strict=True):
            assert abs(len(part) - share * len(numbers)) <= 1
            assert bool(part) == (share > 0)


def test_shares_that_leave_little_to_train_on_are_refused():
    assert TrainConfig(validation=0.5, test=0.39).test == 0.39
    with pytest.raises(UserError, match="hold back less than 0.9"):
        TrainConfig(validation=0.5, test=0.4)
