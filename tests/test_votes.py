"""Votes: kept through kills, counted by pair, given out as TRL reads preferences."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import binomtest

from llm_app.config import Settings
from llm_app.data.read import read_file
from llm_app.errors import UserError
from llm_app.jobs import lock
from llm_app.messages import Message
from llm_app.votes import (
    Choice,
    Contestant,
    Vote,
    VoteBook,
    line_of,
    new_round,
    new_vote,
    preference_lines,
    preferences,
    read_vote,
    standings,
    unique,
)

BASE = Contestant("m", "bf16", "", "greedy", "d1")
TUNED = replace(BASE, adapter="mine", identity="d2")
PROMPT = (Message("system", "Be brief."), Message("user", "你好?"))


def vote(choice: Choice = "a", *, swapped: bool = False, is_blind: bool = True) -> Vote:
    sides = (TUNED, BASE) if not swapped else (BASE, TUNED)
    return new_vote(new_round(), PROMPT, sides, ("one", "two"), choice, is_blind=is_blind, seed=7)


@pytest.fixture
def book(settings: Settings) -> VoteBook:
    return VoteBook.of(settings)


def test_votes_come_back_as_they_were_given(book: VoteBook) -> None:
    votes = [vote("a"), vote("tie")]
    for each in votes:
        book.add(each)
    assert book.read() == (votes, 0)


def test_pairs_are_a_file_named_by_its_content_that_a_later_vote_does_not_change(book: VoteBook) -> None:
    with pytest.raises(UserError, match="names a winner"):
        book.write_pairs()
    book.add(vote("a"))
    first = book.write_pairs()
    before = first.read_bytes()
    book.add(vote("b"))
    assert book.write_pairs() != first and first.read_bytes() == before
    assert len(book.write_pairs().read_bytes().splitlines()) == 2


def test_no_votes_yet_is_no_error(book: VoteBook) -> None:
    assert book.read() == ([], 0)


@pytest.mark.parametrize("n_bytes", [1, 20, -1])
def test_a_torn_last_line_is_no_vote_and_spoils_none_after_it(book: VoteBook, n_bytes: int) -> None:
    first, torn, after = vote(), vote(), vote()
    book.add(first)
    with book.path.open("ab") as file:
        file.write(line_of(torn).encode()[:n_bytes])
    assert book.read() == ([first], 0)
    book.add(after)
    assert book.read() == ([first, after], 0)


def test_a_damaged_line_is_counted_and_the_others_are_read(book: VoteBook) -> None:
    first, last = vote(), vote()
    book.add(first)
    with book.path.open("ab") as file:
        file.write(b'{"id": 3}\n\xff\xfe\n')
    book.add(last)
    assert book.read() == ([first, last], 2)


def test_a_round_that_is_voted_on_twice_counts_once(book: VoteBook) -> None:
    first = vote("a")
    book.add(first)
    book.add(replace(first, choice="b"))
    assert book.read() == ([first], 0)
    assert unique([first, first]) == [first]


def test_votes_wait_for_whoever_is_writing_and_say_so(book: VoteBook) -> None:
    book.add(vote())
    file = os.open(book.path, os.O_RDWR)
    try:
        assert lock.take(file)
        with pytest.raises(UserError, match="Another program"):
            book.add(vote())
    finally:
        os.close(file)
    assert len(book.read()[0]) == 1


def test_a_folder_that_cannot_be_made_is_said(settings: Settings) -> None:
    (settings.home / "votes").write_text("a file")
    with pytest.raises(UserError, match="Cannot write"):
        VoteBook.of(settings).add(vote())


@pytest.mark.parametrize("change", [
    {"choice": "c"}, {"seed": "7"}, {"seed": True}, {"is_blind": 1}, {"answer_a": None}, {"a": "m"}, {"a": {}},
    {"prompt": [{"role": "god", "content": "x"}]}, {"prompt": "text"}, {"prompt": [1]}, {"answer_b": "\ud800"},
    {"id": ["x"]}, {"choice": ["a"]},
])  # fmt: skip
def test_what_is_no_vote_is_not_taken_for_one(change: dict[str, object]) -> None:
    good = json.loads(line_of(vote()))
    assert read_vote(good) is not None
    assert read_vote(good | change) is None


@pytest.mark.parametrize("found", [None, [], "x", 3, {}])
def test_other_json_is_no_vote(found: object) -> None:
    assert read_vote(found) is None


def test_sides_do_not_matter_to_who_won() -> None:
    (standing,) = standings([vote("a"), vote("b", swapped=True), vote("b"), vote("tie"), vote("both_bad")])
    assert (standing.first, standing.second) == (TUNED, BASE)
    assert (standing.n_first, standing.n_second, standing.n_tie, standing.n_both_bad) == (2, 1, 1, 1)
    assert standing.n == 5


def test_the_win_rate_has_wilsons_interval_over_decided_votes() -> None:
    votes = [vote("a") for _ in range(14)] + [vote("b") for _ in range(6)] + [vote("tie") for _ in range(30)]
    (standing,) = standings(votes)
    expected = binomtest(14, 20).proportion_ci(0.95, method="wilson")  # oracle: scipy
    assert standing.win_rate is not None
    assert standing.win_rate.estimate == 0.7 and standing.win_rate.n == 20
    assert (standing.win_rate.low, standing.win_rate.high) == pytest.approx((expected.low, expected.high))


def test_only_ties_give_no_win_rate() -> None:
    (standing,) = standings([vote("tie"), vote("both_bad")])
    assert standing.win_rate is None


def test_blind_votes_and_others_are_counted_apart() -> None:
    found = standings([vote("a"), vote("a"), vote("b", is_blind=False)])
    assert [(s.is_blind, s.n) for s in found] == [(True, 2), (False, 1)]


def test_other_weights_under_the_same_name_are_another_contestant() -> None:
    other = replace(vote("a"), a=replace(TUNED, identity="retrained"))
    assert len(standings([vote("a"), other])) == 2


def test_preferences_have_the_columns_that_trl_reads() -> None:
    rows = list(preferences([vote("a"), vote("b"), vote("tie"), vote("both_bad")]))
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好?"}]
    one, two = ([{"role": "assistant", "content": words}] for words in ("one", "two"))
    assert rows == [
        {"prompt": prompt, "chosen": one, "rejected": two},
        {"prompt": prompt, "chosen": two, "rejected": one},
    ]


def test_no_preference_is_made_of_an_empty_winner_or_two_equal_answers() -> None:
    assert list(preferences([replace(vote("a"), answer_a=" \n"), replace(vote("b"), answer_a="two")])) == []


def test_the_preference_file_is_a_data_set(tmp_path: Path) -> None:
    from datasets import load_dataset

    path = tmp_path / "preferences.jsonl"
    # What a model may say byte by byte, too.
    path.write_text(preference_lines([vote("a"), replace(vote("b"), answer_a="o\0ne\x12\u2028")]), encoding="utf-8")
    assert not read_file(path).problems and len(read_file(path).rows) == 2
    rows = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows.column_names == ["prompt", "chosen", "rejected"]
    assert rows[0]["prompt"][1] == {"role": "user", "content": "你好?"}
