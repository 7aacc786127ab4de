"""The split of a table: stratified, duplicates on one side, decided by content and seed."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_app.classify.training.split import Split, split
from llm_app.classify.types import Item, Truth


def items(n: int) -> list[Item]:
    return [Item(f"text {number}") for number in range(n)]


def test_every_part_holds_each_label_in_its_share_of_the_whole() -> None:
    truths: list[Truth] = ["rare" if number % 10 == 0 else "usual" for number in range(1000)]
    found = split(items(1000), truths, "single", validation=0.1, test=0.2, seed=0)
    parts = (found.train, found.validation, found.test)
    assert [len(part) for part in parts] == [700, 100, 200]
    for part in parts:
        assert sum(truths[row] == "rare" for row in part) == len(part) // 10


def test_a_regression_holds_each_tenth_of_its_values_in_every_part() -> None:
    truths: list[Truth] = [float(number) for number in range(1000)]
    random.Random(0).shuffle(truths)
    found = split(items(1000), truths, "regression", validation=0.1, test=0.1, seed=0)
    for part in (found.validation, found.test):
        assert Counter(int(float(str(truths[row]))) // 100 for row in part) == dict.fromkeys(range(10), 10)


def test_of_several_labels_the_rare_one_stands_in_every_part() -> None:
    truths: list[Truth] = [("usual", "rare") if number % 20 == 0 else ("usual",) for number in range(400)]
    found = split(items(400), truths, "multi", validation=0.25, test=0.25, seed=0)
    for part in (found.train, found.validation, found.test):
        assert sum("rare" in str(truths[row]) for row in part) == len(part) // 20


def test_rows_that_differ_in_case_width_and_spaces_stand_in_one_part() -> None:
    texts = [text for n in range(60) for text in (f"good film {n}", f"Good  FILM {n}", f"ｇｏｏｄ film {n}")]
    found = split([Item(text) for text in texts], ["a", "b", "a"] * 60, "single", validation=0.2, test=0.2, seed=1)
    for part in (found.train, found.validation, found.test):
        assert Counter(row // 3 for row in part) == dict.fromkeys((row // 3 for row in part), 3)


def test_of_pairs_both_texts_must_be_alike_to_stand_in_one_part() -> None:
    pairs = [Item("same premise", f"hypothesis {number}") for number in range(100)]
    found = split(pairs, ["a", "b"] * 50, "single", validation=0.1, test=0.1, seed=0)
    assert (len(found.validation), len(found.test)) == (10, 10)


def test_the_test_part_does_not_depend_on_the_share_for_validation() -> None:
    truths: list[Truth] = [str(number % 3) for number in range(200)]
    with_some, without = (
        split(items(200), truths, "single", validation=share, test=0.2, seed=0) for share in (0.3, 0.0)
    )
    assert with_some.test == without.test


def test_the_seed_decides_which_rows_are_held_back() -> None:
    found = {split(items(100), ["a", "b"] * 50, "single", validation=0.1, test=0.1, seed=seed).test for seed in (0, 1)}
    assert len(found) == 2


@given(
    texts=st.lists(st.sampled_from([f"text {number}" for number in range(15)]), min_size=1, max_size=40),
    labels=st.randoms(use_true_random=False), shares=st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)),
)
def test_no_row_is_lost_or_stands_in_two_parts_and_some_stay_to_train_on(
    texts: list[str], labels: random.Random, shares: tuple[float, float]
) -> None:
    truths: list[Truth] = [labels.choice("abc") for _ in texts]
    found = split([Item(text) for text in texts], truths, "single", validation=shares[0], test=shares[1], seed=0)
    assert sorted((*found.train, *found.validation, *found.test)) == list(range(len(texts)))
    assert found.train


@given(order=st.permutations(range(24)))
def test_the_order_of_the_rows_changes_nothing(order: list[int]) -> None:
    texts, truths = [f"text {number}" for number in range(24)], [str(number % 3) for number in range(24)]

    def held(places: list[int]) -> set[str]:
        found: Split = split(
            [Item(texts[place]) for place in places], [truths[place] for place in places], "single", validation=0.2,
            test=0.2, seed=0,
        )
        return {texts[places[row]] for row in found.test}

    assert held(order) == held(list(range(24)))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_tiny_table_keeps_a_row_to_train_on(n: int) -> None:
    assert split(items(n), ["a"] * n, "single", validation=0.5, test=0.39, seed=0).train
