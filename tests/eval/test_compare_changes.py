"""Sample by sample: fixed and broken, the answers as a person reads them, the words that changed."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.compare import Answered, Metric, word_diff
from eval.compare.changes import answer_text, change
from tests.eval.made_runs import one


def asked(choices: list[str], logprobs: list[float], target: str = "0", **fields: Any) -> Answered:
    """A question with choices, each with the log-likelihood that the model gives it."""
    requests = tuple(("Which one?\nAnswer:", f" {choice}") for choice in choices)
    answers = tuple((value, False) for value in logprobs)
    return replace(Answered(0, "d", {}, target, requests, answers, {"acc,none": 1.0}), **fields)


def test_right_and_wrong_samples_are_fixed_broken_or_as_they_were() -> None:
    task = one([0, 1, 1, 0], [1, 0, 1, 0])
    assert [change.kind for change in task.changes] == ["fixed", "broken", "both right", "both wrong"]


def test_right_and_wrong_are_the_other_way_round_where_less_is_better() -> None:
    task = one([0, 1, 1, 0], [1, 0, 1, 0], Metric("toxic", "mean", False))
    assert [change.kind for change in task.changes] == ["broken", "fixed", "both wrong", "both right"]


def test_other_scores_are_better_worse_or_equal() -> None:
    task = one([0.2, 0.7, 0.5], [0.3, 0.6, 0.5])
    assert [change.kind for change in task.changes] == ["better", "worse", "equal"]


def test_labels_are_right_or_wrong_sample_by_sample() -> None:
    task = one([[1, 0], [0, 0]], [[1, 1], [0, 1]], Metric("mcc", "matthews_corrcoef", True))
    assert [change.kind for change in task.changes] == ["fixed", "broken"]


def test_the_answer_to_a_choice_is_the_one_held_most_likely() -> None:
    sample = asked(["Paris", "Lyon, the city on the Rhône"], [-3.0, -4.0])
    assert answer_text(sample, "acc,none") == "Paris"
    assert answer_text(sample, "acc_norm,none") == "Lyon, the city on the Rhône"  # -4 over 27 letters


def test_the_target_of_a_choice_is_told_in_words() -> None:
    before, after = asked(["a", "b"], [-1, -2], "1"), asked(["a", "b"], [-2, -1], "1")
    made = change(before, after, "acc,none", (0, 1), is_binary=True)
    assert (made.target, made.answers, made.kind) == ("b", ("a", "b"), "fixed")
    assert made.logprobs == ((-1, -2), (-2, -1))


def test_choices_that_stand_in_the_prompt_are_what_the_prompts_do_not_share() -> None:
    requests = (("The box did not fit because Tom", " was tall."), ("The box did not fit because Ann", " was tall."))
    sample = Answered(0, "d", {}, "was tall.", requests, ((-2.0, False), (-1.0, False)), {})
    assert answer_text(sample, "acc,none") == "Ann"


def test_a_text_that_can_only_be_likely_is_told_by_its_likelihood() -> None:
    sample = Answered(0, "d", {}, "signs", (("I like", " signs"),), ((-2.5, True),), {})
    assert answer_text(sample, "perplexity,none") == "log-probability -2.50, the model's own choice"


def test_a_log_probability_that_json_lacks_is_none() -> None:
    sample = asked(["a", "b"], [float("-inf"), -1.0])
    assert change(sample, sample, "acc,none", (1, 1), is_binary=True).logprobs[0] == (None, -1.0)


@given(st.text(), st.text())
def test_a_diff_holds_both_texts(first: str, second: str) -> None:
    pieces = word_diff(first, second)
    assert "".join(text for kind, text in pieces if kind != "added") == first
    assert "".join(text for kind, text in pieces if kind != "removed") == second


@pytest.mark.parametrize(
    ("first", "second", "removed", "added"),
    [
        ("the black cat sleeps", "the white cat sleeps", "black", "white"),
        ("他昨天去了北京大学", "他今天去了北京大学", "昨", "今"),
        ("東京に行く", "京都に行く", "東", "都"),
        ("", "new words", "", "new words"),
    ],
)
def test_a_diff_is_by_words_and_by_characters_in_chinese_and_japanese(
    first: str, second: str, removed: str, added: str
) -> None:
    pieces = word_diff(first, second)
    assert "".join(text for kind, text in pieces if kind == "removed") == removed
    assert "".join(text for kind, text in pieces if kind == "added") == added
