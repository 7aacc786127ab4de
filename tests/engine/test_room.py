"""Scoring where memory is short: what does not fit is halved once, not at every pass."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llm_app.config import Settings
from llm_app.engine.host import Host
from llm_app.engine.loading import LoadedModel
from llm_app.engine.packing import Request
from llm_app.engine.room import LEAST_TOKENS, TOKENS, Room
from llm_app.engine.scorer import TooLargeAlone
from llm_app.engine.scoring import loglikelihoods, rolling
from llm_app.engine.turn import Turn
from tests.running import running


@pytest.fixture(scope="module")
def host(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with running(tiny_llama, Settings(home=tmp_path_factory.mktemp("home"))) as host:
        yield host


@contextmanager
def full_above(loaded: LoadedModel, n_tokens: int, marker: int | None = None) -> Iterator[list[int]]:
    """No memory for a pass of more tokens than this, or for one with the marker; gives the sizes that failed."""
    failed: list[int] = []

    def hook(module: object, args: object, kwargs: dict[str, Any]) -> None:
        ids = kwargs["input_ids"]
        if ids.shape[1] > n_tokens or (marker is not None and bool((ids == marker).any())):
            failed.append(ids.shape[1])
            raise MemoryError

    handle = loaded.model.get_decoder().register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield failed
    finally:
        handle.remove()


def requests(seed: int, n: int, n_context: int) -> list[Request]:
    rng = random.Random(seed)
    return [
        ([rng.randrange(390) for _ in range(n_context)], [rng.randrange(390) for _ in range(rng.randrange(1, 6))])
        for _ in range(n)
    ]


def scores(loaded: LoadedModel, asked: list[Request], room: Room | None = None) -> dict[int, tuple[float, bool]]:
    return {i: (value, greedy) for i, value, greedy in loglikelihoods(loaded, Turn(), asked, room=room)}


def assert_equal(got: dict[int, tuple[float, bool]], want: dict[int, tuple[float, bool]]) -> None:
    assert got.keys() == want.keys()
    for index, (value, is_greedy) in want.items():
        assert got[index][0] == pytest.approx(value, abs=1e-4) and got[index][1] == is_greedy


def test_E15_the_smaller_pass_is_kept_so_that_only_the_first_one_fails(host: Host) -> None:
    first, second = requests(1, 60, 40), requests(2, 60, 40)
    want = [scores(host.loaded, first), scores(host.loaded, second)]
    room = Room()
    with full_above(host.loaded, 300) as failed:
        assert_equal(scores(host.loaded, first, room), want[0])
        assert len(failed) == 2  # 1,024 and 512 tokens
        assert_equal(scores(host.loaded, second, room), want[1])
    assert len(failed) == 2 and LEAST_TOKENS <= room.tokens <= 300 and room.is_short


def test_E15_a_single_input_that_does_not_fit_is_read_in_several_passes(host: Host) -> None:
    asked = requests(3, 3, 400)
    want = scores(host.loaded, asked)
    room = Room()
    with full_above(host.loaded, 150):
        assert_equal(scores(host.loaded, asked, room), want)
    assert room.tokens <= 150


def test_E15_texts_for_perplexity_are_read_in_shorter_passes_too(host: Host) -> None:
    texts = [context for context, _ in requests(4, 2, 900)]
    want = dict(rolling(host.loaded, Turn(), texts, prefix_token=5))
    with full_above(host.loaded, 100):
        assert dict(rolling(host.loaded, Turn(), texts, prefix_token=5)) == pytest.approx(want, abs=1e-3)


def test_E15_an_input_for_which_there_is_no_memory_at_all_is_named_and_the_others_can_be_asked(host: Host) -> None:
    asked = requests(5, 20, 30)
    want = scores(host.loaded, asked)
    asked[7] = ([399, *asked[7][0]], asked[7][1])
    room, got = Room(), {}
    with full_above(host.loaded, TOKENS, marker=399):
        with pytest.raises(TooLargeAlone) as caught:
            for index, value, greedy in loglikelihoods(host.loaded, Turn(), asked, room=room):
                got[index] = value, greedy
        assert caught.value.indices == {7}
        left = set(range(20)) - {7} - got.keys()
        for index, value, greedy in loglikelihoods(host.loaded, Turn(), asked, room=room, wanted=left):
            got[index] = value, greedy
    del want[7]
    assert_equal(got, want)
