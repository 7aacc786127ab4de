"""Benchmarks on the page under faults: rows W1, W2, W4, W5, W6, W7, W9 of the fault table."""

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from torch.nn import Embedding
from torch.nn.modules.module import register_module_forward_hook

from llm_app.jobs.store import RunStore
from llm_app.web import visitor
from tests.live import slowed, wait_for
from tests.web.bench import choose, look, own_task, press, start, watched
from tests.web.site import Site, serving


@pytest.fixture(scope="module")
def site(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("home"), tiny_llama) as site:
        yield site


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(own_task(tmp_path_factory.mktemp("tasks")))


@pytest.fixture(scope="module")
def long_task(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(own_task(tmp_path_factory.mktemp("long"), "long", n_times=20))


def store(site: Site) -> RunStore:
    return site.services.runs()


def finish(site: Site, run_id: str) -> None:
    assert run_id and site.services.queue.wait(run_id, 60)


def test_W1_a_run_goes_on_without_its_page_and_a_new_page_shows_it(site: Site, long_task: str) -> None:
    with slowed(site.host, 0.05):
        run_id = start(site, "closed", long_task)
        wait_for(lambda: store(site).read(run_id).n_done > 0, 30)
        frame = look(site)
        assert 'class="run live"' in frame["benchmark-card"] and "long" in frame["benchmark-card"]
        assert "benchmark-stop" in frame
        press(site, "benchmark-stop", other_session(site, run_id))
    finish(site, run_id)


def other_session(site: Site, run_id: str) -> str:
    """A session that looks at this run."""
    session = secrets.token_hex(5)
    look(site, session)
    assert watched(site, session) == run_id
    return session


def test_W2_after_a_restart_the_run_is_shown_as_interrupted_and_a_press_loads_its_model_and_resumes_it_to_its_end(
    tiny_llama: Path, tmp_path: Path, long_task: str
) -> None:
    with serving(tmp_path / "home", tiny_llama) as before, slowed(before.host, 0.05):
        run_id = start(before, "first", long_task)
        wait_for(lambda: store(before).read(run_id).n_done > 0, 30)
        before.services.shutdown(0.0)
    with serving(tmp_path / "home", None) as after:
        assert "interrupted" in look(after, "second")["benchmark-card"]
        refused = after.ask("benchmark-resume", "click", "second")
        assert "which is not loaded" in after.shown(refused, "benchmark-run-notice", ("benchmark-resume", "click"))
        leave_while_the_model_loads(after, "second")
        assert "Resume goes on from there" in look(after, "third")["benchmark-card"], "closing the tab lost nothing"
        after.ask("benchmark-bring", "click", "third")
        assert after.host.loaded.entry.name == "tiny"
        finish(after, run_id)
        assert store(after).read(run_id).status == "done"


def leave_while_the_model_loads(site: Site, session: str) -> None:
    """Press "Load it and resume", and close the tab before the model was tried out, which takes a second here."""
    slow = register_module_forward_hook(lambda module, *_: time.sleep(isinstance(module, Embedding)))
    assert site.join("benchmark-bring", "click", session).status_code == 200
    with site.client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        assert any("Loading" in line for line in stream.iter_lines())
    wait_for(lambda: site.host.status().phase is None, 30)
    slow.remove()
    assert site.host.status().state == "empty"


def test_W4_stop_before_the_start_twice_and_after_the_end_is_no_error(site: Site, task: str, long_task: str) -> None:
    assert "error" not in json.dumps(press(site, "benchmark-stop", "w4-none"))
    with slowed(site.host, 0.05):
        run_id = start(site, "w4", long_task)
        for _ in range(2):
            assert "error" not in press(site, "benchmark-stop", "w4")["benchmark-run-notice"]
        finish(site, run_id)
    assert store(site).read(run_id).status == "cancelled", "what it has stays, marked"
    done = start(site, "w4", task)
    finish(site, done)
    assert "error" not in press(site, "benchmark-stop", "w4")["benchmark-run-notice"]
    assert store(site).read(done).status == "done"


def test_W4_a_run_that_waits_is_stopped_and_the_one_before_it_goes_on(site: Site, task: str, long_task: str) -> None:
    with slowed(site.host, 0.05):
        first = start(site, "ahead", long_task)
        second = start(site, "behind", task)
        assert site.services.queue.status(second).state == "queued"
        press(site, "benchmark-stop", "behind")
        assert store(site).read(second).status == "cancelled"
        assert site.services.queue.status(first).state == "running"
        press(site, "benchmark-stop", "ahead")
    finish(site, first)


def test_two_presses_of_start_make_one_run(site: Site, task: str) -> None:
    before = len(store(site).ids())
    choose(site, "double", task)
    for _ in range(2):
        assert site.join("benchmark-start", "click", "double").status_code == 200
    done = [m for m in site.events("double") if m["msg"] == "process_completed"]
    assert [m["success"] for m in done] == [True, True]
    assert len(store(site).ids()) == before + 1
    finish(site, watched(site, "double"))


def test_W5_a_handler_that_is_no_more_is_answered_without_a_trace(site: Site) -> None:
    body = {"data": [], "fn_index": 9_999, "session_hash": "stale"}
    for path in ("/gradio_api/queue/join", "/gradio_api/run/predict"):
        answer = site.client.post(path, json=body)
        assert answer.status_code < 600 and "Traceback" not in answer.text and "site-packages" not in answer.text
    assert site.client.get("/config").status_code == 200


WRONG: list[tuple[str, Any]] = [
    ("option_n_shots", "-1"), ("option_n_shots", "9" * 30), ("option_n_shots", {"a": 1}), ("option_n_shots", 3),
    ("option_limit", "0"), ("option_limit", ["1"]), ("option_limit", "1.5"), ("option_example_seed", "x"),
    ("option_chat_template", "maybe"), ("option_chat_template", {"path": "/etc/passwd"}),
    ("option_compare_with_base", "yes"), ("option_compare_with_base", None), ("option_allows_code", 1),
]  # fmt: skip


@pytest.mark.parametrize(("control", "value"), WRONG, ids=lambda v: repr(v)[:24])
def test_W6_an_option_no_form_would_send_is_refused_and_starts_nothing(
    site: Site, task: str, control: str, value: Any
) -> None:
    before, session = len(store(site).ids()), secrets.token_hex(5)
    choose(site, session, task)
    frame = site.ask("benchmark-start", "click", session, **{control: value})
    assert 'class="notice error"' in site.shown(frame, "benchmark-notice", ("benchmark-start", "click"))
    assert "Traceback" not in json.dumps(frame)
    assert len(store(site).ids()) == before


@pytest.mark.parametrize("value", ["../../etc", {"path": "/etc/passwd"}, ["x"], None, "a" * 12, 7])
def test_W6_a_run_that_is_not_in_the_list_is_not_shown(site: Site, value: Any) -> None:
    frame = press(site, "benchmark-list", secrets.token_hex(5), value, event="input")
    assert 'class="notice error"' in frame["benchmark-run-notice"]


def test_W6_names_that_are_not_on_the_page_of_the_list_cannot_be_ticked(site: Site) -> None:
    session = secrets.token_hex(5)
    frame = site.ask("task-ticks", "input", session, task_ticks=["/etc/passwd.yaml"])
    assert 'class="notice error"' in site.shown(frame, "benchmark-notice", ("task-ticks", "input"))
    state = site.function("benchmark-start", "click")["inputs"][0]
    assert site.page.state_holder[session][state] == ()


def test_W9_visitors_of_a_public_page_neither_see_nor_touch_each_others_runs(
    tiny_llama: Path, tmp_path: Path
) -> None:
    task = str(own_task(tmp_path / "tasks"))
    with (
        serving(tmp_path / "home", tiny_llama, is_public=True) as mine,
        httpx.Client(base_url=mine.url, timeout=60) as other,
    ):
        theirs = Site(mine.url, mine.page, mine.services, other)
        for page in (mine, theirs):
            cookie = page.client.get("/").headers["set-cookie"]
            assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
        run_id = start(mine, "mine", task)
        finish(mine, run_id)
        assert run_id in json.dumps(look(mine))
        assert run_id not in json.dumps(look(theirs))
        assert "error" in press(theirs, "benchmark-list", "theirs", run_id, event="input")["benchmark-run-notice"]
        state = theirs.function("benchmark-stop", "click")["inputs"][0]
        mine.page.state_holder["theirs"][state] = (run_id,)
        assert "error" in press(theirs, "benchmark-stop", "theirs")["benchmark-run-notice"]
        assert not mine.services.runs().ids(), "nothing lies among the runs of this machine"


def test_W9_without_its_cookie_a_public_page_shows_no_runs_and_says_why(tiny_llama: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "home", tiny_llama, is_public=True) as site:
        assert "cookie" in look(site)["benchmark-run-notice"]
        site.client.cookies.set(visitor.COOKIE, "guess")
        assert "cookie" in look(site)["benchmark-run-notice"]
        frame = site.ask("benchmark-start", "click", "none")
        assert "error" in site.shown(frame, "benchmark-notice", ("benchmark-start", "click"))


def test_W7_a_private_page_needs_no_cookie_and_sends_none(site: Site) -> None:
    assert "set-cookie" not in site.client.get("/").headers
    assert "benchmark-card" in look(site)
