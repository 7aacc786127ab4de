"""One thread or all for a pass of one row: whichever the clock says is faster now."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from torch import nn

from llm_app.config import SamplingConfig, Settings
from llm_app.engine import pace
from llm_app.engine.pace import LOOK_EVERY, LOOK_PASSES, MOST_ROWS, Pace, use_all_threads
from llm_app.engine.packed import PackedLinear
from llm_app.engine.turn import Turn
from tests.engine.test_packed import blocks
from tests.running import running

Costs = Callable[[int], float]


class Clock:
    """A clock that goes on as a pass costs with the threads that torch has at the time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    n_before = torch.get_num_threads()
    monkeypatch.setattr(pace, "FULL", 4)
    yield
    torch.set_num_threads(n_before)


def run(paced: Pace, clock: Clock, costs: Costs, n: int, n_rows: int = 1) -> list[int]:
    """The threads that each of so many passes got."""
    got = []
    for _ in range(n):
        with paced.passing(n_rows):
            got.append(torch.get_num_threads())
            clock.now += costs(got[-1])
    return got


@pytest.fixture
def clock() -> Clock:
    return Clock()


def alone(n_threads: int) -> float:
    return 1 / n_threads


def beside_others(n_threads: int) -> float:
    return 10.0 if n_threads > 1 else 1.1


def test_all_threads_where_the_machine_is_free_and_one_where_it_is_not(clock: Clock) -> None:
    paced = Pace(is_free=True, clock=clock)
    looks = LOOK_PASSES * (2 + 300 // LOOK_EVERY)
    assert run(paced, clock, alone, 300).count(1) <= looks
    assert run(paced, clock, beside_others, 300).count(4) <= looks + 20
    assert run(paced, clock, alone, 300)[LOOK_EVERY + 20 :].count(1) <= looks


def test_a_machine_that_gets_busy_is_noticed_within_a_few_passes(clock: Clock) -> None:
    paced = Pace(is_free=True, clock=clock)
    run(paced, clock, alone, 30)
    assert run(paced, clock, beside_others, 30)[-10:] == [1] * 10


def test_the_first_pass_after_a_change_says_nothing_of_those_that_follow(clock: Clock) -> None:
    before = [0]

    def waking(n_threads: int) -> float:
        is_first, before[0] = n_threads != before[0], n_threads
        return 5.0 if is_first and n_threads > 1 else 1 / n_threads

    assert run(Pace(is_free=True, clock=clock), clock, waking, 100)[-30:].count(4) >= 20


def test_the_thread_has_all_threads_again_after_a_pass_also_after_one_that_failed(clock: Clock) -> None:
    paced = Pace(is_free=True, clock=clock)
    run(paced, clock, beside_others, 10)
    with pytest.raises(RuntimeError), paced.passing(1):
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == 4


def test_passes_of_many_rows_and_of_other_weights_keep_all_threads(clock: Clock) -> None:
    torch.set_num_threads(4)
    assert set(run(Pace(is_free=True, clock=clock), clock, beside_others, 30, MOST_ROWS + 1)) == {4}
    assert set(run(Pace(is_free=False, clock=clock), clock, beside_others, 30)) == {4}


def test_only_a_model_of_blocks_alone_is_free_to_choose() -> None:
    packed = PackedLinear(blocks(Kind.Q4_1, (64, 256)), Kind.Q4_1)
    assert Pace.of(nn.Sequential(packed))._is_free
    assert not Pace.of(nn.Sequential(packed, nn.Linear(4, 4)))._is_free


def test_blocks_give_the_same_bits_with_any_number_of_threads() -> None:
    layer = PackedLinear(blocks(Kind.Q4_1, (1024, 512)), Kind.Q4_1)
    x = torch.randn(1, 512, dtype=torch.bfloat16)
    outputs = []
    for n_threads in (1, 2, 3, 4):
        torch.set_num_threads(n_threads)
        outputs.append(layer(x))
    assert all(torch.equal(output, outputs[0]) for output in outputs)


def test_a_thread_that_comes_while_a_chat_has_one_thread_computes_with_all(clock: Clock) -> None:
    seen: list[int] = []

    def compute() -> None:
        torch.ones(4).sum()
        use_all_threads()
        seen.append(torch.get_num_threads())

    paced = Pace(is_free=True, clock=clock)
    run(paced, clock, beside_others, 10)
    with paced.passing(1):
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
    assert seen == [4]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the kernel does not list this process's threads")
def test_whoever_held_the_turn_leaves_no_team_behind() -> None:
    numbers, counts = torch.randn(4, 300_000), []

    def compute() -> None:
        turn = Turn()
        for keeps_team in (True, False):
            with turn.held(keeps_team=keeps_team):
                use_all_threads()
                torch.exp(numbers)
            counts.append(len(os.listdir("/proc/self/task")))

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    assert counts[0] - counts[1] == pace.FULL - 1


def test_the_decoders_thread_comes_with_the_first_reply_and_goes_with_the_model(
    tiny_llama: Path, settings: Settings
) -> None:
    def named() -> int:
        return sum(thread.name == "proofbench-decode" for thread in threading.enumerate())

    before = named()
    with running(tiny_llama, settings) as host:
        assert named() == before
        for _ in range(2):
            list(host.stream([1, 2, 3], SamplingConfig(max_new_tokens=4)))
        assert named() == before + 1
    assert named() == before
