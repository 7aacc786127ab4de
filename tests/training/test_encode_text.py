"""Raw text, lengths, dates and templates of another kind, as tokens."""

import datetime

import pytest

from llm_app.data.types import Example
from llm_app.errors import UserError
from llm_app.training.encode import encode_all
from tests import tiny
from tests.training.templates import STYLES
from tests.training.test_encode import HERE, encoded, talk, tokenizer_of, trained_texts


def test_raw_text_trains_the_completion_and_the_end_of_the_text() -> None:
    tokenizer = tokenizer_of("Gemma")
    found = encoded(Example(HERE, prompt="Q: 1 + 1?\nA:", completion=" Two."), tokenizer)
    assert tokenizer.decode(found.ids) == "Q: 1 + 1?\nA: Two.<eos>"
    assert trained_texts(found, tokenizer) == [" Two.<eos>"]


def test_plain_text_begins_as_the_tokenizer_begins_texts() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny.make_tokenizer(None)
    tokenizer.bos_token = "<|im_start|>"
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A <|im_end|>", special_tokens=[("<|im_start|>", start), ("<|im_end|>", end)]
    )
    found = encoded(Example(HERE, completion="the quick fox"), tokenizer)
    assert found.ids == tokenizer("the quick fox")["input_ids"]
    assert found.ids[0] == start and found.ids[-1] == end and found.ids.count(end) == 1
    assert found.trained == [False] + [True] * (len(found.ids) - 1)


def test_without_a_template_the_model_goes_on_from_the_turns_line_by_line() -> None:
    tokenizer = tiny.make_tokenizer(None)
    found = encoded(talk("a?", "One.", "b?", "Two."), tokenizer)
    assert tokenizer.decode(found.ids) == "a?\nOne.\nb?\nTwo.<|im_end|>"
    assert trained_texts(found, tokenizer) == ["\nOne.", "\nTwo.<|im_end|>"]


def test_all_but_the_first_token_of_a_text_is_trained_if_that_is_asked_for() -> None:
    tokenizer = tokenizer_of("Llama 2")
    found = encoded(talk("a?", "One.", "b?", "Two."), tokenizer, responses_only=False)
    starts = [token == tokenizer.bos_token_id for token in found.ids]
    assert sum(starts) == 2
    assert found.trained == [not is_start for is_start in starts]


def test_a_text_that_is_too_long_loses_its_end_and_tells_how_much() -> None:
    tokenizer = tokenizer_of("ChatML")
    example = talk("a?", "the quick brown fox jumps over the lazy dog")
    whole = encoded(example, tokenizer)
    cut = encoded(example, tokenizer, max_length=len(whole.ids) - 3)
    assert (cut.ids, cut.trained, cut.n_cut) == (whole.ids[:-3], whole.trained[:-3], 3)
    assert whole.n_cut == 0


@pytest.mark.parametrize("n_words", [1, 29, 30, 31, 59, 200])
@pytest.mark.parametrize("responses_only", [True, False])
def test_plain_text_is_learned_whole_and_each_token_once(n_words: int, responses_only: bool) -> None:
    """Oracle: the windows in which lm_eval scores a text token by token, each after the token before it."""
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    tokenizer, length = tokenizer_of("ChatML"), 30
    example = Example(HERE, completion="fox " * n_words)
    first, *rest = encoded(example, tokenizer).ids
    windows = map(make_disjoint_window, get_rolling_token_windows(rest, first, length - 1, 1))
    found = encode_all(example, tokenizer, max_length=length, responses_only=responses_only)
    assert [(each.ids[:1], each.ids[1:]) for each in found] == [(before[-1:], after) for before, after in windows]
    assert all(each.trained == [False] + [True] * (len(each.ids) - 1) and each.n_cut == 0 for each in found)


def test_a_text_of_nothing_is_one_piece_without_a_target() -> None:
    tokenizer = tiny.make_tokenizer(None)
    tokenizer.eos_token = None
    (found,) = encode_all(Example(HERE), tokenizer, max_length=8, responses_only=True)
    assert (found.ids, found.trained) == ([], [])


@pytest.mark.parametrize(
    "example", [talk("a?", "the quick fox " * 40), Example(HERE, prompt="a? ", completion="the quick fox " * 40)],
    ids=["conversation", "prompt and completion"],
)
def test_an_answer_is_never_parted_from_its_question(example: Example) -> None:
    tokenizer = tokenizer_of("ChatML")
    (found,) = encode_all(example, tokenizer, max_length=32, responses_only=True)
    assert found == encoded(example, tokenizer, max_length=32) and found.n_cut > 0


def test_a_question_that_fills_the_length_leaves_nothing_to_train() -> None:
    tokenizer = tokenizer_of("ChatML")
    assert encoded(talk("the quick brown fox " * 20, "Yes."), tokenizer, max_length=16).n_trained == 0


def test_a_conversation_that_the_template_refuses_is_told_in_its_words() -> None:
    with pytest.raises(UserError, match="System role not supported"):
        encoded(talk("a?", "One.", system="Be brief."), tokenizer_of("Gemma"))


def test_the_date_in_a_template_can_be_that_of_the_run() -> None:
    tokenizer = tokenizer_of("Llama 3")
    now = datetime.datetime(2020, 2, 29)
    found = encoded(talk("a?", "One."), tokenizer, now=now)
    assert "Today: 29 Feb 2020\n" in tokenizer.decode(found.ids)


def test_another_template_in_the_same_tokenizer_counts_at_once() -> None:
    tokenizer = tiny.make_tokenizer(STYLES["ChatML"].source)
    first = encoded(talk("a?", "One."), tokenizer)
    tokenizer.chat_template = STYLES["plain"].source
    assert encoded(talk("a?", "One."), tokenizer).ids != first.ids
