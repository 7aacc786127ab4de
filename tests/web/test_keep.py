"""Kept conversations as a raw HTTP client meets them: versions, branches, the list, files in and out."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_app.conversations.form import MAX_BYTES
from llm_app.web.chat.views import MAX_SHOWN
from tests.live import slowed, wait_for
from tests.web.keeping import HELLO, act, at_once, ids, kept, named, opened, replies, said
from tests.web.site import Site, is_unchanged, serving, texts


@pytest.fixture(scope="module")
def site(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Page and tiny model, with a home of its own."""
    with serving(tmp_path_factory.mktemp("home"), tiny_llama) as site:
        yield site


def files_of(site: Site) -> list[Path]:
    return sorted((site.services.settings.home / "conversations").glob("*.json"))


def test_a_conversation_is_kept_after_its_first_reply(site: Site) -> None:
    frame = said(site, "keeper", "hello world")
    value = json.loads((site.services.settings.home / "conversations" / f"{frame['open']}.json").read_text("utf-8"))
    assert [message["content"] for message in value["messages"]] == replies(frame)
    details = value["proofbench"]["turns"][1]["details"]
    assert (details["model"], details["precision"], details["n_output_tokens"]) == ("tiny", "fp32", 6)
    assert details["settings"] == {"temperature": 0, "max_new_tokens": 6}


def test_regenerating_makes_a_version_and_the_arrows_lead_back(site: Site) -> None:
    first = said(site, "versions", "hello", option_temperature=1.5, option_seed="1")
    second = act(site, "versions", "again", ids(first)[1], option_temperature=1.5, option_seed="2")
    assert replies(second)[1] != replies(first)[1]
    assert "2 / 2" in second["conversation"][1]["content"][1]["text"]
    back = act(site, "versions", "show", ids(first)[1])
    assert replies(back) == replies(first) and "1 / 2" in back["conversation"][1]["content"][1]["text"]


def test_going_on_is_what_the_option_to_start_the_reply_with_its_text_would_give(site: Site) -> None:
    first = said(site, "further", "hello", option_max_new_tokens=4)
    longer = act(site, "further", "continue", option_max_new_tokens=4)
    assert replies(longer)[1].startswith(replies(first)[1]) and len(replies(longer)[1]) > len(replies(first)[1])
    started = said(site, "started", "hello", option_max_new_tokens=4, option_reply_prefix=replies(first)[1])
    assert replies(longer)[1] == replies(started)[1]


def test_an_earlier_reply_is_repeated_without_losing_what_followed(site: Site) -> None:
    said(site, "early", "one")
    whole = said(site, "early", "two")
    again = act(site, "early", "again", ids(whole)[1], option_temperature=1.5)
    assert len(again["conversation"]) == 2
    assert replies(act(site, "early", "show", ids(whole)[1])) == replies(whole)


def test_a_branch_is_another_conversation_and_the_first_is_unchanged(site: Site) -> None:
    said(site, "branching", "one")
    whole = said(site, "branching", "two")
    before = (site.services.settings.home / "conversations" / f"{whole['open']}.json").read_bytes()
    branch = act(site, "branching", "branch", ids(whole)[1])
    assert replies(branch) == replies(whole)[:2] and branch["open"] != whole["open"]
    assert (site.services.settings.home / "conversations" / f"{whole['open']}.json").read_bytes() == before
    assert replies(said(site, "branching", "three"))[:2] == replies(whole)[:2]


def test_an_edited_message_is_answered_and_an_edited_reply_stands(site: Site) -> None:
    first = said(site, "editor", "one")

    def edit(index: int, value: str) -> list[str]:
        data = {"index": index, "value": value, "previous_value": ""}
        short = {"option_max_new_tokens": 6, "option_temperature": 0}
        assert site.join("conversation", "edit", "editor", event_data=data, **short).status_code == 200
        frame = [m for m in site.events("editor") if m["msg"] == "process_completed"][-1]["output"]["data"]
        return texts(site.shown(frame, "conversation", ("conversation", "edit")))

    assert edit(1, "mine &lt;b>")[1] == "mine &lt;b>"
    changed = edit(0, "uno")
    assert changed[0] == "uno" and len(changed) == 2
    assert replies(act(site, "editor", "show", ids(first)[0])) == ["one", "mine &lt;b>"]


def test_W14_of_a_long_conversation_the_end_is_drawn_and_the_rest_is_a_press_away(site: Site) -> None:
    made = kept(site, *(f"m{n}" for n in range(300)))
    frame = at_once(site, "kept-presses", "click", "long", {"name": "open", "value": made.id})
    assert replies(frame) == [f"m{n}" for n in range(300 - MAX_SHOWN, 300)]
    more = act(site, "long", "earlier", str(300 - 2 * MAX_SHOWN))
    assert replies(more) == [f"m{n}" for n in range(300 - 2 * MAX_SHOWN, 300)]
    data = {"index": 1, "value": "mine", "previous_value": ""}
    assert site.join("conversation", "edit", "long", event_data=data).status_code == 200
    last = [m for m in site.events("long") if m["msg"] == "process_completed"][-1]["output"]["data"]
    shown = texts(site.shown(last, "conversation", ("conversation", "edit")))
    assert shown[-2:] == [f"m{300 - 2 * MAX_SHOWN}", "mine"], "an edit finds its message behind those not drawn"


def test_an_answer_is_added_to_the_data_set_and_taken_out_by_the_notice(site: Site) -> None:
    cut = said(site, "learner", "teach me")
    assert "Continue it first" in act(site, "learner", "learn", ids(cut)[1])["chat-notice"]
    made = kept(site, "teach me", "an answer")
    frame = at_once(site, "kept-presses", "click", "learner", {"name": "open", "value": made.id})
    added = act(site, "learner", "learn", ids(frame)[1])["chat-notice"]
    assert "1 so far" in added
    out = act(site, "learner", "unlearn", added.split('name="unlearn" value="')[1].split('"')[0])
    assert "0 left" in out["chat-notice"]
    assert "notice error" in act(site, "learner", "learn", ids(frame)[0])["chat-notice"], "a question is no answer"


@pytest.mark.parametrize("event", [
    None, 7, {"name": "learn", "value": ["x"]}, {"name": "unlearn", "value": "../x"},
    {"name": "earlier", "value": "-1"}, {"name": "earlier", "value": ["1"]},
    [], "x", {}, {"name": "again"}, {"name": "show", "value": "nosuch"}, {"name": "branch", "value": None},
    {"name": ["again"], "value": {"a": 1}}, {"name": "continue"}, {"name": "again", "value": 1e300},
])  # fmt: skip
def test_W6_a_press_that_no_button_makes_is_refused(site: Site, event: Any) -> None:
    session = f"press{abs(hash(repr(event))) % 10**8}"
    assert site.join("acts", "click", session, event_data=event).status_code == 200
    messages = json.dumps(site.events(session))
    assert not any(secret in messages for secret in ("Traceback", "site-packages", "llm_app/", "passwd"))
    assert site.host.status().n_running == 0


def test_the_list_opens_searches_renames_deletes_and_undoes(site: Site) -> None:
    made = kept(site, "a question about 困惑度", "an answer")
    assert made.id in opened(site, "")["kept"]
    found = at_once(site, "keep-search", "change", "list", keep_search="惑")["kept"]
    assert made.id in found and found.count('name="open"') == 1
    assert "No conversation contains this" in at_once(site, "keep-search", "change", "list", keep_search="zzz")["kept"]
    frame = at_once(site, "kept-presses", "click", "list", {"name": "open", "value": made.id})
    assert replies(frame) == ["a question about 困惑度", "an answer"] and frame["open"] == made.id
    at_once(site, "keep-title", "submit", "list", keep_title=" My  <b>title</b> ")
    renamed = at_once(site, "keep-search", "change", "list")
    assert renamed["keep-title"] == "My <b>title</b>"
    assert "My &lt;b&gt;title&lt;/b&gt;" in renamed["kept"]
    gone = at_once(site, "kept-presses", "click", "list", {"name": "delete", "value": made.id})
    assert made.id not in gone["kept"] and gone["conversation"] == [] and gone["open"] == ""
    back = at_once(site, "undo-delete", "click", "list")
    assert made.id in back["kept"] and replies(back) == ["a question about 困惑度", "an answer"]


def test_a_rename_says_nothing_of_what_is_in_sight(site: Site) -> None:
    first, second = kept(site, "first"), kept(site, "second")
    at_once(site, "kept-presses", "click", "race", {"name": "open", "value": first.id})
    outputs = set(site.function("keep-title", "blur")["outputs"])
    in_sight = site.function("kept-presses", "click")["outputs"][0]
    state = site.function("send", "click")["inputs"][1]
    assert not outputs & {in_sight, state}, "it may be answered after the press that opens another"
    at_once(site, "keep-title", "blur", "race", keep_title="Renamed")
    frame = at_once(site, "kept-presses", "click", "race", {"name": "open", "value": second.id})
    assert frame["keep-title"] == "second" and "Renamed" in frame["kept"]


def test_a_page_whose_memory_was_emptied_goes_on_in_the_same_conversation(site: Site) -> None:
    first = said(site, "long-open", "one")
    del site.page.state_holder.session_data["long-open"]  # as after 200 other sessions, or a restart
    second = said(site, "long-open", "two", open=first["open"])
    assert second["open"] == first["open"] and replies(second)[:2] == replies(first)


def test_files_go_out_and_come_in_again(site: Site) -> None:
    frame = said(site, "files", "hello <b>")
    saved = at_once(site, "export-json", "click", "files")["saved"].split(" ")
    assert saved[1] == f"conversation-{frame['open']}.json"
    text = base64.b64decode(saved[2]).decode()
    assert json.loads(text)["messages"][0] == {"role": "user", "content": "hello <b>"}
    markdown = base64.b64decode(at_once(site, "export-markdown", "click", "files")["saved"].split(" ")[2]).decode()
    assert "## You\n\nhello <b>\n" in markdown and "tiny" in markdown
    event = {"name": "x.json", "text": text, "n_bytes": len(text)}
    again = at_once(site, "import", "upload", "other", event)
    assert replies(again) == replies(frame) and again["open"] != frame["open"]
    plain = at_once(site, "import", "upload", "other", {"name": "x.json", "text": HELLO})
    assert replies(plain) == ["你好", "hello"]


@pytest.mark.parametrize(("event", "words"), [
    ({"text": None}, f"larger than {MAX_BYTES // 1_000_000} MB"), ({"text": ""}, "not UTF-8"),
    ({"text": 7}, "not UTF-8"),
    ({"text": "{"}, "not valid JSON"), ({"text": "[1]"}, "No messages"),
    ({"text": '[{"role": "x"}]'}, "only system, user"), (None, "larger than"), ([], "larger than"),
])  # fmt: skip
def test_a_file_that_is_no_conversation_is_refused_in_a_sentence(site: Site, event: Any, words: str) -> None:
    before = files_of(site)
    frame = at_once(site, "import", "upload", "wrong", event)
    assert words in frame["keep-notice"] and "request" in frame["keep-notice"]
    assert is_unchanged(frame["conversation"]) and files_of(site) == before


def test_a_damaged_file_is_named_and_left(site: Site) -> None:
    torn = site.services.settings.home / "conversations" / "0000000000zz.json"
    kept(site, "x")
    torn.write_text('{"messages": [', encoding="utf-8")
    try:
        assert torn.name in opened(site, "")["kept"]
        refused = at_once(site, "kept-presses", "click", "torn", {"name": "open", "value": "0000000000zz"})
        assert "not valid JSON" in refused["keep-notice"] and is_unchanged(refused["conversation"])
        assert torn.exists()
    finally:
        torn.unlink()


def test_presets_fill_the_form_are_saved_and_deleted(site: Site) -> None:
    exact = at_once(site, "preset", "input", "preset", preset="exact")
    assert exact["option-temperature"] == 0 and exact["option-top-k"] == 20
    saved = at_once(site, "preset-save", "click", "preset", preset_name="Wild", option_temperature=1.9)
    assert saved["preset"]["value"] == "Wild" and ["Wild", "Wild"] in [list(c) for c in saved["preset"]["choices"]]
    wild = at_once(site, "preset", "input", "preset", preset="Wild", option_seed="7")
    assert wild["option-temperature"] == 1.9 and is_unchanged(wild["option-seed"]), "a seed is not part of a preset"
    like = at_once(site, "option-temperature", "input", "preset", option_temperature=1.9)
    assert like["preset"] == "Wild"
    gone = at_once(site, "preset-delete", "click", "preset", preset="Wild")
    assert "Deleted" in gone["preset-notice"]
    for wrong in ("Wild", "balanced", None, ["x"], {"a": 1}):
        refused = at_once(site, "preset-delete", "click", "preset", preset=wrong)
        assert 'class="notice error"' in refused["preset-notice"]


def test_a_public_page_keeps_conversations_in_the_browser_and_nothing_on_its_disk(
    tiny_llama: Path, tmp_path: Path
) -> None:
    with serving(tmp_path, tiny_llama, is_public=True) as site:
        opened(site, "", "visitor")
        frame = said(site, "visitor", "my secret")
        shelf = frame["chats"]
        number = by_name(site, "chats")
        function = site.function("open", "load")
        data = [shelf if n == number else "" for n in function["inputs"]]
        body = {"data": data, "fn_index": function["id"], "session_hash": "reload",
                "event_data": {"value": frame["open"]}}  # fmt: skip
        found = site.client.post("/gradio_api/run/predict", json=body).json()["data"]
        conversation = found[function["outputs"].index(site.function("send", "click")["outputs"][0])]
        assert texts(conversation) == replies(frame)
        assert not (tmp_path / "conversations").exists() and not (tmp_path / "presets.json").exists()
        assert "my secret" not in json.dumps(opened(site, frame["open"], "stranger"))
        disk = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size < 1_000_000]
        assert not any(b"my secret" in path.read_bytes() for path in disk)


def test_a_public_page_whose_memory_was_emptied_goes_on_from_what_the_browser_keeps(
    tiny_llama: Path, tmp_path: Path
) -> None:
    with serving(tmp_path, tiny_llama, is_public=True) as site:
        number = by_name(site, "chats")
        opened(site, "", "visitor")
        other = said(site, "visitor", "another one")["open"]
        at_once(site, "new-chat", "click", "visitor")
        first = said(site, "visitor", "one")
        del site.page.state_holder.session_data["visitor"]  # as after half an hour
        function = site.function("send", "click")
        in_browser = {number: first["chats"], function["inputs"][0]: "two",
                      by_name(site, "open"): first["open"], by_name(site, "option-max-new-tokens"): 6}  # fmt: skip
        plain = zip(function["inputs"], site.inputs(function), strict=True)
        body = {"data": [in_browser.get(n, value) for n, value in plain],
                "fn_index": function["id"], "session_hash": "visitor", "event_data": None}  # fmt: skip
        assert site.client.post("/gradio_api/queue/join", json=body).status_code == 200
        done = [m for m in site.events("visitor") if m["msg"] == "process_completed"][-1]
        second = named(site, function, done["output"]["data"])
        assert second["open"] == first["open"] and replies(second)[:2] == replies(first)
        shelf = second["chats"]
        assert {row["proofbench"]["id"] for row in shelf} == {first["open"], other}, "nothing kept is lost"


def by_name(site: Site, elem_id: str) -> int:
    number: int = next(c["id"] for c in site.config()["components"] if c["props"].get("elem_id") == elem_id)
    return number


def test_on_a_public_page_an_id_alone_stops_nobodys_reply(tiny_llama: Path, tmp_path: Path) -> None:
    with serving(tmp_path, tiny_llama, is_public=True) as site:
        opened(site, "", "owner")
        first = said(site, "owner", "one")
        with slowed(site.host, 0.05):
            site.join("send", "click", "owner", message="two", option_max_new_tokens=40, option_temperature=1.5)
            wait_for(lambda: site.host.status().n_running > 0, 5)
            at_once(site, "kept-presses", "click", "stranger", {"name": "delete", "value": first["open"]})
            opened(site, first["open"], "stranger")
            frames = [m for m in site.events("owner") if m["msg"] == "process_completed"]
        last = named(site, site.function("send", "click"), frames[-1]["output"]["data"])
        assert "stopped" not in last["conversation"][-1]["content"][1]["text"]
