"""Text in pieces is the text as a whole."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from llm_app.engine.detokenise import TextStream, TokenBytes
from tests.tiny import make_tokenizer

TOKENIZER = make_tokenizer()
SAMPLES = [
    "Hello, world.",
    "你好，世界。模型会说中文。",
    "สวัสดีชาวโลก",
    "👩‍👩‍👧‍👦 family, é, ü and 𝔘",
    "a\n\n  b\tc",
    "مرحبا بالعالم",
]


def pieces(text: str, stop: tuple[str, ...] = ()) -> list[str]:
    stream = TextStream(TOKENIZER, stop)
    out = []
    for token in TOKENIZER(text, add_special_tokens=False)["input_ids"]:
        out.append(stream.push([token]))
        if stream.is_stopped:
            return out
    return [*out, stream.finish()]


@pytest.mark.parametrize("text", SAMPLES)
def test_C11_a_character_split_over_tokens_is_never_shown_in_parts(text: str) -> None:
    given_out = pieces(text)
    assert "".join(given_out) == text
    assert not any("\ufffd" in piece for piece in given_out)


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=40))
def test_C11_the_stream_put_together_is_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


def test_C11_bytes_of_an_unfinished_character_are_dropped() -> None:
    ids = TOKENIZER("ab世", add_special_tokens=False)["input_ids"]
    stream = TextStream(TOKENIZER)
    assert "".join([stream.push(ids[:-1]), stream.finish()]) == "ab"


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    st.text(alphabet="abcd 你👍", max_size=30),
    st.lists(st.text(alphabet="abcd 你👍", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_C13_a_stop_string_is_never_shown_not_even_in_part(text: str, stops: list[str]) -> None:
    # Python's own search is the oracle: everything before the first occurrence of any stop string.
    cuts = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    want = text[: min(cuts)] if cuts else text
    got = "".join(pieces(text, tuple(stops)))
    # Tokens come one by one: the stop that is complete first ends the text, which may begin before another.
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    assert got == want or got == text[: min(ends)[1]]
    assert not any(stop in got for stop in stops)


@pytest.mark.parametrize("text", SAMPLES)
def test_token_bytes_put_together_are_the_bytes_of_the_text(text: str) -> None:
    data = TokenBytes(TOKENIZER)
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert b"".join(data(token) for token in ids).decode() == text


def test_a_continuation_keeps_its_leading_space_under_a_sentencepiece_decoder() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<unk>": 0, "\u2581Once": 1, "\u2581upon": 2, "\u2581a": 3, "\u2581time": 4}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    stream = TextStream(PreTrainedTokenizerFast(tokenizer_object=tokenizer), before=[1, 2, 3])
    assert stream.push([4]) + stream.finish() == " time"
