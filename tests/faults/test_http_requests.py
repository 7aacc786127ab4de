"""Rows H1, H8, C12 and X3: what a request may not say is refused by name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_app.config import ServeConfig
from tests import tiny
from tests.live import HELLO, MODEL, Live, assert_refused, body_of, events, running


@pytest.fixture(scope="module")
def live(models_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    model = tiny.make_model(models_root / "tiny-http", n_context=512)
    serve = ServeConfig(max_streams=4, max_waiting=6)
    with running(tmp_path_factory.mktemp("home"), model, serve, body_seconds=1.0) as server:
        yield server


GOOD = json.dumps(body_of())


@pytest.mark.parametrize(("data", "content_type", "status"), [
    (b"", "application/json", 400),
    (b"{", "application/json", 400),
    (b"[]", "application/json", 400),
    (b"null", "application/json", 400),
    (GOOD.encode() + b"x", "application/json", 400),
    (b"\xef\xbb\xbf" + GOOD.encode(), "application/json", 400),
    (GOOD.encode("utf-16"), "application/json", 400),
    (GOOD.encode("utf-16-le"), "application/json", 400),
    (b'{"model": "\xff"}', "application/json", 400),
    (b'{"model": "a", "model": "tiny"}', "application/json", 400),
    (b'{"messages": [{"role": "user", "role": "system"}]}', "application/json", 400),
    (b'{"a":' * 5000 + b"1" + b"}" * 5000, "application/json", 400),
    (b"1" * 5000, "application/json", 400),
    (GOOD.encode(), "text/plain", 415),
    (GOOD.encode(), "application/x-www-form-urlencoded", 415),
    (GOOD.encode(), "application/json; charset=latin-1", 415),
])
def test_H1_a_body_that_is_not_plain_json_is_refused(live: Live, data: bytes, content_type: str, status: int) -> None:
    assert_refused(live.post_raw(data, content_type), status)


def test_H1_a_charset_of_utf8_is_fine(live: Live) -> None:
    assert live.post_raw(GOOD.encode(), "application/json; charset=UTF-8").status_code == 200


def test_H1_duplicate_keys_are_named(live: Live) -> None:
    assert_refused(live.post_raw(b'{"seed": 1, "seed": 2}'), 400, param="seed")


NUMBERS = [-1, 10**30, 10**400, 1e300, "1", True, [1], {}, "NaN"]


LITERALS = ["NaN", "Infinity", "-Infinity", "1e400", "-1e999"]


NUMERIC = [
    "max_tokens", "max_completion_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "n",
    "top_logprobs", "top_k", "min_p", "repetition_penalty", "no_repeat_ngram", "n_beams",
]


@pytest.mark.parametrize("name", NUMERIC)
def test_X3_no_number_out_of_range_or_of_another_type_gets_through(live: Live, name: str) -> None:
    for value in NUMBERS:
        assert_refused(live.chat(**{"logprobs": True, name: value}), 400, param=name)
    for literal in LITERALS:
        assert_refused(live.post_raw(GOOD[:-1].encode() + f', "{name}": {literal}}}'.encode()), 400)


@pytest.mark.parametrize(("fields", "param"), [
    ({"messages": []}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": [1]}, "messages[0]"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": [["text"]]}]}, "messages[0].content[0]"),
    ({"messages": [{"content": "hello"}]}, "messages[0].role"),
    ({"messages": [{"role": "robot", "content": "hello"}]}, "messages[0].role"),
    ({"messages": [{"role": "tool", "content": "hello"}]}, "messages[0].role"),
    ({"messages": [*HELLO, {"role": "assistant", "content": "", "tool_calls": []}]}, "messages[1].tool_calls"),
    ({"messages": [{"role": "user", "content": "hello", "name": "me"}]}, "messages[0].name"),
    ({"model": None}, "model"),
    ({"model": 5}, "model"),
    ({"n": 9}, "n"),
    ({"n": 0}, "n"),
    ({"n": None}, "n"),
    ({"seed": 2**70}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"logprobs": 5}, "logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"logprobs": False, "top_logprobs": 1}, "top_logprobs"),
    ({"logit_bias": {"5": 1}}, "logit_bias"),
    ({"logit_bias": []}, "logit_bias"),
    ({"response_format": {"type": "json_object"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.type"),
    ({"stream": "yes"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"include_all": True}}, "stream_options.include_all"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
    ({"stop": 5}, "stop"),
    ({"stop": [5]}, "stop[0]"),
    *[({name: value}, name) for name, value in {
        "tools": [], "tool_choice": "none", "functions": [], "function_call": "auto", "parallel_tool_calls": True,
        "audio": {}, "modalities": ["text"], "prediction": {}, "reasoning_effort": "low", "service_tier": "auto",
        "store": False, "user": "me", "metadata": {}, "verbosity": "low", "web_search_options": {},
        "best_of": 2, "echo": True, "ignore_eos": True, "reply_prefix": "a", "max_new_tokens": 5,
        "guided_regex": "(a+)+",
    }.items()],
])
def test_H8_what_is_not_supported_is_refused_by_name(live: Live, fields: dict[str, Any], param: str) -> None:
    assert_refused(live.chat(**fields), 400, param=param)


HOT = {"temperature": 2, "seed": 3}
# A change that shows: a value of each field, and what is sent besides.
CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "model": ("nothing", {}), "temperature": (2, {"seed": 3}), "top_p": (0.01, HOT), "top_k": (1, HOT),
    "min_p": (1, HOT), "seed": (4, HOT), "presence_penalty": (2, {}), "frequency_penalty": (2, {}),
    "repetition_penalty": (2, {}), "no_repeat_ngram": (1, {}), "n_beams": (4, {}), "max_tokens": (3, {}),
    "stop": (["e", "a", "o", " "], {}), "n": (2, {}), "stream": (True, {}),
    "stream_options": ({"include_usage": True}, {"stream": True}), "logit_bias": ({"5": 1}, {}),
}
CHAT_CHANGES = CHANGES | {
    "messages": ([{"role": "user", "content": "one two"}], {}), "max_completion_tokens": (3, {"max_tokens": None}),
    "logprobs": (True, {}), "top_logprobs": (2, {"logprobs": True}), "response_format": ({"type": "json_object"}, {}),
}
TEXT_CHANGES = CHANGES | {"prompt": ("one two", {}), "echo": (True, {}), "logprobs": (1, {}), "best_of": (2, {})}


@pytest.mark.parametrize(("path", "changes"), [("chat/completions", CHAT_CHANGES), ("completions", TEXT_CHANGES)])
def test_H8_no_declared_field_is_ignored(live: Live, path: str, changes: dict[str, tuple[Any, dict[str, Any]]]) -> None:
    """Each field of the published schema changes the answer, and nonsense in it is refused by name."""
    schema = live.client.get("/v1/openapi.json").json()["paths"][f"/v1/{path}"]["post"]
    names = schema["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert set(names) == set(changes)
    prompt = {"messages": HELLO} if "chat" in path else {"prompt": "hello world"}
    base = {"model": MODEL, "max_tokens": 40, "temperature": 0} | prompt

    def ask(body: dict[str, Any]) -> Any:
        response = live.client.post(f"/v1/{path}", json=body)
        if response.status_code != 200:
            return response.status_code
        if body.get("stream"):
            return ["usage" in event for event in events(response.text) if event != "[DONE]"]
        return response.json()["choices"]

    for name, (value, besides) in changes.items():
        assert ask(base | besides | {name: value}) != ask(base | besides), name
        refused = live.client.post(f"/v1/{path}", json=base | {name: {"odd": [None]}})
        assert refused.status_code == 400 and refused.json()["error"]["param"].startswith(name), name


@pytest.mark.parametrize("more", [{"n": 2}, {"logprobs": True}])
def test_H8_a_beam_search_refuses_what_it_cannot_give(live: Live, more: dict[str, Any]) -> None:
    assert_refused(live.chat(n_beams=2, **more), 400, param=next(iter(more)))
    more = {name: int(value) for name, value in more.items()}
    assert_refused(live.complete(n_beams=2, **more), 400, param=next(iter(more)))


@pytest.mark.parametrize("option", [
    {"repetition_penalty": 2}, {"no_repeat_ngram": 1}, {"presence_penalty": 2}, {"frequency_penalty": 2},
])
def test_H8_a_prompt_measured_with_one_token_more_heeds_every_option(live: Live, option: dict[str, Any]) -> None:
    """One pass measures both, but only where nothing else than the model decides on the token."""
    changed = 0
    for first in range(0, 400, 40):
        # All tokens but a few: whatever comes is likely to stand there already.
        prompt = [first, *range(3, 397)]
        asked = {"prompt": prompt, "max_tokens": 1, "logprobs": 1}
        alone = live.complete(**asked, **option).json()["choices"][0]["logprobs"]["tokens"]
        measured = live.complete(**asked, **option, echo=True).json()["choices"][0]["logprobs"]["tokens"]
        assert measured[len(prompt):] == alone
        changed += alone != live.complete(**asked).json()["choices"][0]["logprobs"]["tokens"]
    assert changed or "penalty" in next(iter(option))


@pytest.mark.parametrize(("fields", "param"), [
    ({"temperature": -1}, "temperature"), ({"temperature": 1e9}, "temperature"), ({"temperature": 2.01}, "temperature"),
    ({"top_p": 0}, "top_p"), ({"top_p": -1}, "top_p"), ({"top_p": 2}, "top_p"), ({"top_k": -5}, "top_k"),
    ({"repetition_penalty": 0}, "repetition_penalty"), ({"min_p": 1.1}, "min_p"), ({"n_beams": 0}, "n_beams"),
    ({"stop": ""}, "stop"), ({"stop": ["a", ""]}, "stop"), ({"stop": ["a"] * 10_000}, "stop"),
    ({"stop": "a" * 300}, "stop"),
])
def test_C12_sampling_options_out_of_range_are_refused_by_name(live: Live, fields: dict[str, Any], param: str) -> None:
    assert_refused(live.chat(**fields), 400, param=param)
    assert_refused(live.complete(**fields), 400, param=param)
