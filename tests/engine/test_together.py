"""Replies of an evaluation that share a batch: nothing else may change a bit of them."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llm_app.config import SamplingConfig, ServeConfig, Settings
from llm_app.engine import decoding
from llm_app.engine.host import Host
from llm_app.engine.request import Asked
from llm_app.errors import ContextLengthExceeded, NotEnoughMemory
from llm_app.messages import Stream
from tests.live import wait_for
from tests.running import GREEDY, have_free, ids_of, running

LONG = SamplingConfig(temperature=0.0, max_new_tokens=100, ignore_eos=True)


@pytest.fixture(scope="module")
def host(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    with running(tiny_llama, settings, precision="bf16", serve=ServeConfig(max_streams=2)) as host:
        yield host


def prompts(n: int) -> list[Asked]:
    """Of very different lengths, so that some are read while others speak, and with replies of different lengths."""
    return [
        Asked([(7 * i + 3 * k) % 390 for k in range(5 + 29 * i)], replace(LONG, max_new_tokens=60 + 5 * i))
        for i in range(n)
    ]


def logits_of(host: Host) -> tuple[list[torch.Tensor], torch.utils.hooks.RemovableHandle]:
    seen: list[torch.Tensor] = []

    def hook(module: object, args: object, output: torch.Tensor) -> None:
        seen.append(output.detach().clone())

    return seen, host.loaded.model.lm_head.register_forward_hook(hook)


def read(streams: list[Stream]) -> list[list[int]]:
    return [ids_of(stream) for stream in streams]


def test_replies_written_together_have_the_same_bits_every_time(host: Host) -> None:
    runs = []
    for _ in range(2):
        seen, handle = logits_of(host)
        read(host.stream_together(prompts(9)))
        handle.remove()
        runs.append(seen)
    assert len(runs[0]) == len(runs[1]) and all(map(torch.equal, *runs))


def test_chats_that_come_and_go_do_not_change_a_bit_of_replies_written_together(host: Host) -> None:
    alone = read(host.stream_together(prompts(9)))
    together = host.stream_together(prompts(9))
    for n in range(4):
        time.sleep(0.02)
        assert len(ids_of(host.stream([8, 9, 10 + n], replace(GREEDY, ignore_eos=True)))) == 24
    assert read(together) == alone


def test_two_groups_at_once_do_not_change_each_other(host: Host) -> None:
    alone = read(host.stream_together(prompts(9)))
    first, second = host.stream_together(prompts(9)), host.stream_together(prompts(9))
    assert read(first) == alone and read(second) == alone


def test_replies_written_together_take_no_place_of_a_chat(host: Host) -> None:
    together = host.stream_together([replace(one, sampling=replace(LONG, max_new_tokens=400)) for one in prompts(4)])
    next(together[0])
    chats = [host.stream([8, 9, 10 + n], GREEDY) for n in range(2)]
    for chat in chats:
        next(chat)  # both are admitted while the group runs
    assert host.status().n_running == 6
    for stream in (*together, *chats):
        stream.close()


def test_more_replies_at_once_than_the_memory_is_for_are_refused_before_they_start(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = host._decoder
    assert decoder is not None
    wait_for(lambda: decoder.n_cache_bytes == 0, 5)
    n_bytes = 320 * decoder._bytes_per_position / decoding.CACHE_SHARE
    have_free(monkeypatch, lambda: n_bytes - decoder.n_cache_bytes)
    short = [Asked([5] * 30, LONG)] * 3
    with pytest.raises(NotEnoughMemory, match="3 replies at once"):
        host.stream_together(short)
    assert [len(ids) for ids in read(host.stream_together(short[:2]))] == [100, 100]


def test_a_prompt_that_cannot_be_asked_keeps_the_whole_group_out(host: Host) -> None:
    wait_for(lambda: host.status().n_running == 0, 5)
    with pytest.raises(ContextLengthExceeded):
        host.stream_together([*prompts(2), Asked([5] * 600, LONG)])
    time.sleep(0.05)
    assert host.status().n_running == 0 and host.status().n_waiting == 0


def test_a_reply_ends_at_tokens_that_were_named_for_it(host: Host) -> None:
    (whole,) = read(host.stream_together([Asked([5, 6, 7], LONG)]))
    end = whole[10]
    (cut,) = read(host.stream_together([Asked([5, 6, 7], LONG, frozenset([end]))]))
    assert cut == whole[: whole.index(end)]
