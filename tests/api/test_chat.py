"""POST /v1/chat/completions and /v1/models, with the official client where it can say it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch

from llm_app import chat
from llm_app.config import ModelConfig, SamplingConfig
from llm_app.messages import Message
from tests import tiny
from tests.live import HELLO, MODEL, Live, events, running


@pytest.fixture(scope="module")
def live(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("home"), tiny_llama) as server:
        yield server


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_official_client_gets_the_text_that_the_engine_gives(live: Live, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=12, temperature=0)
    sampling = SamplingConfig(temperature=0, max_new_tokens=12)
    deltas = list(chat.reply(live.host, [Message("user", "hello world")], sampling))
    assert answer.choices[0].message.content == "".join(delta.text for delta in deltas)
    assert answer.choices[0].finish_reason == deltas[-1].finish_reason
    assert answer.usage is not None and deltas[-1].usage is not None
    assert answer.usage.prompt_tokens == deltas[-1].usage.n_prompt_tokens
    assert answer.usage.completion_tokens == deltas[-1].usage.n_output_tokens


def test_H10_a_stream_has_the_role_first_one_finish_reason_and_the_usage_last(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=12, temperature=0)
    chunks = list(client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=12, temperature=0, stream=True, stream_options={"include_usage": True},
    ))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.role for chunk in chunks[1:-1]] == [None] * (len(chunks) - 2)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == whole.choices[0].message.content
    reasons = [chunk.choices[0].finish_reason for chunk in chunks[:-1]]
    assert reasons == [None] * (len(reasons) - 1) + [whole.choices[0].finish_reason]
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_H10_a_stream_ends_with_done_and_has_no_usage_unless_asked(live: Live) -> None:
    response = live.chat(stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, last = events(response.text)
    assert last == "[DONE]"
    assert all("usage" not in chunk and chunk["choices"] for chunk in chunks)


def test_n_streamed_answers_are_the_n_answers_at_once(client: openai.OpenAI) -> None:
    asked = {"model": MODEL, "messages": HELLO, "max_tokens": 8, "temperature": 1.0, "seed": 7, "n": 3}
    whole = client.chat.completions.create(**asked)
    texts = [choice.message.content for choice in whole.choices]
    assert len(set(texts)) == 3, "answer i draws with seed + i"
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**asked, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


def test_the_same_seed_gives_the_same_answer_and_another_seed_another(client: openai.OpenAI) -> None:
    def ask(seed: int) -> str | None:
        answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=16, temperature=1.0, seed=seed)
        return answer.choices[0].message.content

    assert ask(1) == ask(1)
    assert len({ask(seed) for seed in range(4)}) > 1


def test_a_stop_string_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    asked = {"model": MODEL, "messages": HELLO, "max_tokens": 24, "temperature": 0}
    text = client.chat.completions.create(**asked).choices[0].message.content or ""
    stop = text[6:9]
    answer = client.chat.completions.create(**asked, stop=[stop]).choices[0]
    assert answer.message.content == text[: text.index(stop)]
    assert answer.finish_reason == "stop"
    assert client.chat.completions.create(**asked, stop=stop).choices[0].message.content == answer.message.content


def test_logprobs_are_those_of_transformers(live: Live, client: openai.OpenAI, tiny_llama: Path) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=4, temperature=0, logprobs=True, top_logprobs=3
    )
    assert answer.choices[0].logprobs is not None
    tokens = answer.choices[0].logprobs.content
    assert tokens is not None and len(tokens) == 4
    ids = list(chat.render(live.host.loaded, [Message("user", "hello world")]).token_ids)
    model = tiny.load_plain(tiny_llama)
    for token in tokens:
        with torch.inference_mode():
            expected = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1].float(), -1)
        values, top = expected.topk(3)
        assert [other.logprob for other in token.top_logprobs] == pytest.approx(values.tolist(), abs=1e-4)
        assert token.logprob == pytest.approx(float(expected.max()), abs=1e-4)
        assert bytes(token.bytes or []).decode(errors="replace") == token.token
        ids.append(int(top[0]))


def test_logprobs_are_streamed_with_the_text(client: openai.OpenAI) -> None:
    asked = {"model": MODEL, "messages": HELLO, "max_tokens": 6, "temperature": 0, "logprobs": True, "top_logprobs": 1}
    whole = client.chat.completions.create(**asked).choices[0].logprobs
    streamed = []
    for chunk in client.chat.completions.create(**asked, stream=True):
        if chunk.choices[0].logprobs:
            streamed += chunk.choices[0].logprobs.content or []
    assert whole is not None and streamed == whole.content


def test_messages_may_be_lists_of_text_parts_and_come_from_a_developer(live: Live) -> None:
    plain = live.chat(messages=[{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello world"}])
    parts = live.chat(messages=[
        {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
        {"role": "user", "content": [{"type": "text", "text": "hello "}, {"type": "text", "text": "world"}]},
    ])
    assert parts.json()["choices"] == plain.json()["choices"]


def test_what_no_parameter_says_is_what_neutral_values_say(live: Live) -> None:
    neutral = live.chat(
        stop=None, seed=None, logit_bias={}, response_format={"type": "text"}, n=1, stream=False, top_k=0, n_beams=1,
        min_p=0, repetition_penalty=1, no_repeat_ngram=0, presence_penalty=0, frequency_penalty=0.0, logprobs=False,
    )
    assert neutral.status_code == 200, neutral.text
    assert neutral.json()["choices"] == live.chat().json()["choices"]


def test_each_extension_reaches_the_engine(live: Live) -> None:
    base = live.chat(max_tokens=40).json()["choices"]
    assert live.chat(max_tokens=40, no_repeat_ngram=1).json()["choices"] != base
    assert live.chat(max_tokens=40, repetition_penalty=2).json()["choices"] != base
    hot = {"temperature": 2, "seed": 3, "max_tokens": 24}
    assert live.chat(**hot, top_k=1).json()["choices"] != live.chat(**hot, top_k=0).json()["choices"]
    assert live.chat(**hot, min_p=1).json()["choices"] != live.chat(**hot, min_p=0, top_k=0).json()["choices"]
    assert live.chat(max_tokens=40, n_beams=4).json()["choices"] != base


def test_what_is_not_sent_is_as_openai_has_it(live: Live) -> None:
    """The page cuts the tail off; a client that says nothing, or temperature 1, gets the whole distribution."""
    asked: dict[str, Any] = {"temperature": None, "seed": 3, "max_tokens": 24}
    plain = live.chat(**asked).json()["choices"]
    assert live.chat(**asked | {"temperature": 1, "top_p": 1, "top_k": 0}).json()["choices"] == plain
    assert live.chat(**asked | {"temperature": 1, "top_p": 1}).json()["choices"] == plain
    for page in ({"temperature": 0.7}, {"top_p": 0.5}, {"top_k": 20}):
        assert live.chat(**asked | page).json()["choices"] != plain, page


def test_X6_a_model_and_an_adapter_given_by_path_show_the_last_part_of_it(
    tiny_llama: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    with running(tmp_path / "home", None) as live:
        for _ in live.host.load(ModelConfig(str(tiny_llama), adapter=str(tiny_adapter), precision="fp32")):
            pass
        ids = [tiny_llama.name, f"{tiny_llama.name}+{tiny_adapter.name}"]
        answers = [live.client.get("/v1/models"), live.client.get("/health/ready")]
        for name in ids:
            answers.append(live.client.get(f"/v1/models/{name}"))
            answers += [live.chat(model=name), live.complete(model=name), live.chat(model=name, stream=True)]
        assert [model["id"] for model in answers[0].json()["data"]] == ids
        for answer in answers:
            assert answer.status_code == 200 and str(tiny_llama.parent) not in answer.text, answer.text
            assert str(tiny_adapter.parent) not in answer.text
        for _ in live.host.load(live.host.loaded.config):
            pass
        assert live.client.get("/v1/models").json()["data"][0]["id"] == tiny_llama.name, "loaded once more"


def test_models_lists_the_base_and_each_attached_adapter_and_answers_with_them(
    tiny_llama: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    with running(tmp_path / "home", tiny_llama) as live:
        client = openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0)
        assert [model.id for model in client.models.list()] == [MODEL]
        base = live.chat(max_tokens=16).json()
        (live.services.settings.adapters / "tuned").symlink_to(tiny_adapter)
        live.host.attach("tuned")
        assert [model.id for model in client.models.list()] == [MODEL, f"{MODEL}+tuned"]
        assert client.models.retrieve(f"{MODEL}+tuned").id == f"{MODEL}+tuned"
        tuned = live.chat(model=f"{MODEL}+tuned", max_tokens=16).json()
        assert tuned["choices"] != base["choices"]
        assert tuned["system_fingerprint"] != base["system_fingerprint"]
        assert live.chat(max_tokens=16).json()["choices"] == base["choices"], "the base stays reachable"
        live.host.detach("tuned")
        assert live.chat(model=f"{MODEL}+tuned").status_code == 404


def test_C12_temperature_zero_is_greedy(live: Live) -> None:
    answers = {live.chat(temperature=0, seed=seed, max_tokens=16).json()["choices"][0]["message"]["content"]
               for seed in range(3)}
    assert len(answers) == 1


def test_the_schema_of_each_route_is_published(live: Live) -> None:
    paths = live.client.get("/v1/openapi.json").json()["paths"]
    for path in ("/v1/chat/completions", "/v1/completions"):
        schema = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert schema["additionalProperties"] is False
        assert schema["properties"]["temperature"]["anyOf"][0] == {"maximum": 2.0, "minimum": 0.0, "type": "number"}


def test_no_number_in_an_answer_is_nan(live: Live) -> None:
    body = live.complete(prompt="hello", echo=True, logprobs=2, max_tokens=1).text
    assert "NaN" not in body and "Infinity" not in body
