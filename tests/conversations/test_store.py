"""Conversations on disk: whole or not at all, and nothing lost that is not ours."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_app.conversations import store as stores
from llm_app.conversations.disk import KeepingFailed
from llm_app.conversations.form import MAX_BYTES, ConversationRefused, as_json, as_text, from_json, parsed
from llm_app.conversations.store import ConversationNotFound, ConversationStore
from llm_app.conversations.tree import Conversation, Details
from llm_app.messages import Message
from tests.conversations.test_tree import talk

DETAILS = Details(
    "tiny", "nf4", "mine", 12, 58, 0.25, 112.5, 2**63 - 1, "length", 512, "ab12", 3, {"top_k": 5, "stop": ["\n", "x"]}
)


@pytest.fixture
def store(tmp_path: Path) -> ConversationStore:
    return ConversationStore(tmp_path / "conversations")


def test_a_conversation_is_read_back_as_it_was(store: ConversationStore) -> None:
    made = talk("a", "b").with_turn("user", "  \n\0🙂 世界").with_turn("assistant", "c", DETAILS)
    made = made.before(made.tip).with_turn("assistant", "d", DETAILS)
    store.save(made)
    assert store.read(made.id) == made


def test_the_file_begins_with_the_messages_as_openais_api_has_them() -> None:
    made = Conversation.of([Message("system", "s"), Message("user", "a"), Message("assistant", "b")])
    assert list(json.loads(as_text(made)).items())[0] == ("messages", [
        {"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
    ])  # fmt: skip


def test_only_its_owner_may_read_it(store: ConversationStore) -> None:
    made = store.save(talk("secret"))
    assert os.stat(store.root / f"{made.id}.json").st_mode & 0o077 == 0


def test_a_second_window_loses_nothing_and_keeps_the_title(store: ConversationStore) -> None:
    begun = store.save(talk("a", "b"))
    store.rename(begun.id, "Mine")
    store.save(begun.with_turn("user", "one"))
    kept = store.save(begun.with_turn("user", "other"))
    assert {turn.content for turn in store.read(begun.id).turns} == {"a", "b", "one", "other"}
    assert kept.title == "Mine" and kept.path[-1].content == "other"


def test_windows_that_write_at_the_same_time_lose_nothing(store: ConversationStore) -> None:
    begun = store.save(talk("a", "b"))
    threads = [
        threading.Thread(target=lambda n=n: store.save(begun.with_turn("user", f"w{n}"))) for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {turn.content for turn in store.read(begun.id).turns} == {"a", "b", *(f"w{n}" for n in range(12))}


@pytest.mark.parametrize("damage", [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"proofbench": {"version": 2}}', b"[" * 100_000, b'{"messages": []}',
])  # fmt: skip
def test_a_torn_or_foreign_file_is_named_skipped_and_left(store: ConversationStore, damage: bytes) -> None:
    good, torn = store.save(talk("good")), store.root / "0000000000ab.json"
    torn.write_bytes(damage)
    (store.root / "notes.txt").write_text("mine", encoding="utf-8")
    listing = store.listing()
    assert [found.line.id for found in listing.found] == [good.id]
    assert set(listing.damaged) == {torn.name, "notes.txt"}
    assert torn.read_bytes() == damage and (store.root / "notes.txt").is_file()
    with pytest.raises(ConversationRefused):
        store.read("0000000000ab")
    with pytest.raises(ConversationRefused):
        store.save(Conversation(id="0000000000ab").with_turn("user", "x"))
    assert torn.read_bytes() == damage, "what cannot be read is not written over"


@pytest.mark.parametrize(
    "name", ["../x", "a" * 12 + "/", "..", "", "A" * 12, "a" * 11, None, 7, ["a"], "aaaaaaaaaaa\n"]
)
def test_no_id_leads_out_of_the_folder(store: ConversationStore, name: Any) -> None:
    store.save(talk("a"))
    for act in (store.read, store.delete, store.bring_back, lambda n: store.rename(n, "x")):
        with pytest.raises(ConversationNotFound):
            act(name)


def test_what_was_deleted_comes_back(store: ConversationStore) -> None:
    made = store.save(talk("a", "b"))
    store.delete(made.id)
    assert store.listing().found == () and store.listing().damaged == ()
    with pytest.raises(ConversationNotFound):
        store.read(made.id)
    assert store.bring_back(made.id) == made
    assert len(store.listing().found) == 1


def test_a_deletion_of_long_ago_is_forgotten_with_the_next(
    store: ConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = store.save(talk("old")), store.save(talk("new"))
    store.delete(old.id)
    monkeypatch.setattr(stores, "UNDO_SECONDS", -1.0)
    store.delete(new.id)
    with pytest.raises(ConversationNotFound):
        store.bring_back(old.id)
    assert store.bring_back(new.id) == new


def test_the_newest_stands_first_and_the_rest_is_counted(store: ConversationStore) -> None:
    ids = [store.save(talk(str(n))).id for n in range(4)]
    store.save(store.read(ids[0]).with_turn("user", "again"))
    listing = store.listing(limit=3)
    assert [found.line.id for found in listing.found] == [ids[0], ids[3], ids[2]] and listing.n_more == 1


@pytest.mark.parametrize(("wanted", "is_found"), [
    ("PERPLEX", True), ("困惑度", True), ("惑", True), ("straße", True), ("STRASSE", True), ("cafe\u0301", True),
    ("nothing like it", False), ("  困惑度 ", True),
])  # fmt: skip
def test_a_search_finds_parts_of_words_in_any_case_and_script(
    store: ConversationStore, wanted: str, is_found: bool
) -> None:
    store.save(talk("What is perplexity?", "困惑度衡量的是意外程度。Straße, café."))
    store.save(talk("unrelated"))
    found = store.listing(wanted).found
    assert bool(found) == is_found
    assert all(wanted.strip()[:2].casefold() in hit.excerpt.casefold() for hit in found)


def test_a_search_finds_titles_and_versions_that_are_not_in_sight(store: ConversationStore) -> None:
    made = talk("a", "hidden words")
    store.save(made.before(made.tip).with_turn("assistant", "b"))
    store.rename(made.id, "Zebra")
    assert store.listing("hidden").found and store.listing("zebra").found


def test_there_is_an_end_to_how_many_and_how_large(store: ConversationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MAX_CONVERSATIONS", 2)
    first = store.save(talk("a"))
    store.save(talk("b"))
    with pytest.raises(ConversationRefused, match="2 conversations"):
        store.save(talk("c"))
    store.save(first.with_turn("user", "still written"))
    large = first
    for _ in range(MAX_BYTES // 400_000 + 1):
        large = large.with_turn("user", "x" * 400_000)
    with pytest.raises(ConversationRefused, match="start a new one"):
        store.save(large)
    assert len(store.read(first.id).turns) == 2


def test_a_folder_that_cannot_be_made_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "conversations").write_text("a file", encoding="utf-8")
    with pytest.raises((KeepingFailed, ConversationRefused)):
        ConversationStore(tmp_path / "conversations").save(talk("a"))
    assert [path.name for path in tmp_path.iterdir()] == ["conversations"]


def _changed(**changes: Any) -> Any:
    value = as_json(talk("a", "b"))
    value["proofbench"].update(changes)
    return value


TURN = {"id": "t", "parent": "", "role": "user", "content": "x"}


@pytest.mark.parametrize("changes", [
    {"id": "../../etc"}, {"id": 7}, {"tip": "nowhere"}, {"tip": ""}, {"turns": {}}, {"turns": [7]}, {"title": ["x"]},
    {"title": "x" * 201}, {"system_prompt": "\ud800"}, {"turns": [], "tip": "x"}, {"turns": [TURN] * 5_001, "tip": "t"},
    {"turns": [TURN, TURN], "tip": "t"}, {"turns": [{**TURN, "parent": "t"}], "tip": "t"},
    {"turns": [{**TURN, "parent": "gone"}], "tip": "t"}, {"turns": [{**TURN, "id": ""}], "tip": ""},
    {"turns": [{**TURN, "role": "system"}], "tip": "t"}, {"turns": [{**TURN, "content": None}], "tip": "t"},
    {"turns": [{**TURN, "content": "\udfff"}], "tip": "t"}, {"turns": [{**TURN, "content": "x" * 400_001}], "tip": "t"},
    {"turns": [{**TURN, "parent": "b"}, {**TURN, "id": "b", "parent": "t"}], "tip": "t"},
    {"version": 99}, {"version": None},
])  # fmt: skip
def test_a_tree_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConversationRefused):
        from_json(_changed(**changes))


@pytest.mark.parametrize("details", [
    7, [], {"model": 7}, {"n_output_tokens": "many"}, {"seed": -1}, {"settings": {"top_k": {"a": 1}}}, {"n_cut": 1e400},
    {"tokens_per_second": float("nan")}, {"settings": [1]}, {"adapter": {"path": "/etc/passwd"}}, {"seed": True},
])  # fmt: skip
def test_details_of_a_wrong_kind_are_left_out_and_the_rest_is_kept(details: Any) -> None:
    row = {**TURN, "role": "assistant", "details": details}
    read = from_json(_changed(turns=[row], tip="t"))
    assert from_json(parsed(as_text(read))) == read, "what was kept can be written and read"
    assert read.path[0].content == "x"


def test_undo_keeps_what_another_window_wrote_meanwhile(tmp_path: Path) -> None:
    store = ConversationStore(tmp_path)
    made = store.save(talk("a", "lost?"))
    store.delete(made.id)
    store.save(replace(made.with_turn("user", "later"), turns=made.turns[:1]).showing(made.turns[0].id))
    store.save(store.read(made.id).with_turn("user", "later"))
    assert sorted(turn.content for turn in store.bring_back(made.id).turns) == ["a", "later", "lost?"]
    assert [path.name for path in tmp_path.iterdir()] == [f"{made.id}.json"]
