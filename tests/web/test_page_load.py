"""Many visitors chat while a benchmark runs, all through the page's own events."""

import gc
import json
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from llm_app.config import ModelConfig
from llm_app.engine.loading import release_memory
from tests.live import wait_for
from tests.web.bench import own_task, start
from tests.web.site import Site, serving, texts, wait_until_idle

N_TURNS = 3
ROOM_BYTES = 60 << 20  # for what a longer use leaves in caches, whatever the number of visitors


def talk(site: Site, visitor: int) -> tuple[list[dict[str, Any]], list[str]]:
    """A conversation of one visitor: everything that the server sent, and what stands in the chat at its end."""
    session, seen, shown = f"visitor{visitor}-{secrets.token_hex(4)}", [], []
    with httpx.Client(base_url=site.url, timeout=300) as client:
        mine = Site(site.url, site.page, site.services, client)
        for turn in range(N_TURNS):
            answer = mine.join(
                "send", "click", session, message=said(visitor, turn),
                option_max_new_tokens=12, option_temperature=0,
            )  # fmt: skip
            assert answer.status_code == 200, answer.text
            seen += mine.events(session)
            done = next(event for event in reversed(seen) if event["msg"] == "process_completed")
            assert done["success"], done
            shown = texts(mine.shown(done["output"]["data"], "conversation"))
    return seen, shown


def said(visitor: int, turn: int) -> str:
    return f"marker-{visitor:03d}-{turn} hello"


def scores_of(site: Site, run_id: str) -> dict[str, tuple[str, float]]:
    assert wait_for(lambda: site.services.runs().read(run_id).status not in ("running", "queued"), 600) < 600
    run = site.services.runs().read(run_id)
    assert run.status == "done", run
    return dict(run.scores)


def check_visitors(site: Site, task: str, n_visitors: int) -> None:
    """Everybody sees all of the own conversation and nothing of another's; the benchmark scores as it does alone."""
    alone = scores_of(site, start(site, "alone", task))
    under_load = start(site, "loaded", task)
    with ThreadPoolExecutor(n_visitors) as visitors:
        talks = list(visitors.map(lambda number: talk(site, number), range(n_visitors)))
    for number, (seen, shown) in enumerate(talks):
        assert shown[::2] == [said(number, turn) for turn in range(N_TURNS)]
        everything = json.dumps(seen)
        assert not [other for other in range(n_visitors) if other != number and f"marker-{other:03d}" in everything]
    assert scores_of(site, under_load) == alone


def check_memory(site: Site, task: str, n_visitors: int) -> None:
    """A second crowd, as large as the first, leaves nothing behind."""
    before = used_bytes(site), threading.active_count()
    check_visitors(site, task, n_visitors)
    after = used_bytes(site), threading.active_count()
    assert after[0] - before[0] < ROOM_BYTES
    assert after[1] <= before[1] + 2  # of the servers' own pools


def used_bytes(site: Site) -> int:
    wait_until_idle(site, 30)
    gc.collect()
    release_memory()
    return int(psutil.Process().memory_info().rss)


def test_visitors_who_chat_during_a_benchmark_see_only_their_own_text(tiny_llama: Path, tmp_path: Path) -> None:
    task = str(own_task(tmp_path / "tasks", n_times=4))
    with serving(tmp_path / "home", tiny_llama) as site:
        check_visitors(site, task, 4)


@pytest.mark.verify
def test_32_visitors_chat_on_the_embedded_model_during_a_benchmark_and_leave_no_memory_behind(tmp_path: Path) -> None:
    task = str(own_task(tmp_path / "tasks", n_times=8))
    with serving(tmp_path / "home", None) as site:
        for _ in site.host.load(ModelConfig("embedded", precision="fp32")):
            pass
        check_visitors(site, task, 32)
        check_memory(site, task, 32)
