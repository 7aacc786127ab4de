"""POST /v1/completions: continuation, and log-probabilities of given text."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import torch

from tests import tiny
from tests.live import MODEL, Live, events, running


@pytest.fixture(scope="module")
def live(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("home"), tiny_llama) as server:
        yield server


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def expected_logprobs(folder: Path, ids: list[int]) -> torch.Tensor:
    """(n_positions, vocabulary), by transformers alone."""
    with torch.inference_mode():
        return torch.log_softmax(tiny.load_plain(folder)(torch.tensor([ids])).logits[0].float(), -1)


def test_greedy_continuation_equals_transformers_generate(live: Live, tiny_llama: Path) -> None:
    ids = tiny.make_tokenizer()("the quick brown")["input_ids"]
    expected = tiny.load_plain(tiny_llama).generate(torch.tensor([ids]), do_sample=False, max_new_tokens=16)
    text = tiny.make_tokenizer().decode(expected[0][len(ids):], skip_special_tokens=True)
    assert live.complete(prompt="the quick brown", max_tokens=16).json()["choices"][0]["text"] == text.rstrip("\ufffd")


def test_echo_with_logprobs_measures_the_prompt_as_transformers_does(live: Live, tiny_llama: Path) -> None:
    ids = tiny.make_tokenizer()("the answer is positive")["input_ids"]
    expected = expected_logprobs(tiny_llama, ids)
    choice = live.complete(prompt=ids, echo=True, logprobs=2, max_tokens=1).json()["choices"][0]
    found = choice["logprobs"]
    assert len(found["tokens"]) == len(ids) + 1, "the prompt and one token"
    assert found["token_logprobs"][0] is None and found["top_logprobs"][0] is None
    for position, token in enumerate(ids[1:]):
        assert found["token_logprobs"][position + 1] == pytest.approx(float(expected[position, token]), abs=1e-4)
        best = max(found["top_logprobs"][position + 1].values())
        assert best == pytest.approx(float(expected[position].max()), abs=1e-4)
    assert found["token_logprobs"][-1] == pytest.approx(float(expected[-1].max()), abs=1e-4)
    alone = live.complete(prompt=ids, max_tokens=1, logprobs=2).json()["choices"][0]
    assert choice["text"] == "the answer is positive" + alone["text"]
    assert choice["finish_reason"] == alone["finish_reason"]
    assert found["tokens"][-1:] == alone["logprobs"]["tokens"]


def test_a_measured_likeliest_token_has_the_very_number_of_its_alternative(live: Live, tiny_llama: Path) -> None:
    """Clients compare them for equality, to learn whether the text was the greedy one."""
    prompt = tiny.make_tokenizer()("hello")["input_ids"]
    ids = tiny.load_plain(tiny_llama).generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=6)[0].tolist()
    found = live.complete(prompt=ids, echo=True, logprobs=1, max_tokens=1).json()["choices"][0]["logprobs"]
    pairs = list(zip(found["token_logprobs"], found["top_logprobs"], strict=True))[len(prompt):]
    assert len(pairs) == 7 and all(logprob == max(top.values()) for logprob, top in pairs)


def test_the_measured_token_is_there_even_where_the_text_would_end(live: Live) -> None:
    """lm-evaluation-harness cuts one token off the end, whatever it is."""
    for first in range(0, 403, 31):
        found = live.complete(prompt=[first, 5], echo=True, logprobs=1, max_tokens=1).json()["choices"][0]["logprobs"]
        assert len(found["token_logprobs"]) == 3
    for prompt in ("hello", "the quick brown", "one"):
        measured = live.complete(prompt=prompt, echo=True, logprobs=1, max_tokens=1).json()["choices"][0]["text"]
        assert measured == prompt + live.complete(prompt=prompt, max_tokens=1).json()["choices"][0]["text"]


def test_several_prompts_are_answered_in_their_order(live: Live) -> None:
    prompts = ["hello", "the quick", "one two three"]
    alone = [live.complete(prompt=prompt, max_tokens=5).json()["choices"][0]["text"] for prompt in prompts]
    together = live.complete(prompt=prompts, max_tokens=5).json()["choices"]
    assert [choice["text"] for choice in together] == alone
    assert [choice["index"] for choice in together] == [0, 1, 2]
    many = live.complete(prompt=prompts * 7, max_tokens=5).json()["choices"]
    assert [choice["text"] for choice in many] == alone * 7


def test_token_ids_and_text_are_the_same_prompt(live: Live) -> None:
    ids = tiny.make_tokenizer()("the quick")["input_ids"]
    as_text = live.complete(prompt="the quick", max_tokens=5, echo=True, logprobs=0).json()["choices"]
    assert live.complete(prompt=ids, max_tokens=5, echo=True, logprobs=0).json()["choices"] == as_text
    assert live.complete(prompt=[ids], max_tokens=5, echo=True, logprobs=0).json()["choices"] == as_text


def test_echo_with_no_tokens_gives_the_prompt_alone(live: Live) -> None:
    body = live.complete(prompt="hello", max_tokens=0, echo=True).json()
    assert body["choices"] == [{"index": 0, "text": "hello", "logprobs": None, "finish_reason": "length"}]
    assert body["usage"]["completion_tokens"] == 0
    measured = live.complete(prompt="hello", max_tokens=0, echo=True, logprobs=1).json()["choices"][0]
    assert len(measured["logprobs"]["tokens"]) == body["usage"]["prompt_tokens"]


def test_offsets_say_where_each_token_begins(live: Live) -> None:
    choice = live.complete(prompt="the quick brown fox", max_tokens=0, echo=True, logprobs=0).json()["choices"][0]
    found = choice["logprobs"]
    for token, offset in zip(found["tokens"], found["text_offset"], strict=True):
        assert choice["text"][offset:].startswith(token)


def test_tokens_inside_a_character_have_names_of_their_own(live: Live) -> None:
    found = live.complete(prompt="世", max_tokens=0, echo=True, logprobs=0).json()["choices"][0]["logprobs"]
    assert found["tokens"] == ["bytes:\\xe4", "bytes:\\xb8", "bytes:\\x96"]


@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("logprobs", [None, 2])
def test_a_stream_says_what_the_whole_answer_says(live: Live, echo: bool, logprobs: int | None) -> None:
    asked = {"prompt": ["hello", "one two"], "max_tokens": 6, "echo": echo, "logprobs": logprobs}
    whole = live.complete(**asked).json()
    *chunks, done = events(live.complete(**asked, stream=True, stream_options={"include_usage": True}).text)
    assert done == "[DONE]" and chunks[-1]["usage"] == whole["usage"]
    for choice in whole["choices"]:
        own = [c for chunk in chunks for c in chunk["choices"] if c["index"] == choice["index"]]
        assert "".join(c["text"] for c in own) == choice["text"]
        assert [c["finish_reason"] for c in own if c["finish_reason"]] == [choice["finish_reason"]]
        if logprobs is not None:
            streamed = {name: [v for c in own for v in c["logprobs"][name]] for name in choice["logprobs"]}
            assert streamed["tokens"] == choice["logprobs"]["tokens"]
            assert streamed["text_offset"] == choice["logprobs"]["text_offset"]
            # Two passes may share their batch differently: float32 rounds in the seventh digit.
            for name in ("token_logprobs", "top_logprobs"):
                for found, wanted in zip(streamed[name], choice["logprobs"][name], strict=True):
                    assert found == pytest.approx(wanted, abs=1e-5) if wanted is not None else found is None


def test_the_official_client_reads_a_completion_stream(client: openai.OpenAI) -> None:
    whole = client.completions.create(model=MODEL, prompt="hello", max_tokens=6, temperature=0)
    chunks = client.completions.create(model=MODEL, prompt="hello", max_tokens=6, temperature=0, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text


def test_sixteen_tokens_are_the_default_as_documented(live: Live) -> None:
    assert live.complete(prompt="hello", no_repeat_ngram=1).json()["usage"]["completion_tokens"] <= 16


@pytest.mark.parametrize(("body", "param"), [
    ({"prompt": ""}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": [403]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [10**30]}, "prompt"),
    ({"prompt": [True]}, "prompt"),
    ({"prompt": [1, "a"]}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": {"a": 1}}, "prompt"),
    ({"prompt": ["a"] * 129}, "prompt"),
    ({"prompt": "hello", "logprobs": 21}, "logprobs"),
    ({"prompt": "hello", "logprobs": True}, "logprobs"),
    ({"prompt": "hello", "max_tokens": 0}, "max_tokens"),
    ({"prompt": "hello", "best_of": 2}, "best_of"),
    ({"prompt": "hello", "suffix": "x"}, "suffix"),
])
def test_X3_what_a_completion_cannot_take_is_refused_by_name(live: Live, body: dict[str, object], param: str) -> None:
    response = live.complete(**body)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
