"""Conversations that a browser keeps: bounded, and nothing in them is believed."""

import json
from dataclasses import replace
from typing import Any

import pytest

from llm_app.conversations import shelf as shelves
from llm_app.conversations.shelf import Shelf
from llm_app.conversations.store import ConversationNotFound
from tests.conversations.test_store import DETAILS
from tests.conversations.test_tree import talk


def test_a_browser_gives_back_what_it_was_given() -> None:
    made = talk("a").with_turn("assistant", "世界", DETAILS)
    shelf = Shelf()
    shelf.save(made)
    assert Shelf.of(json.loads(json.dumps(shelf.value()))).read(made.id) == made


def test_the_oldest_go_where_there_is_no_room_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "MAX_CHARACTERS", 60_000)
    shelf = Shelf()
    made = [shelf.save(talk("x" * 20_000)) for _ in range(4)]
    value = shelf.value()
    assert len(json.dumps(value)) <= 60_000 + 100
    assert [row["proofbench"]["id"] for row in value] == [made[3].id, made[2].id]


def test_how_many_went_is_told_once_and_what_was_saved_last_is_not_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "MAX_CONVERSATIONS", 2)
    shelf = Shelf()
    old = replace(talk("old"), updated=1.0)
    shelf.save(talk("a"))
    shelf.save(talk("b"))
    assert shelf.save(old) == shelf.read(old.id)
    assert (shelf.take_gone(), shelf.take_gone()) == (1, 0)


def test_an_import_that_does_not_fit_beside_what_is_kept_is_known_before() -> None:
    shelf = Shelf()
    shelf.save(talk("mine"))
    assert shelf.has_room([talk(str(n)) for n in range(shelves.MAX_CONVERSATIONS - 1)])
    assert not shelf.has_room([talk(str(n)) for n in range(shelves.MAX_CONVERSATIONS)])
    assert not shelf.has_room([talk("x" * 390_000, "x" * 390_000), talk("x" * 30_000)])


def test_what_is_not_understood_is_given_back_as_it_came() -> None:
    newer = {"proofbench": {"version": 2, "id": "a" * 12}}
    shelf = Shelf.of([newer])
    shelf.save(talk("a"))
    assert shelf.value()[1:] == [newer]


def test_undo_keeps_what_was_written_meanwhile_too() -> None:
    shelf = Shelf()
    made = shelf.save(talk("a"))
    shelf.delete(made.id)
    shelf.save(made.with_turn("user", "later"))
    assert [turn.content for turn in shelf.bring_back(made.id).turns] == ["a", "later"]


def test_the_number_kept_is_bounded() -> None:
    shelf = Shelf()
    for n in range(shelves.MAX_CONVERSATIONS + 5):
        shelf.save(talk(str(n)))
    assert len(shelf.value()) == shelves.MAX_CONVERSATIONS


@pytest.mark.parametrize("value", [None, 7, "x", {}, {"a": 1}, [None, 7, "x", {"proofbench": {}}, []]])
def test_what_a_browser_makes_up_is_left_out(value: Any) -> None:
    shelf = Shelf.of(value)
    assert shelf.listing().found == ()
    assert len(shelf.listing().damaged) == (5 if isinstance(value, list) else 0)


def test_a_shelf_renames_deletes_brings_back_and_searches_like_the_store() -> None:
    shelf = Shelf()
    made, other = shelf.save(talk("a", "needle")), shelf.save(talk("b"))
    assert [found.line.id for found in shelf.listing("NEEDLE").found] == [made.id]
    assert shelf.rename(made.id, "Mine").name == "Mine"
    assert shelf.save(made.with_turn("user", "c")).title == "Mine"
    shelf.delete(made.id)
    assert [found.line.id for found in shelf.listing().found] == [other.id]
    assert shelf.bring_back(made.id).title == "Mine"
    for wrong in ("nosuch", None, ["x"]):
        with pytest.raises(ConversationNotFound):
            shelf.read(wrong)
        with pytest.raises(ConversationNotFound):
            shelf.bring_back(wrong)
