"""How samples are shown: as they are, escaped, with signs for what cannot be seen, a page at a time."""

import re

import pytest

from eval.compare import Answered
from llm_app.web.benchmark import samples_view
from llm_app.web.benchmark.results_markup import FOLD_AFTER, MAX_TEXT, passage, written
from llm_app.web.benchmark.samples_controls import PAGE, cut, wanted
from llm_app.web.benchmark.samples_line import difference, questions
from llm_app.web.failures import SentenceError
from tests.browser.test_payloads import PAYLOADS
from tests.eval.reported_runs import HOSTILE, chosen

KINDS = ("all", "right")
TAGS = {
    "b", "details", "div", "em", "h5", "li", "p", "pre", "span", "summary", "table", "tbody", "td", "th", "thead", "tr",
    "ul", "ins", "del",
}  # fmt: skip


def sample(text: str) -> Answered:
    return Answered(3, "d", {}, text, ((text, text),), (text,), {"exact_match,none": 0.0})


@pytest.mark.parametrize("text", [*HOSTILE, *PAYLOADS], ids=lambda text: repr(text)[:24])
def test_D1_D2_a_text_of_a_model_is_text_wherever_it_stands(text: str) -> None:
    shown = samples_view.sample_list([(sample(text), "wrong")], {3: {"none": [text]}}, shows_spaces=True)
    shown += samples_view.change_list(
        [(sample(text), sample(text + "!"), "broken")], "exact_match,none", (text, text), shows_spaces=False
    )
    assert {tag.lower() for tag in re.findall(r"</?([a-zA-Z]\w*)", shown)} <= TAGS
    assert not re.search(r"[{}$`]|[\x00-\x08\x0b-\x1f\u202e\ud800-\udfff]", shown)


def test_what_cannot_be_seen_gets_a_sign() -> None:
    shown = written("a\x1b[2Jb\x00\u202ec\ud800")
    assert re.findall(r">(.*?)</span>", shown) == ["␛", "␀", "⟨U+202E⟩", "⟨U+D800⟩"]
    assert 'title="RIGHT-TO-LEFT OVERRIDE"' in shown


def test_white_space_is_marked_on_demand_and_stays_white_space() -> None:
    text = "a  b\tc\n\u3000"
    assert written(text) == text
    assert re.sub(r"<.*?>", "", written(text, shows_spaces=True)) == "a··b→\tc⏎\n°"


@pytest.mark.parametrize(("n", "n_shown"), [(FOLD_AFTER, FOLD_AFTER), (5_000, 5_000), (300_000, MAX_TEXT)])
def test_a_long_text_is_folded_and_a_book_is_cut_with_a_word(n: int, n_shown: int) -> None:
    shown = passage("x" * n)
    assert shown.count("x") - shown.count("exported") == n_shown
    assert ("<details" in shown) == (n > FOLD_AFTER)
    assert (f"{n - MAX_TEXT:,} more are left out" in shown) == (n > MAX_TEXT)


def test_choices_are_shown_with_log_probability_share_and_target() -> None:
    shown = samples_view.sample_list([(chosen(0, [-1.0, -2.0], 1), "wrong")], {}, shows_spaces=False)
    # exp(-1) / (exp(-1) + exp(-2)) = 0.731
    for part in ("choice 0", "−1.0", "0.731", "most likely", "choice 1", "−2.0", "0.269", "target"):
        assert part in shown, part


def test_the_words_that_changed_are_marked_in_both_directions() -> None:
    shown = samples_view.change_list(
        [(sample("the red fox"), sample("the blue fox"), "broken")], "exact_match,none", ("a", "b"), shows_spaces=False
    )
    assert "<del>red</del>" in shown and "<ins>blue</ins>" in shown and "<span>the </span>" in shown


def asked(*prompts: str) -> list[Answered]:
    return [Answered(n, "d", {}, "", ((prompt, ""),), ("",), {}) for n, prompt in enumerate(prompts)]


def test_a_line_begins_where_the_questions_of_a_page_begin_to_differ() -> None:
    shots, end = "Example: one\nAnswer: 1\n\n" * 30, " Choose.\nAnswer:"
    first, second = questions(asked(f"{shots}Say what an apple is.{end}", f"{shots}Say what an ape is.{end}"))
    assert (first, second) == ("…apple is. Choose. Answer:", "…ape is. Choose. Answer:")


def test_after_examples_of_its_own_the_end_of_a_question_is_shown() -> None:
    lines = questions(asked(*(f"{name} example " * 100 + f"What is {name}?\nAnswer:" for name in "ab")))
    assert [line[-11:] for line in lines] == ["What is a?…", "What is b?…"]


@pytest.mark.parametrize(("before", "after", "shown"), [
    ("It was the red fox.", "It was the blue fox.", ("…red fox.", "…blue fox.")), ("yes", "no", ("yes", "no")),
    ("a  b", "a b", None), ("same " * 90 + "x", "same " * 90 + "y", ("…x", "…y")), ("", "words", ("", "words")),
])  # fmt: skip
def test_changed_answers_are_shown_from_their_first_difference(
    before: str, after: str, shown: tuple[str, str] | None
) -> None:
    assert difference(before, after) == shown


@pytest.mark.parametrize(("n", "place", "page"), [
    (45, 0, (0, 20)), (45, 40, (40, 45)), (45, 90, (40, 45)), (0, 7, (0, 0))
])  # fmt: skip
def test_a_page_holds_twenty_samples_and_the_last_one_the_rest(n: int, place: int, page: tuple[int, int]) -> None:
    shown, start = cut(range(n), place)
    assert (start, start + len(shown)) == page and len(shown) <= PAGE


@pytest.mark.parametrize("values", [
    ["other", "all", "", False, 0], ["quiz", "nothing", "", False, 0], ["quiz", {"a": 1}, "", False, 0],
    ["quiz", "all", 7, False, 0], ["quiz", "all", "x" * 201, False, 0], ["quiz", "all", "", "yes", 0],
    [["quiz"], "all", "", False, 0],
])  # fmt: skip
def test_W6_controls_refuse_what_no_form_would_send(values: list[object]) -> None:
    with pytest.raises(SentenceError):
        wanted(values, ["quiz"], KINDS)


@pytest.mark.parametrize("place", [-5, True, "3", None, 2.5])
def test_W6_a_place_that_is_none_is_the_beginning(place: object) -> None:
    assert wanted(["quiz", "all", " a ", True, place], ["quiz"], KINDS).place == 0
