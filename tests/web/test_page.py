"""The page's settings and what it does with values that no form of ours would send."""

import json
import re
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from llm_app.config import SamplingConfig, Settings
from llm_app.web import text
from llm_app.web.look.theme import head, language_module, theme
from llm_app.web.page import TABS, blocked_paths
from tests.web.site import Site, is_unchanged, serving, texts


def test_the_page_is_mounted_with_the_settings_that_keep_visitors_apart(site: Site) -> None:
    page = site.page
    assert page.api_open is False
    assert page._queue.max_size == 128
    assert page._queue.default_concurrency_limit == 1
    assert page.state_session_capacity == 200
    assert page.state_holder.capacity == 200
    assert page.max_threads == page._queue.max_thread_count == 64
    assert page.delete_cache == (600, 3600)
    assert page.show_error is False
    assert page.allowed_paths == []
    assert str(site.services.settings.home.resolve()) in page.blocked_paths
    assert page.enable_monitoring is False
    assert page.run_history is False
    assert page.ssr_mode is False
    assert page.mcp_server is False
    assert page.max_file_size == 20 * 1024 * 1024
    assert page.footer_links == []
    assert page.analytics_enabled is False
    assert page.share is False


def test_the_browser_is_told_the_same(site: Site) -> None:
    config = site.config()
    assert config["footer_links"] == []
    assert config["analytics_enabled"] is False
    assert not config.get("run_history")
    assert config["enable_queue"] is True
    assert [d["api_visibility"] for d in config["dependencies"]] == ["private"] * len(config["dependencies"])


def test_home_data_and_the_program_itself_are_never_served(tmp_path: Path) -> None:
    class Stub:
        settings = Settings(home=tmp_path / "home", data=tmp_path / "data")

    blocked = blocked_paths(Stub())  # type: ignore[arg-type]
    program = Path(text.__file__).parents[2]
    for folder in (tmp_path / "home", tmp_path / "data", Path.home(), Path.cwd(), program):
        assert str(folder.resolve()) in blocked


def test_every_sentence_of_the_page_exists_in_both_languages() -> None:
    english, chinese = text.I18N.translations["en"], text.I18N.translations["zh-CN"]
    assert english.keys() == chinese.keys()
    sentences = text.STRINGS | {name: (english[name], chinese[name]) for name in english}
    for name, pair in sentences.items():
        assert all(words.strip() for words in pair), name
        values = [sorted(part.split("}")[0].split(":")[0] for part in words.split("{")[1:]) for words in pair]
        assert values[0] == values[1], name


def test_no_sentence_is_left_that_nothing_shows() -> None:
    program = "".join(file.read_text(encoding="utf-8") for file in Path(text.__file__).parent.rglob("*.py"))
    # Also as the begin of a name that is put together: f"kind_{kind}".
    starts = tuple(re.findall(r'f"(\w+_)\{', program))
    unused = [
        name for name in text.STRINGS
        if program.count(f'"{name}"') + program.count(f"'{name}'") < 2 and not name.startswith(starts)
    ]  # fmt: skip
    assert unused == []


def test_every_label_on_the_page_is_translated(site: Site) -> None:
    config = site.config()
    known = config["i18n_translations"]
    for component in config["components"]:
        for prop in ("label", "info", "placeholder"):
            words = component["props"].get(prop)
            if not words or component["type"] in ("html", "column", "row", "form"):
                continue
            if 'class="en"' in words and 'class="zh"' in words:
                continue
            assert words.startswith("__i18n__"), (component["type"], prop, words)
            key = json.loads(words.removeprefix("__i18n__"))["key"]
            assert key in known["en"] and key in known["zh-CN"]


def test_every_option_has_a_control_with_its_own_label(site: Site) -> None:
    shown = {c["props"].get("elem_id") for c in site.config()["components"]}
    for name in SamplingConfig.__dataclass_fields__:
        if "option" in SamplingConfig.__dataclass_fields__[name].metadata:
            assert f"option-{name.replace('_', '-')}" in shown


def test_a_tab_is_one_line() -> None:
    assert [name for name, _ in TABS] == ["tab_chat", "tab_classify", "tab_benchmark", "tab_tune"]
    assert all(name in text.STRINGS for name, _ in TABS)


def test_fonts_are_the_systems_own() -> None:
    assert theme()._stylesheets == []
    assert "@font-face" not in theme()._get_theme_css()
    assert "http" not in head().replace("http-equiv", "")


def test_the_language_switch_finds_gradios_own_module() -> None:
    path = Path(gr.__file__).parent / "templates" / "frontend" / language_module()
    assert "as changeLocale" in path.read_text(encoding="utf-8")


def test_no_event_searches_the_page_for_what_shows_progress(site: Site) -> None:
    # gradio's script does so for every component named here, at every event and every tick: 0.15 s without this.
    config = site.config()
    kinds = {component["id"]: component["type"] for component in config["components"]}
    for event in config["dependencies"]:
        assert event["show_progress"] == "hidden"
        assert {kinds[number] for number in event["show_progress_on"]} <= {"chatbot"}


def test_a_state_is_told_as_the_null_that_events_send_of_it(site: Site) -> None:
    # Otherwise the first null is taken for a change, and half as many events again run when the page opens.
    states = [component for component in site.config()["components"] if component["type"] == "state"]
    assert states and all(state["props"].get("value", "untold") is None for state in states)


def test_a_page_is_small_enough_to_be_there_at_once(site: Site) -> None:
    # Half a second on a line of 2 MB/s; the browser reads all of it before anything is shown.
    with site.client.stream("GET", "/", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert sum(map(len, answer.iter_raw())) < 200_000
    assert len(site.client.get("/config").content) < 780_000
    assert site.client.get("/", headers={"Accept-Encoding": "identity"}).text.startswith("<!doctype html>")


def test_a_browser_keeps_gradios_files_for_good_and_gets_nothing_else_beside_them(site: Site) -> None:
    path = Path(gr.__file__).parent / "templates" / "frontend" / language_module()
    for encoding in ("gzip", "identity"):
        answer = site.client.get(f"/{language_module()}", headers={"Accept-Encoding": encoding})
        assert answer.content == path.read_bytes()
        assert answer.headers.get("content-encoding", "identity") == encoding
        assert answer.headers["content-type"].startswith("text/javascript")
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    for name in ("no-such-file.js", "index.html", "%2e%2e", "%2e%2e%2findex.html", "..%5cindex.html"):
        assert site.client.get(f"/assets/{name}").status_code in (403, 404)


def test_a_message_is_answered_and_the_line_under_it_has_speed_and_seed(site: Site) -> None:
    frame = site.send("hello world")
    conversation = site.shown(frame, "conversation")
    assert [turn["role"] for turn in conversation] == ["user", "assistant"]
    assert texts(conversation)[0] == "hello world"
    note = conversation[1]["content"][1]["text"]
    assert "tok/s" in note and " ms" in note and "seed" in note and "种子" in note


WRONG_VALUES: list[tuple[str, Any]] = [
    ("option_temperature", 99), ("option_temperature", "warm"), ("option_temperature", {"path": "/etc/passwd"}),
    ("option_top_p", -1), ("option_top_p", [0.5]), ("option_top_p", None), ("option_max_new_tokens", 0),
    ("option_max_new_tokens", 1e300), ("option_max_new_tokens", True), ("option_top_k", 10**9), ("option_top_k", 1.5),
    ("option_seed", "2e70"), ("option_seed", "-1"), ("option_seed", "9" * 400), ("option_seed", "٣"),
    ("option_stop", {"a": 1}), ("option_stop", "\n".join("abcdefghijklmnopqrst")), ("option_stop", "x" * 300),
    ("option_reply_prefix", ["a"]), ("option_n_beams", 0), ("option_n_beams", "2"), ("option_no_repeat_ngram", -3),
    ("system_prompt", {"path": "/etc/passwd"}), ("system_prompt", "x" * 300_000),
    ("message", {"text": "a"}), ("message", ["a"]), ("message", 7), ("message", ""), ("message", " \n\t"),
    ("message", "\0"), ("message", "x" * 300_000),
]  # fmt: skip


@pytest.mark.parametrize(("control", "value"), WRONG_VALUES, ids=lambda v: repr(v)[:24])
def test_W6_a_value_no_form_would_send_is_refused_without_a_trace(site: Site, control: str, value: Any) -> None:
    session = f"wrong{abs(hash((control, repr(value)))) % 10**8}"
    values = {"message": "hello", control: value}
    assert site.join("send", "click", session, **values).status_code == 200
    messages = site.events(session)
    done = [m for m in messages if m["msg"] == "process_completed"][-1]
    assert done["success"], done
    raw = json.dumps(messages, ensure_ascii=False)
    assert not any(secret in raw for secret in ("Traceback", "site-packages", "llm_app/", "0x7f"))
    assert 'class="notice error"' in site.shown(done["output"]["data"], "chat-notice")
    assert is_unchanged(site.shown(done["output"]["data"], "message"))
    assert site.host.status().n_running == 0


def test_the_input_stays_when_a_message_is_refused(site: Site) -> None:
    frame = site.send("hello", option_stop="x" * 300)
    assert is_unchanged(site.shown(frame, "message"))
    assert "request" in site.shown(frame, "chat-notice")


def test_a_public_page_offers_no_choice_and_refuses_it_by_raw_request_too(tiny_llama: Path, tmp_path: Path) -> None:
    with serving(tmp_path, tiny_llama, is_public=True) as site:
        shown = {c["props"].get("elem_id"): c["props"].get("visible") for c in site.config()["components"]}
        assert shown["model"] is shown["load"] is False
        assert str(tmp_path) not in site.client.get("/config").text
        known = {tuple(map(tuple, d["targets"])) for d in site.config()["dependencies"]}
        numbers = {c["props"].get("elem_id"): c["id"] for c in site.config()["components"]}
        for elem_id in ("load", "unload", "cancel-load"):
            assert not any((numbers[elem_id], "click") in targets for targets in known)
        assert texts(site.shown(site.send("hello"), "conversation"))[0] == "hello"
