"""Blocks of memory: zeros are zeros, what is free is used again, and no more of it is held than was said."""

import gc
import sys
import threading

import pytest
import torch

from llm_app.engine import blocks
from llm_app.engine.blocks import LEAST_BLOCK, MOST_HELD, PAGE, empty, give_back, unused, zeros

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all of it comes from the heap")
LIKE = torch.zeros(1, dtype=torch.bfloat16)
N = LEAST_BLOCK // 2  # numbers of the smallest block


@pytest.fixture(autouse=True)
def nothing_unused() -> None:
    gc.collect()
    give_back()


def test_zeros_are_zeros_also_where_something_was_before() -> None:
    first = zeros((2, N // 2), LIKE)
    assert first.dtype == LIKE.dtype and first.shape == (2, N // 2) and not first.any()
    first.fill_(7)
    place = first.data_ptr()
    del first
    again = zeros((N // 4, 4), LIKE)
    assert again.data_ptr() == place, "it is used again"
    assert not again.any()


def test_a_part_that_is_in_use_holds_the_whole() -> None:
    part = empty((4, N), LIKE)[3]
    part.fill_(3)
    assert unused.n_bytes == 0
    other = empty((4, N), LIKE).fill_(5)
    assert bool((part == 3).all()) and bool((other == 5).all())
    del part, other
    assert unused.n_bytes == 2 * 4 * LEAST_BLOCK


def test_only_blocks_of_the_same_size_are_used_again() -> None:
    large = empty((8 * N,), LIKE)
    place = large.data_ptr()
    del large
    assert empty((N,), LIKE).data_ptr() != place
    assert empty((8 * N - 1000,), LIKE).data_ptr() == place, "a little less fits"


def test_what_is_little_comes_from_the_heap() -> None:
    assert not zeros((N - 1,), LIKE).any()
    assert unused.n_bytes == 0


def test_no_more_is_held_than_was_said_and_all_of_it_is_given_back() -> None:
    blocks = [empty((16 * PAGE,), LIKE) for _ in range(MOST_HELD // (32 * PAGE) + 3)]
    blocks.clear()
    assert MOST_HELD - 32 * PAGE < unused.n_bytes <= MOST_HELD
    give_back()
    assert unused.n_bytes == 0


def test_a_system_without_so_much_says_so() -> None:
    with pytest.raises(MemoryError, match="the system has no"):
        zeros((1 << 50,), LIKE)


def test_threads_that_take_and_let_go_never_share_a_block() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            mine = zeros((N,), LIKE)
            if mine.any():
                wrong.append(number)
            mine.fill_(number)
            if not bool((mine == number).all()):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert unused.n_bytes > 0


def test_a_kernel_without_large_pages_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks.mmap, "MADV_HUGEPAGE", 1 << 20)  # no advice that any kernel knows
    assert not zeros((3 * N,), LIKE).any()
