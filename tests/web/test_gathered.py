"""What the Chat tab leaves for training: answers that were added, votes as pairs, and the desk over a reload."""

import base64
import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from llm_app.config import Settings
from llm_app.conversations.tree import Conversation, Details
from llm_app.data.mix import DatasetSpec, load
from llm_app.errors import UserError
from llm_app.messages import Message
from llm_app.votes import Choice, VoteBook
from llm_app.web.chat.learn import Learning
from llm_app.web.gathered import ANSWERS, PAIRS, Gathered
from llm_app.web.tune import data_draft as draft
from llm_app.web.tune.data_handlers import DataHandlers
from llm_app.web.tune.data_shelf import DataShelf
from tests.test_votes import vote
from tests.web.test_results import asking, services_of, words
from tests.web.test_tune import a_file, parts

TALK = [
    Message("system", "Be brief."), Message("user", "one?"), Message("assistant", "1"), Message("user", "two?\u2028"),
    Message("assistant", "2 <b>"),
]  # fmt: skip
A, B = "a" * 43, "b" * 43


def loading(value: object) -> gr.EventData:
    return gr.EventData(None, {"value": value})


def test_an_added_answer_is_an_example_of_which_only_that_answer_is_learned(settings: Settings) -> None:
    gathered = Gathered(settings)
    key, n = gathered.add(None, TALK)
    assert n == 1 and gathered.add(None, TALK) == (key, 1), "twice is once"
    path = DataShelf.of(settings, None).keep_text(ANSWERS, gathered.text(None, ANSWERS))
    (example,) = load([DatasetSpec(str(path))], 0).examples
    assert [turn.content for turn in example.turns if turn.is_trained] == ["2 <b>"]
    assert [turn.content for turn in example.turns] == [message.content for message in TALK]


def test_an_answer_can_be_taken_out_again_and_another_stays(settings: Settings) -> None:
    gathered = Gathered(settings)
    key, _ = gathered.add(None, TALK)
    gathered.add(None, TALK[:3])
    assert gathered.take_out(None, key) == 1 and "2 <b>" not in gathered.text(None, ANSWERS)
    with pytest.raises(UserError, match="not in the data set"):
        gathered.take_out(None, key)


@pytest.mark.parametrize("talk", [[], TALK[:2], TALK[2:3], [TALK[1], TALK[1], TALK[2]]])
def test_what_is_no_dialogue_is_not_added(settings: Settings, talk: list[Message]) -> None:
    with pytest.raises(UserError, match="question and answer in turn"):
        Gathered(settings).add(None, talk)
    assert Gathered(settings).text(None, ANSWERS) == ""


def test_W9_what_visitors_of_a_public_page_gather_lies_apart(tmp_path: Path) -> None:
    gathered = Gathered(Settings(tmp_path, is_public=True))
    gathered.add(A, TALK)
    assert gathered.give_votes(A, [vote("a"), vote("tie"), vote("both_bad")]) == 1
    assert gathered.text(A, ANSWERS) and gathered.text(A, PAIRS)
    assert gathered.text(B, ANSWERS) == gathered.text(B, PAIRS) == ""


def test_gathering_an_answer_takes_no_upload_away(tmp_path: Path) -> None:
    settings = Settings(tmp_path, is_public=True)
    shelf = DataShelf.of(settings, A)
    uploads = [shelf.keep_text(f"{n}.jsonl", str(n)) for n in range(shelf.limits.n_uploads)]
    Gathered(settings).add(A, TALK)
    assert all(upload.is_file() for upload in uploads)


def test_W9_on_a_public_page_the_copy_of_before_makes_room_for_the_newer_one(tmp_path: Path) -> None:
    services, made = services_of(tmp_path / "home", is_public=True), parts()
    handlers = DataHandlers(services, made)
    Gathered(services.settings).add(A, TALK)
    (older,) = handlers.answers(asking(A), ())[made.data]
    Gathered(services.settings).add(A, TALK[:3])
    (newer,) = handlers.answers(asking(A), (older,))[made.data]
    assert Path(newer.path).is_file() and not Path(older.path).exists()


@pytest.mark.parametrize("ending", ["length", "time", "cancelled", "failed"])
def test_an_answer_without_an_end_is_not_added(settings: Settings, ending: str) -> None:
    asked = Conversation.new().with_turn("user", "one?")
    for details, said in ((Details(ending=ending), "Continue it first"), (Details(), "Added to the data set")):
        answered = asked.with_turn("assistant", "1", details)
        assert said in Learning(settings).act(asking(), "learn", answered, answered.tip)


def test_answers_and_votes_come_to_the_desk_by_a_click_and_votes_choose_preference_tuning(tmp_path: Path) -> None:
    services, made, objective = services_of(tmp_path / "home"), parts(), gr.Dropdown()
    handlers = DataHandlers(services, made)
    assert all(shown["visible"] == "hidden" for shown in handlers.arrive(asking()).values())
    Gathered(services.settings).add(None, TALK)
    choices: tuple[Choice, ...] = ("a", "b", "tie")
    for choice in choices:
        VoteBook.of(services.settings).add(vote(choice))
    assert all(shown["visible"] is True for shown in handlers.arrive(asking()).values())
    shown = handlers.answers(asking(), ())
    assert "1 examples" in words(shown[made.rows]) and "Messages with roles" in shown[made.chosen.about]
    both = handlers.votes(objective)(asking(), shown[made.data])
    assert "2 examples" in words(both[made.rows]) and both[objective] == "dpo"
    assert "Preferences: chosen and rejected" in both[made.rows] and len(both[made.data]) == 2
    Gathered(services.settings).add(None, TALK[:3])
    again = handlers.answers(asking(), both[made.data])
    assert len(again[made.data]) == 2, "the newer copy stands in place of the older one"
    assert Path(shown[made.data][0].path).is_file(), "a run that took the older copy finds it again"


def test_what_lies_on_the_desk_is_found_again_after_a_reload(tmp_path: Path) -> None:
    services, made = services_of(tmp_path / "home"), parts()
    handlers = DataHandlers(services, made)
    data = handlers.take(handlers.example(())[made.data], str(a_file(tmp_path)))[made.data]
    form = ["prompt_completion", 2.0, "auto", "", True]
    columns = {"prompt": "reply", "response": "question"}
    changed = handlers.change(data, "1", *form, *(columns.get(name, "") for name in made.chosen.columns))
    kept = changed[made.kept]
    found = DataHandlers(services, made).restore(asking(), loading(kept))
    assert found[made.data] == changed[made.data] and "asked.jsonl" in found[made.rows]
    (tmp_path / "asked.jsonl").unlink()
    left = handlers.restore(asking(), loading(kept))
    assert len(left[made.data]) == 1 and "gone meanwhile: 1" in words(left[made.notice])


@pytest.mark.parametrize("value", [
    7, ["x"], "%%%", "eA==", *(
        base64.b64encode(json.dumps(rows).encode()).decode()
        for rows in ([1], [{"path": 3, "weight": "x"}], [{"path": "x", "reading": {"encoding": "rot13"}}], 5)
    ),
])  # fmt: skip
def test_W6_a_memory_that_is_none_of_ours_is_refused_in_a_sentence(tmp_path: Path, value: object) -> None:
    made = parts()
    shown = DataHandlers(services_of(tmp_path / "home"), made).restore(asking(), loading(value))
    assert "request" in shown[made.notice] and made.data not in shown


@pytest.mark.parametrize("path", ["/etc/passwd", "../../secret/x.jsonl", "0123456789abcdef/x.jsonl"])
def test_W6_on_a_public_page_a_memory_leads_to_files_of_ones_own_only(tmp_path: Path, path: str) -> None:
    made, services = parts(), services_of(tmp_path / "home", is_public=True)
    handlers = DataHandlers(services, made)
    uploaded = handlers.upload(asking(A), (), [str(a_file(tmp_path / "up"))])
    kept: Any = uploaded[made.kept]
    assert str(tmp_path) not in base64.b64decode(kept).decode()
    assert len(handlers.restore(asking(A), loading(kept))[made.data]) == 1
    assert handlers.restore(asking(B), loading(kept))[made.data] == ()
    rows = [DatasetSpec(path).to_json()]
    forged = base64.b64encode(json.dumps(rows).encode()).decode()
    assert handlers.restore(asking(A), loading(forged))[made.data] == ()
    assert draft.written((), services.settings) == ""
