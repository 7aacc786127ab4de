"""The comparison through the page's own queue: both panes answer, votes are kept, nothing that was sent is believed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_app.votes import VoteBook
from tests.web.site import Site, serving, wait_until_idle

SENT = ("compare-send", "click")
SHORT = {"compare_message": "hello", "option_max_new_tokens": 6, "compare_a": "greedy", "compare_b": "nucleus"}


@pytest.fixture(scope="module")
def public(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("public"), tiny_llama, is_public=True) as site:
        yield site


def ask(site: Site, session: str, **changed: Any) -> list[Any]:
    return site.ask(*SENT, session, **{**SHORT, **changed})


def shown(site: Site, frame: list[Any], elem_id: str, trigger: tuple[str, str] = SENT) -> Any:
    return site.shown(frame, elem_id, trigger)


def answers(site: Site, frame: list[Any]) -> list[str]:
    return [shown(site, frame, f"pane-{side}")[0]["content"][0]["text"] for side in "ab"]


def test_both_panes_answer_with_one_seed(site: Site) -> None:
    frame = ask(site, "both", option_seed="5", compare_blind=False)
    assert all(answers(site, frame))
    notes = [shown(site, frame, f"pane-{side}")[0]["content"][1]["text"] for side in "ab"]
    assert all("seed 5" in note for note in notes)
    assert "Greedy" in shown(site, frame, "head-a") and "Nucleus" in shown(site, frame, "head-b")


def test_the_greedy_side_says_what_a_greedy_chat_says(site: Site) -> None:
    frame = ask(site, "same", compare_blind=False)
    chat = shown(site, site.send("hello"), "conversation", ("send", "click"))
    assert answers(site, frame)[0] == chat[1]["content"][0]["text"]


def test_a_blind_round_is_named_by_its_vote_and_the_vote_is_kept(site: Site) -> None:
    book = VoteBook.of(site.services.settings)
    n_before = len(book.read()[0])
    frame = ask(site, "blind", compare_blind=True)
    assert "Greedy" not in shown(site, frame, "head-a") + shown(site, frame, "head-b")
    voted = site.ask("vote-a", "click", "blind")
    trigger = ("vote-a", "click")
    names = shown(site, voted, "head-a", trigger) + shown(site, voted, "head-b", trigger)
    assert "Greedy" in names and "Nucleus" in names
    vote = book.read()[0][-1]
    assert len(book.read()[0]) == n_before + 1
    assert (vote.choice, vote.is_blind, vote.answer_a) == ("a", True, answers(site, frame)[0])
    assert "Win rate" in shown(site, voted, "votes-table", trigger)


def test_a_second_vote_on_the_same_pair_is_refused(site: Site) -> None:
    ask(site, "twice")
    site.ask("vote-tie", "click", "twice")
    n = len(VoteBook.of(site.services.settings).read()[0])
    again = site.ask("vote-b", "click", "twice")
    assert "already" in shown(site, again, "compare-notice", ("vote-b", "click"))
    assert len(VoteBook.of(site.services.settings).read()[0]) == n


def test_W4_a_vote_before_an_answer_is_refused_with_a_sentence(site: Site) -> None:
    frame = site.ask("vote-a", "click", "nothing")
    assert "nothing to vote on" in shown(site, frame, "compare-notice", ("vote-a", "click"))


def test_W4_stop_ends_both_answers_and_nothing_goes_on(site: Site) -> None:
    long = {"option_max_new_tokens": 400, "compare_message": "hello", "compare_a": "nucleus", "compare_b": "top_k"}
    site.ask("compare-stop", "click", "stopper")  # before anything runs
    assert site.join(*SENT, "stopper", **long).status_code == 200
    for _ in range(200):
        if site.host.status().n_running == 2:
            break
    site.ask("compare-stop", "click", "stop-other")  # somebody else's
    site.join("compare-stop", "click", "stopper")
    wait_until_idle(site, 10)
    site.ask("compare-stop", "click", "stopper-2")  # after the end


@pytest.mark.parametrize("changed", [
    {"compare_kind": "all"}, {"compare_kind": {"a": 1}}, {"compare_kind": None}, {"compare_a": 3},
    {"compare_b": "/etc/passwd"}, {"compare_b": "greedy"}, {"compare_blind": "yes"}, {"compare_message": ["x"]},
    {"compare_message": " "}, {"option_temperature": "hot"}, {"system_prompt": 5},
])  # fmt: skip
def test_W6_values_outside_the_form_are_refused_with_one_sentence(site: Site, changed: dict[str, Any]) -> None:
    said = shown(site, ask(site, "forged", **changed), "compare-notice")
    assert 'role="alert"' in said and "Traceback" not in said
    assert site.host.status().n_running == 0


def test_two_precisions_answer_and_the_second_model_goes_with_another_choice(site: Site) -> None:
    frame = ask(site, "precision", compare_kind="precision", compare_a="fp32", compare_b="bf16", compare_blind=False)
    assert all(answers(site, frame)) and "bf16" in shown(site, frame, "head-b")
    assert site.services.second.host.status().state == "ready"
    site.ask("compare-kind", "input", "precision", compare_kind="decoding")
    assert site.services.second.host.status().state == "empty"


def test_votes_and_preferences_are_given_out_as_files(site: Site) -> None:
    import base64

    ask(site, "export")
    site.ask("vote-b", "click", "export")
    for button, name in (("export-votes", "votes.jsonl"), ("export-preferences", "preferences.jsonl")):
        value = shown(site, site.ask(button, "click", "export"), "votes-file", (button, "click"))
        _, found, data = value.split(" ")
        rows = [json.loads(line) for line in base64.b64decode(data).decode().splitlines()]
        assert found == name and rows
    assert {"prompt", "chosen", "rejected"} == set(rows[0])


def test_W9_on_a_public_page_votes_stay_in_the_visitors_browser(public: Site) -> None:
    ask(public, "visitor")
    voted = public.ask("vote-a", "click", "visitor")
    function = public.function("vote-a", "click")
    kinds = {c["id"]: c["type"] for c in public.config()["components"]}
    kept = next(v for v, n in zip(voted, function["outputs"], strict=True) if kinds[n] == "browserstate")
    assert [vote["choice"] for vote in kept] == ["a"]
    assert not VoteBook.of(public.services.settings).path.exists()
    stranger = public.ask("export-votes", "click", "stranger")
    assert "No votes yet" in shown(public, stranger, "compare-notice", ("export-votes", "click"))


def test_W6_votes_that_a_browser_made_up_are_counted_as_damaged(public: Site) -> None:
    from llm_app.config import Settings
    from llm_app.web.chat.compare_ballots import Ballots

    ballots = Ballots(Settings(Path("home"), is_public=True))
    assert ballots.read([{"id": 1}, "x", None]) == ([], 3)
    assert ballots.read({"a": 1}) == ([], 0)
