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
    assert len(json.dumps(value)) <= 60_000 + 400
    assert [row["proofbench"]["id"] for row in value if "turns" in row["proofbench"]] == [made[3].id, made[2].id]


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


def test_what_is_not_understood_has_the_same_limit_from_another_tab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "MAX_CHARACTERS", 1_000)
    shelf = Shelf.of([{"mine": "x" * 600}])
    shelf.merge([{"theirs": "y" * 600}])
    assert [list(row) for row in shelf.value()] == [["mine"]] and shelf.take_gone() == 1
    shelf.merge([{"theirs": "y" * 600}, {"other": "z" * 600}])
    assert shelf.take_gone() == 2, "what did not fit there did not fit here either"


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
    assert len(shelf.listing().found) == len(Shelf.of(shelf.value()).listing().found) == shelves.MAX_CONVERSATIONS


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


def tabs(*words: str) -> tuple[Shelf, Shelf]:
    """Two tabs of a browser, with the same conversations at first."""
    one = Shelf()
    for each in words:
        one.save(talk(each))
    return one, Shelf.of(one.value())


def names(shelf: Shelf) -> list[str]:
    return sorted(found.line.name for found in shelf.listing().found)


def test_two_tabs_of_a_browser_keep_what_either_has_made() -> None:
    one, other = tabs("both")
    one.save(talk("mine"))
    other.save(talk("theirs"))
    other.merge(one.value())
    one.merge(other.value())
    assert names(one) == names(other) == ["both", "mine", "theirs"]


def test_of_one_conversation_in_two_tabs_the_newest_stands_with_the_turns_of_both() -> None:
    one, other = tabs("a")
    (found,) = one.listing().found
    one.save(one.read(found.line.id).with_turn("user", "mine"))
    other.save(other.read(found.line.id).with_turn("user", "theirs"))
    one.merge(other.value())
    kept = one.read(found.line.id)
    assert {turn.content for turn in kept.turns} == {"a", "mine", "theirs"} and kept.path[-1].content == "theirs"


def test_what_was_deleted_or_renamed_in_one_tab_is_so_in_the_other_and_can_be_brought_back() -> None:
    one, other = tabs("gone", "named")
    ids = {found.line.name: found.line.id for found in one.listing().found}
    one.delete(ids["gone"])
    one.rename(ids["named"], "new name")
    other.merge(one.value())
    assert names(other) == ["new name"]
    one.merge(other.value())
    assert names(one) == ["new name"], "a tab that still had it does not bring it back"
    one.bring_back(ids["gone"])
    other.merge(one.value())
    assert names(other) == ["gone", "new name"]


def test_a_conversation_that_goes_on_in_one_tab_outlives_its_deletion_in_another_and_no_sign_of_that_is_left() -> None:
    one, other = tabs("a")
    (found,) = one.listing().found
    one.delete(found.line.id)
    other.save(other.read(found.line.id).with_turn("user", "and on"))
    one.merge(other.value())
    assert names(one) == ["a"]
    assert all("turns" in row["proofbench"] for row in one.value())


@pytest.mark.parametrize("grave", [
    {"id": 5, "updated": 1.0}, {"id": "a" * 12, "updated": "x"}, {"id": "a" * 12, "updated": float("nan")},
    {"id": "../etc", "updated": 1.0}, {},
])  # fmt: skip
def test_a_made_up_deletion_deletes_nothing(grave: dict[str, Any]) -> None:
    shelf, _ = tabs("a")
    shelf.merge([{"proofbench": {**grave, "deleted": True}}])
    assert names(shelf) == ["a"]
