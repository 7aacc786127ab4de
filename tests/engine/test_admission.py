"""Who may join the batch when memory is short."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llm_app.config import Settings
from llm_app.engine import decoding
from llm_app.engine.host import Host
from tests.running import GREEDY, have_free, ids_of, running


@pytest.fixture
def host(tiny_llama: Path, settings: Settings) -> Iterator[Host]:
    with running(tiny_llama, settings) as host:
        yield host


def allow_positions(host: Host, monkeypatch: pytest.MonkeyPatch, n: int) -> int:
    """Let the machine have room for so many cached tokens; gives the bytes of that."""
    decoder = host._decoder
    assert decoder is not None
    n_bytes = n * decoder._bytes_per_position
    have_free(monkeypatch, lambda: n_bytes / decoding.CACHE_SHARE - decoder.n_cache_bytes)
    return n_bytes


def test_requests_whose_cache_would_not_fit_wait_instead_of_filling_the_memory(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_positions(host, monkeypatch, 1100)  # two full contexts of 512
    endless = replace(GREEDY, max_new_tokens=400, ignore_eos=True)
    streams = [host.stream([5] * 100, endless) for _ in range(3)]
    next(streams[1])
    assert host.status().n_running == 2 and host.status().n_waiting == 1
    small = host.stream([5], GREEDY)
    assert [len(ids_of(stream)) for stream in (streams[0], streams[2])] == [400, 400]
    assert ids_of(small)


def test_nobody_smaller_overtakes_a_request_that_waits_for_memory(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_positions(host, monkeypatch, 600)
    first = host.stream([5] * 100, replace(GREEDY, max_new_tokens=300, ignore_eos=True))
    next(first)
    large = host.stream([5] * 200, replace(GREEDY, max_new_tokens=300, ignore_eos=True))
    small = [host.stream([6], replace(GREEDY, max_new_tokens=2)) for _ in range(5)]
    time.sleep(0.05)
    assert host.status().n_waiting == 6
    assert len(ids_of(large)) == 300
    assert all(ids_of(stream) for stream in small)


def test_a_long_request_after_many_short_ones_does_not_keep_the_rows_of_all(host: Host) -> None:
    decoder = host._decoder
    assert decoder is not None
    streams = [
        host.stream([5, 6], replace(GREEDY, max_new_tokens=60 if i else 300, ignore_eos=True)) for i in range(32)
    ]
    for stream in streams[1:]:
        ids_of(stream)
    long = host.stream([5] * 400, replace(GREEDY, max_new_tokens=50, ignore_eos=True))
    next(long)
    # Two rows of 512 positions, not 32.
    assert decoder.n_cache_bytes <= 2 * 2 * 512 * decoder._bytes_per_position
    streams[0].close()
    long.close()
