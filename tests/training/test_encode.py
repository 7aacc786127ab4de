"""What is trained of an example: the answers and what ends them, whatever the template.

Oracles: the trained tokens decoded, against the answers that went in; transformers' own rendering and assistant mask.
"""

import json
from functools import cache
from itertools import groupby
from typing import Any

import pytest

from llm_app.data.types import Example, Origin, Turn
from llm_app.errors import UserError
from llm_app.training.encode import Encoded, encode, hides_tools, spans, told_of_masked
from tests import tiny
from tests.training.templates import STYLES, Style

HERE = Origin("test", 1)
REASONED = "<think>\nA hard one.\n</think>\n\nFour."
TOOLS = ({"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}},)


@cache
def tokenizer_of(name: str) -> Any:
    """A byte-level tokenizer with the style's template and its own tokens."""
    from tokenizers import AddedToken

    style = STYLES[name]
    tokenizer = tiny.make_tokenizer(style.source)
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in style.tokens])
    tokenizer.bos_token, tokenizer.eos_token = style.bos, style.eos
    return tokenizer


def talk(*contents: str, system: str | None = None, untrained: tuple[int, ...] = ()) -> Example:
    """Questions and answers in turn; `untrained`: numbers of answers."""
    turns = [Turn("system", system)] if system is not None else []
    for number, content in enumerate(contents):
        is_answer = number % 2 == 1
        turns.append(Turn("assistant" if is_answer else "user", content, is_answer and number // 2 not in untrained))
    return Example(HERE, tuple(turns))


def encoded(example: Example, tokenizer: Any, **options: Any) -> Encoded:
    return encode(example, tokenizer, **{"max_length": 10_000, "responses_only": True} | options)


def trained_texts(found: Encoded, tokenizer: Any) -> list[str]:
    """Each run of trained tokens as text."""
    pairs = groupby(zip(found.ids, found.trained, strict=True), key=lambda pair: pair[1])
    return [tokenizer.decode([token for token, _ in run]) for is_trained, run in pairs if is_trained]


def asked(example: Example, number: int, tokenizer: Any) -> list[int]:
    """What the chat gives the model before this turn, as transformers renders and tokenises it."""
    messages = [{"role": turn.role, "content": turn.content} for turn in example.turns[:number]]
    made = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
    return list(made["input_ids"])


def expected(style: Style, *answers: str) -> list[str]:
    inner = style.end if style.inner_end is None else style.inner_end
    return [style.lead + answer + (style.end if i == len(answers) - 1 else inner) for i, answer in enumerate(answers)]


@pytest.mark.parametrize("name", [name for name in STYLES if name not in ("DeepSeek", "Qwen")])
def test_the_answers_with_their_end_are_trained_and_nothing_else(name: str) -> None:
    style, tokenizer = STYLES[name], tokenizer_of(name)
    system = "Be brief." if style.takes_system else None
    example = talk("One and one?", "Two, 两个.", "And two?", "Four!", system=system)
    assert trained_texts(encoded(example, tokenizer), tokenizer) == expected(style, "Two, 两个.", "Four!")


@pytest.mark.parametrize("name", STYLES)
def test_before_the_last_answer_stands_what_the_chat_gives_the_model(name: str) -> None:
    style, tokenizer = STYLES[name], tokenizer_of(name)
    for system in (None, "Be brief."):
        if system is None or style.takes_system:
            example = talk("  One and one? ", "Two.", "And two?", "Four!", system=system)
            prompt = asked(example, len(example.turns) - 1, tokenizer)
            found = encoded(example, tokenizer)
            assert found.ids[: len(prompt)] == prompt
            assert not any(found.trained[len(prompt) - 1 : len(prompt)])
            assert all(found.trained[len(prompt) :])


@pytest.mark.parametrize("name", [name for name in STYLES if name != "DeepSeek"])
def test_before_the_first_answer_stands_what_the_chat_gives_the_model(name: str) -> None:
    tokenizer = tokenizer_of(name)
    example = talk("One and one?", "Two.", "And two?", "Four!")
    prompt = asked(example, 1, tokenizer)
    found = encoded(example, tokenizer)
    assert found.ids[: len(prompt)] == prompt
    assert found.trained.index(True) == len(prompt)


def test_the_reasoning_that_a_template_drops_from_earlier_answers_is_not_trained_there() -> None:
    tokenizer = tokenizer_of("Qwen")
    example = talk("2 + 2?", REASONED, "Sure?", REASONED)
    assert trained_texts(encoded(example, tokenizer), tokenizer) == ["Four.<|im_end|>", f"{REASONED}<|im_end|>"]


@pytest.mark.parametrize(
    ("answer", "trained"),
    [(REASONED, "A hard one.\n</think>\n\nFour.</s>"), ("Four.", "\n</think>\n\nFour.</s>")],
    ids=["with reasoning", "without"],
)
def test_where_the_generation_prompt_begins_the_reasoning_the_last_answer_goes_on_from_there(
    answer: str, trained: str
) -> None:
    tokenizer = tokenizer_of("DeepSeek")
    found = encoded(talk("1 + 1?", "Two.", "2 + 2?", answer), tokenizer)
    assert trained_texts(found, tokenizer) == [trained]
    assert tokenizer.decode(found.ids).endswith("<|User|>2 + 2?<|Assistant|><think>\n" + trained)


def test_earlier_answers_that_the_chat_would_ask_for_in_other_words_are_counted_and_told() -> None:
    example = talk("1 + 1?", "Two.", "2 + 2?", "Four.", "3 + 3?", "Six.", untrained=(0,))
    masked, whole = (encoded(example, tokenizer_of(name)) for name in ("DeepSeek", "ChatML"))
    assert (masked.n_masked, whole.n_masked) == (1, 0)
    assert [str(note)[:9] for note in told_of_masked([masked, whole, masked])] == ["2 answers"]
    assert not list(told_of_masked([whole]))
    assert encoded(example, tokenizer_of("DeepSeek"), responses_only=False).n_masked == 0


@pytest.mark.parametrize("name", ["ChatML", "Llama 2", "Mistral", "plain", "marked"])
def test_an_answer_that_is_not_to_be_trained_is_context(name: str) -> None:
    style, tokenizer = STYLES[name], tokenizer_of(name)
    first = encoded(talk("a?", "One.", "b?", "Two.", untrained=(1,)), tokenizer)
    last = encoded(talk("a?", "One.", "b?", "Two.", untrained=(0,)), tokenizer)
    assert trained_texts(first, tokenizer) == expected(style, "One.", "Two.")[:1]
    assert trained_texts(last, tokenizer) == expected(style, "One.", "Two.")[1:]
    assert "One." in tokenizer.decode(last.ids)


def test_nothing_follows_the_last_trained_answer() -> None:
    tokenizer = tokenizer_of("Phi")
    found = encoded(talk("a?", "One.", "b?"), tokenizer)
    assert tokenizer.decode(found.ids) == "<|user|>\na?<|end|>\n<|assistant|>\nOne.<|end|>"


def test_an_answer_may_hold_the_token_that_ends_turns() -> None:
    tokenizer = tokenizer_of("ChatML")
    answer = "It writes <|im_end|> and goes on."
    found = encoded(talk("How?", answer, "Then?", "No more."), tokenizer)
    assert trained_texts(found, tokenizer) == [answer + "<|im_end|>", "No more.<|im_end|>"]


@pytest.mark.parametrize("name", ["Llama 2", "Llama 3", "Gemma"])
def test_space_that_a_template_takes_off_an_answer_is_not_trained(name: str) -> None:
    style, tokenizer = STYLES[name], tokenizer_of(name)
    found = encoded(talk("a?", "\n One. \n", "b?", " Two.\t"), tokenizer)
    assert trained_texts(found, tokenizer) == expected(style, "One.", "Two.")


def test_a_call_of_a_tool_is_trained_and_its_result_is_not() -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    turns = (
        Turn("user", "1 + 1?"), Turn("assistant", "", True, {"tool_calls": [call]}), Turn("tool", "2"),
        Turn("assistant", "Two.", True),
    )
    for name, lead in (("Qwen", "<think>\n\n</think>\n\n"), ("Mistral", " ")):
        tokenizer = tokenizer_of(name)
        first, second = trained_texts(encoded(Example(HERE, turns, tools=TOOLS), tokenizer), tokenizer)
        assert '"name": "add", "arguments": {"a": 1}' in first
        assert first.endswith(STYLES[name].end)
        assert "[TOOL_RESULTS]" not in first
        assert second == f"{lead}Two.{STYLES[name].end}"


def test_a_template_without_a_place_for_calls_refuses_them_instead_of_teaching_silence() -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    example = Example(HERE, (Turn("user", "1 + 1?"), Turn("assistant", "", True, {"tool_calls": [call]})))
    with pytest.raises(UserError, match="no place for an answer that calls a tool"):
        encoded(example, tokenizer_of("ChatML"))


def test_which_templates_leave_tools_out_is_known() -> None:
    assert [name for name in STYLES if not hides_tools(tokenizer_of(name))] == ["Mistral", "Qwen"]


def test_the_tools_stand_in_the_prompt_as_transformers_writes_them() -> None:
    tokenizer = tokenizer_of("Qwen")
    example = Example(HERE, (Turn("user", "1 + 1?"), Turn("assistant", "Two.", True)), tools=TOOLS)
    messages = [{"role": "user", "content": "1 + 1?"}]
    prompt = tokenizer.apply_chat_template(messages, tools=list(TOOLS), add_generation_prompt=True)["input_ids"]
    assert encoded(example, tokenizer).ids[: len(prompt)] == list(prompt)


def test_the_mask_is_that_of_transformers_where_the_template_marks_the_answers() -> None:
    tokenizer = tokenizer_of("marked")
    example = talk("a?", "One.", "b?", "Two 两.", system="Be brief.")
    messages = [{"role": turn.role, "content": turn.content} for turn in example.turns]
    theirs = tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    found = encoded(example, tokenizer, responses_only=True)
    n = len(found.ids)
    assert found.ids == theirs["input_ids"][:n]
    assert [int(flag) for flag in found.trained] == theirs["assistant_masks"][:n]
    assert sum(theirs["assistant_masks"][n:]) == 0


def test_what_a_template_leaves_out_of_its_marks_is_not_trained_but_the_end_is() -> None:
    source = STYLES["marked"].source.replace(
        "{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}",
        "{{ 'Answer: ' }}{% generation %}{{ message.content }}{% endgeneration %}{{ '<|im_end|>' }}",
    )
    tokenizer = tiny.make_tokenizer(source)
    assert trained_texts(encoded(talk("a?", "One."), tokenizer), tokenizer) == ["One.<|im_end|>"]


def test_a_generation_prompt_that_ends_in_a_space_keeps_its_tokens() -> None:
    tokenizer = tokenizer_of("Vicuna")
    example = talk("what is the answer?", "the quick brown fox")
    found = encoded(example, tokenizer)
    joined = tokenizer("USER: what is the answer? ASSISTANT: the quick brown fox</s>", add_special_tokens=False)
    assert found.ids != joined["input_ids"]  # which hides the space in the answer's first token
    assert tokenizer.decode(found.ids) == tokenizer.decode(joined["input_ids"])


def sentencepiece_like() -> Any:
    """A tokenizer that puts a space before every text, and falls back to bytes, as Llama 2's."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    # Words are learned apart; what is learned is then used on whole texts, as there.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(["[INST] what is the answer [/INST] the quick brown fox"] * 3, trainer)
    description = json.loads(tokenizer.to_str())
    description |= {"pre_tokenizer": None, "added_tokens": []}  # as added tokens, the bytes would be found in texts
    made = Tokenizer.from_str(json.dumps(description))
    made.add_special_tokens([AddedToken(token, normalized=False) for token in ("<s>", "</s>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", chat_template=STYLES["Llama 2"].source,
        clean_up_tokenization_spaces=False,
    )


def test_a_tokenizer_that_puts_a_space_before_texts_gives_the_tokens_of_the_whole_text() -> None:
    tokenizer = sentencepiece_like()
    example = talk("what is the answer", "the quick brown fox", "what", "the answer 两")
    whole = "<s>[INST] what is the answer [/INST] the quick brown fox </s><s>[INST] what [/INST] the answer 两 </s>"
    found = encoded(example, tokenizer)
    assert found.ids == tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert "".join(text for text, is_trained in spans(found, tokenizer) if is_trained) == (
        " the quick brown fox </s> the answer 两 </s>"
    )


@pytest.mark.parametrize("name", STYLES)
def test_the_spans_are_the_whole_text_in_order(name: str) -> None:
    tokenizer = tokenizer_of(name)
    found = encoded(talk("a?", "One 两.", "b?", "Two."), tokenizer)
    runs = spans(found, tokenizer)
    assert "".join(text for text, _ in runs) == tokenizer.decode(found.ids)
    assert [text for text, is_trained in runs if is_trained] == trained_texts(found, tokenizer)
