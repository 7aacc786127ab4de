"""The page under faults: rows C6, C8, C9, C18, H19, W4, W7, W9, W10 of the fault table, and what loading shows."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from llm_app.conversations.tree import Conversation, Details
from llm_app.errors import Cancelled
from llm_app.web.chat import presence
from llm_app.web.chat.views import MAX_SHOWN
from tests import tiny
from tests.live import failing_after, slowed, unending, wait_for, wait_until_loaded
from tests.web.site import Site, is_unchanged, serving, texts, wait_until_idle


@pytest.fixture(scope="module")
def site(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("home"), tiny_llama) as site:
        yield site


def endless(site: Site, session: str) -> Any:
    """Ask for a reply that goes on for long, without reading it."""
    answer = site.join("send", "click", session, message="go on", option_max_new_tokens=200, option_temperature=1.5)
    assert answer.status_code == 200, answer.text
    wait_for(lambda: site.host.status().n_running > 0, 5)


def test_C18_W9_sessions_never_see_each_others_conversation(site: Site) -> None:
    sessions = [f"tab{i}" for i in range(32)]
    frames: dict[str, list[Any]] = {}

    def talk(session: str) -> None:
        site.send(f"first of {session}", session)
        frames[session] = site.send(f"second of {session}", session)

    threads = [threading.Thread(target=talk, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for session in sessions:
        said = [turn for turn in site.shown(frames[session], "conversation") if turn["role"] == "user"]
        assert texts(said) == [f"first of {session}", f"second of {session}"]


def test_C6_a_reply_that_nobody_reads_is_dropped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "READER_TIMEOUT_SECONDS", 1.0)
    with unending(site.host), slowed(site.host, 0.2):
        endless(site, "unread")
        seconds = wait_until_idle(site, 5.0)
    assert seconds > 0.5, "it ended by itself, so this proved nothing"


def test_C6_the_limit_is_fifteen_seconds() -> None:
    assert presence.READER_TIMEOUT_SECONDS == 15.0


def test_a_slow_reader_is_not_taken_for_an_absent_one() -> None:
    class Messages:
        n = 0

        def qsize(self) -> int:
            return self.n

    messages = Messages()

    class Page:
        class _queue:
            pending_messages_per_session = {"s": messages}

    watch = presence.ReaderWatch(Page, "s")  # type: ignore[arg-type]
    watch._read_at -= 14.9
    messages.n = 5
    assert not watch.is_gone()
    watch._read_at -= 14.9
    messages.n = 4  # one was read
    assert not watch.is_gone()
    watch._read_at -= 15.1
    assert watch.is_gone()


def test_C8_stop_keeps_the_text_marks_it_and_frees_the_place_at_once(site: Site) -> None:
    found: list[dict[str, Any]] = []
    with unending(site.host), slowed(site.host, 0.05):
        endless(site, "stopper")
        reader = threading.Thread(target=lambda: found.extend(site.events("stopper")))
        reader.start()
        wait_for(lambda: site.host.status().n_running == 1, 10)
        time.sleep(0.3)
        stop = site.function("stop", "click")
        body = {"data": [], "fn_index": stop["id"], "session_hash": "stopper"}
        assert site.client.post("/gradio_api/run/predict", json=body).status_code == 200
        assert wait_until_idle(site, 1.0) < 1.0
        reader.join(5)
    frame = [m for m in found if m["msg"] == "process_completed"][-1]["output"]["data"]
    reply = site.shown(frame, "conversation")[-1]
    assert reply["content"][0]["text"] and "stopped · " in reply["content"][1]["text"]
    again = site.shown(site.send("next", "stopper"), "conversation")
    assert texts(again)[1] == reply["content"][0]["text"], "what was stopped stays in the conversation"


def test_C8_W4_a_hundred_stops_with_and_without_a_reply_leave_nothing(site: Site) -> None:
    stop = site.function("stop", "click")
    for n in range(100):
        session = f"many{n % 5}"
        if n % 4 == 0:
            site.join("send", "click", session, message="x", option_max_new_tokens=64)
        body = {"data": [], "fn_index": stop["id"], "session_hash": session}
        assert site.client.post("/gradio_api/run/predict", json=body).status_code == 200
    for n in range(5):
        site.events(f"many{n}")
    wait_until_idle(site, 15.0)


def test_C9_W10_a_fault_in_the_middle_keeps_the_text_names_a_number_and_the_next_message_works(site: Site) -> None:
    with failing_after(site.host, 6, ValueError("secret of /home/user/x.py")):
        frame = site.send("hello", "faulty", option_max_new_tokens=40, option_temperature=1, option_seed="5")
    conversation, notice = site.shown(frame, "conversation"), site.shown(frame, "chat-notice")
    assert texts(conversation)[0] == "hello"
    assert "failed · request " in conversation[1]["content"][1]["text"]
    assert 'class="notice error"' in notice and "request" in notice
    assert "secret" not in json.dumps(frame) and "Traceback" not in json.dumps(frame)
    assert "seed" in site.shown(site.send("again", "faulty"), "conversation")[-1]["content"][1]["text"]


def test_a_closed_tab_stops_its_reply(site: Site) -> None:
    with unending(site.host), slowed(site.host, 0.1):
        endless(site, "leaver")
        with site.client.stream("GET", "/gradio_api/queue/data", params={"session_hash": "leaver"}) as stream:
            next(stream.iter_lines())
        wait_until_idle(site, 11.0)  # gradio looks for a closed connection at each message


def test_C1_what_no_longer_fits_is_said(site: Site) -> None:
    n_context = site.host.loaded.n_context
    for _ in range(6):
        frame = site.send("word " * (n_context // 8), "long")
    assert "oldest messages" in site.shown(frame, "chat-notice")
    conversation = site.shown(frame, "conversation")
    assert len(conversation) == 12, "the person still sees all of it"


def test_C1_a_message_that_cannot_fit_is_refused_and_the_history_unchanged(site: Site) -> None:
    site.send("hello", "huge")
    frame = site.send("word " * 20_000, "huge")
    assert "context" in site.shown(frame, "chat-notice")
    assert is_unchanged(site.shown(frame, "conversation"))
    assert texts(site.shown(site.send("again", "huge"), "conversation"))[::2] == ["hello", "again"]


def test_W14_a_conversation_of_five_hundred_messages_is_shown_and_continued_within_a_second(tmp_path: Path) -> None:
    # The window holds a part of it: reading all of it is the model's time, not the page's.
    with serving(tmp_path / "home", tiny.make_model(tmp_path / "patient", n_context=2_048)) as site:
        history = site.function("send", "click")["inputs"][1]
        details = Details("tiny", "fp32", None, 100, 50, 0.1, 99.0, 7, n_context=2_048)
        talk = Conversation.new()
        for n in range(250):
            talk = talk.with_turn("user", f"message {n}").with_turn("assistant", f"reply {n}", details)
        seconds = []
        for n in range(4):
            site.page.state_holder[f"old{n}"][history] = talk
            started = time.process_time()  # of client and server together, whatever else the machine does
            frame = site.send("and now", f"old{n}", option_max_new_tokens=1)
            seconds.append(time.process_time() - started)
        assert min(seconds) < 1.0, seconds
        shown = texts(site.shown(frame, "conversation"))
        assert len(shown) <= MAX_SHOWN + 1 and shown[-2] == "and now", "the end is drawn, the rest is a press away"
        assert len(site.page.state_holder["old3"][history].path) == 502


def test_H19_of_three_hundred_sessions_two_hundred_are_kept(site: Site) -> None:
    function = site.function("new-chat", "click")
    data = site.inputs(function)

    def touch(first: int, last: int) -> None:
        for n in range(first, last):
            body = {"data": data, "fn_index": function["id"], "session_hash": f"h19-{n}"}
            assert site.client.post("/gradio_api/run/predict", json=body).status_code == 200

    touch(0, 200)
    before = psutil.Process().memory_info().rss
    touch(200, 300)
    assert len(site.page.state_holder.session_data) <= 200
    assert psutil.Process().memory_info().rss - before < 100_000_000


@pytest.mark.parametrize("hostile", [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, [["x"], {}]])
def test_W7_handlers_that_no_button_leads_to_check_as_much(
    site: Site, hostile: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for dependency in site.config()["dependencies"]:
        body = {
            "data": [hostile] * len(dependency["inputs"]),
            "fn_index": dependency["id"],
            "session_hash": f"w7{dependency['id']}",
            "event_data": {"index": 9, "value": 1},
        }
        answer = site.client.post("/gradio_api/queue/join", json=body)
        words = answer.text
        if answer.status_code == 200:
            words = json.dumps(site.events(f"w7{dependency['id']}"))
        assert "root:" not in words and "Traceback" not in words and "site-packages" not in words
        internal = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
        assert not internal, (dependency["targets"], internal)
    wait_until_idle(site)


def test_the_direct_route_around_the_queue_is_closed(site: Site) -> None:
    function = site.function("send", "click")
    body = {"data": site.inputs(function, message="hello"), "fn_index": function["id"], "session_hash": "direct"}
    answer = site.client.post("/gradio_api/run/predict", json=body)
    assert answer.status_code in (401, 403, 404), answer.text


def strip(site: Site, elem_id: str, event: str, *data: Any) -> dict[str, Any]:
    """Values of the model strip after one of its handlers, by elem_id."""
    function = site.function(elem_id, event)
    body = {"data": list(data), "fn_index": function["id"], "session_hash": "strip"}
    answer = site.client.post("/gradio_api/run/predict", json=body)
    assert answer.status_code == 200, answer.text
    names = {c["id"]: c["props"].get("elem_id") or c["type"] for c in site.config()["components"]}
    return {names[n]: value for n, value in zip(function["outputs"], answer.json()["data"], strict=True)}


def chosen(model: Any, precision: str) -> list[Any]:
    """The strip's form: model, adapter, precision, device, context."""
    return [model, "", precision, "auto", 0]


def test_a_model_is_unloaded_and_loaded_from_the_strip_and_a_wrong_one_is_refused(
    tiny_llama: Path, tmp_path: Path
) -> None:
    with serving(tmp_path, tiny_llama) as site:
        assert "Unloaded" in strip(site, "unload", "click")["fit"]
        assert site.host.status().state == "empty"
        assert "No model is loaded" in site.shown(site.send("hello"), "chat-notice")
        strip(site, "load", "click", *chosen("tiny", "fp32"))
        wait_until_loaded(site.host, 20)
        assert "No model nosuch" in strip(site, "load", "click", *chosen("nosuch", "auto"))["fit"]
        assert site.host.status().state == "ready", "the model before stays"
        assert "error" in strip(site, "load", "click", *chosen({"a": 1}, "fp32"))["fit"]


def test_L20_a_load_can_be_cancelled_and_the_model_before_stays(tiny_llama: Path, tmp_path: Path) -> None:
    from llm_app.config import ModelConfig
    from llm_app.web.model.loader import Loader

    with serving(tmp_path, tiny_llama) as site:
        loader = Loader(site.host, site.services.give_back, site.services.settings)
        loader.load(ModelConfig("tiny", precision="bf16"), "id")
        loader.cancel()
        wait_for(lambda: not loader.is_busy, 20)
        assert isinstance(loader.failure, Cancelled) and site.host.loaded.precision == "fp32"


def test_L14_a_model_without_chat_template_says_so(tmp_path: Path) -> None:
    model = tiny.make_model(tmp_path / "plain", template=None)
    with serving(tmp_path / "home", model) as site:
        assert "no chat template" in strip(site, "cancel-load", "click")["model-status"]
        assert texts(site.shown(site.send("hello"), "conversation"))[0] == "hello"
