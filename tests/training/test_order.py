"""Which examples go through the model together."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from llm_app.training.order import passes


def test_short_examples_fill_a_pass_and_long_ones_go_by_their_number():
    assert [list(each) for each in passes([3, 3, 3, 3, 9, 9, 9], 2, 10)] == [[0, 1, 2], [3, 4], [5, 6]]
    assert [list(each) for each in passes([1, 1, 1, 1, 1], 2, 0)] == [[0, 1], [2, 3], [4]]
    assert list(passes([], 2, 10)) == []


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 5), st.integers(0, 120))
def test_every_example_goes_once_and_in_order_in_passes_that_keep_to_their_room(
    lengths: list[int], n_a_pass: int, room: int
):
    found = list(passes(lengths, n_a_pass, room))
    assert [place for each in found for place in each] == list(range(len(lengths)))
    assert all(len(each) <= n_a_pass or sum(lengths[place] for place in each) <= room for each in found)
    for each, following in pairwise(found):  # one more would not have fitted, nor been within the number
        assert len(each) >= n_a_pass and sum(lengths[place] for place in each) + lengths[following.start] > room
