"""Conversations under faults of the page: rows W1, W2, W9 and W14 of the fault table, and what the disk can do."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_app.conversations.tree import Conversation
from tests.live import slowed, wait_for
from tests.web.keeping import act, at_once, ids, opened, replies, said
from tests.web.site import Site, serving, wait_until_idle


@pytest.fixture(scope="module")
def site(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("home"), tiny_llama) as site:
        yield site


def test_W1_a_reload_shows_the_same_conversation_with_its_versions(site: Site) -> None:
    said(site, "before", "one", option_temperature=1.5, system_prompt="be brief")
    last = said(site, "before", "two", option_temperature=1.5, system_prompt="be brief")
    last = act(site, "before", "again", ids(last)[3], option_temperature=1.5, system_prompt="be brief")
    after = opened(site, last["open"], "after")
    assert after["conversation"] == last["conversation"] and after["system-prompt"] == "be brief"
    assert after["context"] == last["context"]
    assert replies(said(site, "after", "three"))[:4] == replies(last)


def test_W1_a_reload_during_a_reply_shows_what_was_written_until_then(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site.host.loaded, "eos_ids", frozenset())  # no reply ends by itself
    with slowed(site.host, 0.05):
        site.join("send", "click", "writing", message="go on", option_max_new_tokens=200, option_temperature=1.5)
        wait_for(lambda: site.host.status().n_running > 0, 5)
        time.sleep(0.6)
        files = (site.services.settings.home / "conversations").glob("*.json")
        (path,) = [file for file in files if b"go on" in file.read_bytes()]
        after = opened(site, path.stem, "reloaded")
    assert replies(after)[0] == "go on" and replies(after)[1]
    assert "stopped · " in after["conversation"][1]["content"][1]["text"]
    assert wait_until_idle(site, 2.0) < 2.0


def test_W2_a_restarted_server_shows_the_same_conversation(tiny_llama: Path, tmp_path: Path) -> None:
    with serving(tmp_path, tiny_llama) as site:
        before = said(site, "first", "remember 我")
    (tmp_path / "models" / "tiny").rename(tmp_path / "gone")
    with serving(tmp_path, tiny_llama) as site:
        after = opened(site, before["open"])
        assert after["conversation"] == before["conversation"]
        assert before["open"] in after["kept"]


def test_W9_on_a_public_page_no_visitor_finds_anothers_conversation(tiny_llama: Path, tmp_path: Path) -> None:
    with serving(tmp_path, tiny_llama, is_public=True) as site:
        found: dict[str, str] = {}

        def talk(visitor: str) -> None:
            opened(site, "", visitor)
            found[visitor] = said(site, visitor, f"secret of {visitor}")["open"]

        threads = [threading.Thread(target=talk, args=(f"visitor{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(set(found.values())) == 8
        for visitor in found:
            for other, conversation_id in found.items():
                if other != visitor:
                    refused = at_once(
                        site, "kept-presses", "click", visitor, {"name": "open", "value": conversation_id}
                    )
                    assert "error" in refused["keep-notice"] and f"secret of {other}" not in str(refused)
            assert f"secret of {visitor}" in at_once(site, "keep-search", "change", visitor)["kept"]


def test_a_new_chat_during_a_reply_stays_empty_and_the_reply_is_kept(site: Site) -> None:
    with slowed(site.host, 0.05):
        site.join("send", "click", "leaving", message="leave me", option_max_new_tokens=200, option_temperature=1.5)
        wait_for(lambda: site.host.status().n_running > 0, 5)
        time.sleep(0.5)
        assert at_once(site, "new-chat", "click", "leaving")["conversation"] == []
        frames = [m for m in site.events("leaving") if m["msg"] in ("process_generating", "process_completed")]
    assert frames[-1]["msg"] == "process_completed"
    state = site.page.state_holder["leaving"][site.function("send", "click")["inputs"][1]]
    assert isinstance(state, Conversation) and state.turns == (), "what was dropped does not come back by itself"
    back = at_once(site, "undo-clear", "click", "leaving")
    assert replies(back)[0] == "leave me" and replies(back)[1]


def test_a_disk_that_refuses_is_said_and_the_reply_is_shown(tiny_llama: Path, tmp_path: Path) -> None:
    with serving(tmp_path, tiny_llama) as site:
        (tmp_path / "conversations").write_text("not a folder", encoding="utf-8")
        frame = said(site, "unkept", "hello")
        assert replies(frame)[0] == "hello" and len(replies(frame)) == 2
        assert "Not saved" in frame["chat-notice"] or "cannot be read" in frame["chat-notice"]
        assert str(tmp_path) not in frame["chat-notice"]
