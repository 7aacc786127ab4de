"""Memory that many replies took goes back to the system once nobody asks for more."""

import random
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from llm_app.config import Settings
from llm_app.engine import decoding
from tests.running import GREEDY, ids_of, running, watched

MB = 1 << 20
RULES = replace(GREEDY, max_new_tokens=4, ignore_eos=True)


def in_use() -> float:
    return psutil.Process().memory_info().rss / MB


def leave_holes(n_mb: int) -> list[bytes]:
    """Take memory in small pieces and let go of most of it: the heap cannot shrink from its end alone."""
    pieces = [random.randbytes(100_000) for _ in range(n_mb * MB // 100_000)]
    return pieces[::50]


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is glibc's")
def test_a_pause_after_many_replies_gives_free_memory_back(
    tiny_llama: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "MOST_UNUSED", 1)
    monkeypatch.setattr(decoding, "PAUSE_SECONDS", 0.2)
    with running(tiny_llama, settings) as host:
        ids_of(host.stream([5, 6, 7], RULES))
        time.sleep(0.5)
        held = leave_holes(300)
        before = in_use()
        ids_of(host.stream([5, 6, 7], RULES))
        deadline = time.monotonic() + 10
        while in_use() > before - 150 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert in_use() < before - 150
        assert ids_of(host.stream([5, 6, 7], RULES)), "and it goes on"
        assert len(held) > 10


def test_only_a_pause_and_only_after_much(
    tiny_llama: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "PAUSE_SECONDS", 0.1)
    with running(tiny_llama, settings) as host:
        calls = watched(decoding, "give_back", monkeypatch)
        ids_of(host.stream([5, 6, 7], RULES))
        time.sleep(0.3)
        assert not calls, "a chat takes little"
        monkeypatch.setattr(decoding, "MOST_UNUSED", 1)
        for _ in range(20):
            ids_of(host.stream([5, 6, 7], RULES))
        assert not calls, "there was no pause"
        time.sleep(0.5)
        assert len(calls) == 1
