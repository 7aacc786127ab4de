"""The text that says what a search tries, and what is drawn from it."""

import math
import random
from dataclasses import dataclass

import pytest

from llm_app.errors import UserError
from llm_app.options import check_options, kind_of, option, options_of
from llm_app.training.config import TrainConfig
from llm_app.training.search_space import Choices, Range, combinations, n_combinations, parse_space


def axis(text: str) -> Choices | Range:
    return parse_space([text], TrainConfig)[0]


@pytest.mark.parametrize(("text", "values"), [
    ("rank=8,16,32", (8, 16, 32)),
    ("rank = 32, 8 ,8", (8, 32)),
    ("rank=1e1", (10,)),
    ("dropout=0,0.1", (0.0, 0.1)),
    ("learning_rate=1e-4,none", (1e-4, None)),
    ("learning-rate=1e-5..1e-3:log:3", (1e-5, 1e-4, 1e-3)),
    ("batch_size=1..8:8", (1, 2, 3, 4, 5, 6, 7, 8)),
    ("batch_size=1..3:9", (1, 2, 3)),
    ("alpha=8..64:4", (8.0, 26.67, 45.33, 64.0)),
    ("schedule", ("linear", "cosine", "constant")),
    ("schedule=cosine", ("cosine",)),
    ("use_dora", (False, True)),
    ("use_dora=yes", (True,)),
    ("targets=q_proj+v_proj,none", (("q_proj", "v_proj"), ())),
])
def test_values_are_read_as_the_option_has_them(text: str, values: tuple[object, ...]) -> None:
    found = axis(text)
    assert isinstance(found, Choices)
    assert found.values == values
    assert [type(value) for value in found.values] == [type(value) for value in values]


@pytest.mark.parametrize(("text", "low", "high"), [
    ("dropout=0..0.2", 0.0, 0.2), ("dropout=..0.2", 0.0, 0.2), ("dropout=0.5..", 0.5, 0.95),
    ("learning_rate=1e-5..1e-3:log", 1e-5, 1e-3), ("rank=..", 1, 256),
])
def test_an_end_that_is_left_out_is_the_options_own(text: str, low: float, high: float) -> None:
    found = axis(text)
    assert isinstance(found, Range)
    assert (found.low, found.high, found.is_log) == (low, high, text.endswith(":log"))


@pytest.mark.parametrize(("text", "words"), [
    ("rnk=8", "did you mean rank"), ("", "no option"), ("rank", "which values of rank"), ("rank=", "whole numbers"),
    ("rank=8.5", "whole numbers"), ("rank=8,x", "whole numbers"), ("rank=512", "at most 256"), ("rank=0", "at least 1"),
    ("rank=8..512", "at most 256"), ("rank=16..8", "must rise"), ("rank=8..8", "must rise"), ("rank=none", "whole"),
    ("dropout=0..0.2:log", "above 0"), ("dropout=0..0.2:5:2", "number of values"), ("rank=1..9:1", "from 2"),
    ("learning_rate=nan", "finite"), ("schedule=fast", "one of linear"), ("schedule=a..b", "no numbers"),
    ("use_dora=maybe", "true or false"), ("targets=q_proj++v_proj", "joined by +"), ("seed=1..9:log:x", "number of"),
])
def test_what_is_no_space_is_told_in_one_sentence(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        axis(text)


def test_an_option_stands_in_a_space_once() -> None:
    with pytest.raises(UserError, match="rank stands in the search space twice"):
        parse_space(["rank=8", "rank=16"], TrainConfig)


def test_every_training_option_can_be_searched() -> None:
    for item, info in options_of(TrainConfig):
        if info.choices is not None or kind_of(item, info) is bool:
            text = item.name
        elif info.many:
            text = f"{item.name}=a+b,none"
        else:
            text = f"{item.name}=.."
        assert axis(text).name == item.name


def test_any_option_dataclass_can_be_searched() -> None:
    @dataclass(frozen=True)
    class Pan:
        heat: int = option(3, min=1, max=9, label=("Heat", "火力"), help=("How hot.", "多热。"))
        has_lid: bool = option(False, label=("Lid", "盖"), help=("Closed.", "盖上。"))

        def __post_init__(self) -> None:
            check_options(self)

    space = parse_space(["heat=1..9", "has_lid"], Pan)
    assert space == (Range("heat", 1, 9), Choices("has_lid", (False, True)))


@pytest.mark.parametrize(
    "text", ["dropout=0.013..0.2", "learning_rate=1e-5..3.3333e-3:log", "rank=3..97:log", "keep=2..5"]
)
def test_what_is_drawn_lies_in_the_range_and_reads_back_as_it_is(text: str) -> None:
    found, rng = axis(text), random.Random(0)
    assert isinstance(found, Range)
    for _ in range(500):
        value = found.draw(rng)
        assert found.low <= value <= found.high
        assert type(value) is type(found.low)
        assert axis(f"{found.name}={value}") == Choices(found.name, (value,))


def test_a_logarithmic_range_gives_each_order_of_magnitude_the_same_share() -> None:
    found, rng = axis("learning_rate=1e-5..1e-2:log"), random.Random(0)
    orders = [math.floor(math.log10(found.draw(rng))) for _ in range(3000)]
    for order in (-5, -4, -3):
        assert abs(orders.count(order) / 3000 - 1 / 3) < 0.04  # 4.6 standard errors


def test_each_whole_number_of_a_range_is_as_likely_as_the_others() -> None:
    found, rng = axis("keep=1..4"), random.Random(0)
    drawn = [found.draw(rng) for _ in range(4000)]
    for value in (1, 2, 3, 4):
        assert abs(drawn.count(value) / 4000 - 1 / 4) < 0.03  # 4.4 standard errors


def test_combinations_are_all_of_them_once_the_last_option_changing_first() -> None:
    space = parse_space(["rank=8,16", "use_dora", "schedule=linear,cosine"], TrainConfig)
    found = [tuple(params.values()) for params in combinations(space)]
    assert len(found) == n_combinations(space) == len(set(found)) == 8
    assert found[:3] == [(8, False, "linear"), (8, False, "cosine"), (8, True, "linear")]


def test_a_range_has_no_number_of_combinations() -> None:
    assert n_combinations(parse_space(["rank=8,16", "dropout=0..0.1"], TrainConfig)) is None
