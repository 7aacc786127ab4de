"""Rows H of the faults: what a client can send, and how it can leave."""

import asyncio
import io
import json
import logging
import math
import os
import resource
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from llm_app.api.access import RateLimit, client_address
from llm_app.api.edge import Edge
from llm_app.config import ServeConfig
from llm_app.logs import OneLine
from tests import tiny
from tests.live import HELLO, MODEL, Live, events, failing_after, running, slowed, wait_for


@pytest.fixture(scope="module")
def live(models_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    model = tiny.make_model(models_root / "tiny-http", n_context=512)
    serve = ServeConfig(max_streams=4, max_waiting=6)
    with running(tmp_path_factory.mktemp("home"), model, serve, body_seconds=1.0) as server:
        yield server


def assert_refused(response: httpx.Response, status: int, param: str | None = None, code: str | None = None) -> None:
    """The error contract: OpenAI's shape, a request id, the parameter by name."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert len(response.headers["x-request-id"]) == 32
    if param is not None:
        assert error["param"] == param, error
    if code is not None:
        assert error["code"] == code, error
    if status in (429, 503):
        assert int(response.headers["retry-after"]) >= 1


def body_of(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": HELLO, "max_tokens": 4} | fields


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


def test_H3_a_body_that_does_not_come_is_given_up_while_others_are_served(live: Live) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as slow:
        slow.sendall(head + b'{"mod')
        assert live.chat().status_code == 200
        answer = slow.recv(65536)
    assert b" 408 " in answer.splitlines()[0] and b'"code":"request_timeout"' in answer


def test_H3_a_body_that_drips_is_given_up_too(live: Live) -> None:
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as slow:
        slow.sendall(head)
        slow.settimeout(0.2)
        answer = b""
        while not answer and time.monotonic() - started < 8:
            slow.sendall(b"1\r\n \r\n")
            try:
                answer = slow.recv(65536)
            except TimeoutError:
                continue
    assert b" 408 " in answer.splitlines()[0]
    assert time.monotonic() - started < 4


def test_H3_five_hundred_idle_connections_keep_nobody_out(live: Live) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    before = len(os.listdir("/proc/self/fd"))
    idle = [socket.create_connection(("127.0.0.1", live.port), timeout=10) for _ in range(500)]
    try:
        assert live.client.get("/health/live").status_code == 200
        assert live.chat().status_code == 200
    finally:
        for connection in idle:
            connection.close()
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= before + 20, 5)


def test_H5_every_route_and_method_without_the_key_is_refused_but_health(tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-one\n")
    with running(tmp_path / "home", tiny_llama, ServeConfig(api_key_file=str(tmp_path / "key"))) as live:
        paths = {getattr(route, "path", "").replace("{rest:path}", "x").replace("{model_id:path}", MODEL)
                 for route in live.app.routes}
        assert {"/v1/models", "/v1/chat/completions", "/health/live"} <= paths
        for path in paths:
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "ODD"):
                status = live.client.request(method, path).status_code
                assert (status == 401) == path.startswith("/v1"), (method, path, status)
        for authorization in ("Bearer sk-two", "Bearer", "sk-one", "Basic sk-one", "Bearer sk-onex", "Bearer \xff"):
            headers = {"Authorization": authorization.encode("latin-1")}
            assert_refused(live.client.get("/v1/models", headers=headers), 401, code="invalid_api_key")  # type: ignore[arg-type]
        assert live.client.get("/v1/models", headers={"Authorization": "Bearer sk-one"}).status_code == 200


def test_H6_a_model_that_is_not_loaded_is_404_and_no_model_is_503(live: Live, tmp_path: Path) -> None:
    for name in ("nothing", "tiny+nothing", "", "TINY", "tiny+"):
        assert_refused(live.chat(model=name), 404, param="model", code="model_not_found")
    assert_refused(live.client.get("/v1/models/nothing"), 404, code="model_not_found")
    with running(tmp_path / "home", None) as empty:
        assert_refused(empty.chat(), 503, code="model_loading")
        assert_refused(empty.complete(), 503, code="model_loading")
        assert_refused(empty.client.get("/health/ready"), 503, code="model_loading")
        assert empty.client.get("/health/live").status_code == 200
        assert empty.client.get("/v1/models").json()["data"] == []


def test_H6_while_a_model_loads_the_answer_is_503_with_the_progress(tiny_llama: Path, tmp_path: Path) -> None:
    from llm_app.config import ModelConfig

    with running(tmp_path / "home", None) as live:
        loading = live.host.load(ModelConfig(model=str(tiny_llama), precision="fp32"))
        next(loading)
        assert_refused(live.chat(), 503, code="model_loading")
        ready = live.client.get("/health/ready")
        assert_refused(ready, 503, code="model_loading")
        assert "%" in ready.json()["error"]["message"]
        for _ in loading:
            pass
        assert live.client.get("/health/ready").json()["status"] == "ready"


def test_H7_a_full_queue_refuses_at_once_and_those_inside_finish(live: Live) -> None:
    with slowed(live.host, 0.02):
        inside = [live.open_stream(max_tokens=60, seed=i) for i in range(10)]
        wait_for(lambda: live.host.status().n_running + live.host.status().n_waiting == 10, 5)
        seconds = []
        for _ in range(7):
            started = time.perf_counter()
            assert_refused(live.chat(), 429, code="queue_full")
            seconds.append(time.perf_counter() - started)
        assert statistics.median(seconds) < 0.1
    for connection in inside:
        text = read_to_end(connection)
        assert "[DONE]" in text and text.count('"finish_reason":"') == 1


def test_H7_of_two_hundred_at_once_each_is_answered_or_told_to_wait(live: Live) -> None:
    async def ask_all() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=live.url, timeout=60, limits=limits) as client:
            asked = [client.post("/v1/chat/completions", json=body_of(max_tokens=16)) for _ in range(200)]
            return await asyncio.gather(*asked)

    with slowed(live.host, 0.01):
        responses = asyncio.run(ask_all())
    statuses = [response.status_code for response in responses]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 10
    for response in responses:
        if response.status_code == 429:
            assert_refused(response, 429, code="queue_full")
    live.wait_until_idle()
    assert live.chat().status_code == 200


NUMBERS = [-1, 10**30, 10**400, 1e300, "1", True, [1], {}, "NaN"]
LITERALS = ["NaN", "Infinity", "-Infinity", "1e400", "-1e999"]
NUMERIC = ["max_tokens", "max_completion_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed",
           "n", "top_logprobs", "top_k", "min_p", "repetition_penalty", "no_repeat_ngram", "n_beams"]


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
        "best_of": 2, "echo": True, "ignore_eos": True, "reply_prefix": "a", "max_new_tokens": 5, "guided_regex": "(a+)+",
    }.items()],
])
def test_H8_what_is_not_supported_is_refused_by_name(live: Live, fields: dict[str, Any], param: str) -> None:
    assert_refused(live.chat(**fields), 400, param=param)


def test_H8_no_declared_field_is_ignored(live: Live) -> None:
    """Each field of the published schema is either checked (nonsense is refused) or not there at all."""
    for path in ("/v1/chat/completions", "/v1/completions"):
        schema = live.client.get("/v1/openapi.json").json()["paths"][path]["post"]
        names = schema["requestBody"]["content"]["application/json"]["schema"]["properties"]
        for name in names:
            body = {"model": MODEL} | ({"messages": HELLO} if "chat" in path else {"prompt": "a"}) | {name: {"odd": [None]}}
            response = live.client.post(path, json=body)
            assert response.status_code == 400 and response.json()["error"]["param"].startswith(name), (path, name)


def test_H9_an_error_before_the_first_token_has_its_status(live: Live) -> None:
    head = live.host.loaded.model.get_output_embeddings().weight
    kept = head.detach().clone()
    with torch.no_grad():
        head.fill_(math.nan)
    try:
        for stream in (False, True):
            response = live.chat(stream=stream)
            assert_refused(response, 500, code="internal_error")
            assert "float32" in response.json()["error"]["message"] or "invalid numbers" in response.text
    finally:
        with torch.no_grad():
            head.copy_(kept)
    live.wait_until_idle()
    assert live.chat().status_code == 200


def test_H9_an_error_after_the_first_token_is_an_event_and_nothing_follows(live: Live) -> None:
    with failing_after(live.host, 4, RuntimeError("boom at 0xdeadbeef in /home/somebody")):
        response = live.chat(stream=True, max_tokens=40)
    assert response.status_code == 200
    *chunks, last = events(response.text)
    assert set(last) == {"error"} and last["error"]["code"] == "internal_error"
    assert "0xdeadbeef" not in response.text and "/home" not in response.text
    assert all(choice["finish_reason"] is None for chunk in chunks for choice in chunk["choices"])
    assert "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    live.wait_until_idle()
    assert live.chat().status_code == 200


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/v1/chat/completions", 405),
    ("HEAD", "/v1/chat/completions", 405),
    ("OPTIONS", "/v1/chat/completions", 405),
    ("TRACE", "/v1/chat/completions", 405),
    ("DELETE", "/v1/models", 405),
    ("ODD", "/health/live", 405),
    ("POST", "/health/ready", 405),
    ("GET", "/v1", 404),
    ("GET", "/v1/", 404),
    ("GET", "/v1/embeddings", 404),
    ("POST", "/v1/chat/completions/", 404),
    ("GET", "/health", 404),
    ("GET", "/health/x", 404),
    ("GET", "/nothing", 404),
    ("GET", "/docs", 404),
    ("GET", "//v1/models", 400),
    ("GET", "/v1//models", 400),
    ("GET", "/v1/models%00", 400),
    ("GET", "/v1/models/a%0d%0ab", 400),
    ("GET", "/" + "a" * 100_000, 414),
    ("GET", "/v1/models?" + "a" * 100_000, 414),
])
def test_H11_odd_methods_and_paths_get_a_quick_answer_in_json(live: Live, method: str, path: str, status: int) -> None:
    started = time.monotonic()
    answer = live.raw(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert time.monotonic() - started < 2
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status, head
    assert b"application/json" in head.lower()
    assert method == "HEAD" or json.loads(body)["error"]["message"]
    assert status != 405 or b"allow:" in head.lower()


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "[::2]", "localhost@evil", "0.0.0.0"])
@pytest.mark.parametrize("path", ["/v1/models", "/health/live", "/nothing"])
def test_H12_another_host_is_refused_on_every_route(live: Live, host: str, path: str) -> None:
    assert_refused(live.client.get(path, headers={"Host": host}), 400, param="Host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:7860"])
def test_H12_this_machine_by_any_name_is_answered(live: Live, host: str) -> None:
    assert live.client.get("/health/live", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://"])
def test_H12_pages_of_other_sites_get_neither_an_answer_nor_cors_headers(live: Live, origin: str) -> None:
    response = live.client.post("/v1/chat/completions", json=body_of(), headers={"Origin": origin})
    assert_refused(response, 400, param="Origin")
    preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    assert_refused(live.client.options("/v1/chat/completions", headers=preflight), 400)
    for answer in (response, live.client.get("/v1/models", headers={"Origin": origin})):
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_H12_our_own_page_may_post(live: Live) -> None:
    response = live.client.post("/v1/chat/completions", json=body_of(), headers={"Origin": live.url})
    assert response.status_code == 200


def test_H17_no_secret_leaves_the_server(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, token = "sk-CANARY-5f2c", "hf_CANARY91"
    monkeypatch.setenv("HF_TOKEN", token)
    (tmp_path / "key").write_text(key + "\n")
    seen = io.StringIO()
    handler = logging.StreamHandler(seen)
    handler.setFormatter(OneLine())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with running(tmp_path / "home", tiny_llama, ServeConfig(api_key_file=str(tmp_path / "key"))) as live:
            live.client.headers["Authorization"] = f"Bearer {key}"
            answers = [
                live.chat(), live.chat(stream=True), live.chat(model=5), live.complete(echo=True, logprobs=1),
                live.post_raw(b"{"), live.client.get("/v1/nothing"), live.client.get("/v1/models"),
                live.client.get("/v1/openapi.json"), live.client.get("/health/ready"),
                live.client.get("/v1/models", headers={"Authorization": f"Bearer {key}x"}),
            ]
            with failing_after(live.host, 0, RuntimeError("boom")):
                answers.append(live.chat())
            seen.write("".join(answer.text + str(answer.headers) for answer in answers))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    said = "\n".join(line for line in seen.getvalue().splitlines() if " httpcore" not in line)
    assert "request=" in said, "the log was watched"
    assert "CANARY" not in said


def test_H18_behind_a_proxy_only_the_hop_that_the_proxy_wrote_counts() -> None:
    def scope(*forwarded: str) -> dict[str, Any]:
        headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
        return {"type": "http", "path": "/v1/models", "headers": headers, "client": ("10.0.0.9", 5)}

    assert client_address(scope("1.1.1.1, 2.2.2.2"), behind_proxy=True) == "2.2.2.2"
    assert client_address(scope("1.1.1.1", "6.6.6.6, 2.2.2.2"), behind_proxy=True) == "2.2.2.2"
    assert client_address(scope("1.1.1.1"), behind_proxy=False) == "10.0.0.9"
    assert client_address(scope(), behind_proxy=True) == "10.0.0.9"


def test_H18_forged_addresses_do_not_lift_the_limit() -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask() -> list[int]:
        guarded = Edge(RateLimit(inner, per_minute=5, behind_proxy=True))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://localhost") as client:
            forged = [{"X-Forwarded-For": f"10.1.1.{i}, 2.2.2.2"} for i in range(8)]
            statuses = [(await client.get("/v1/models", headers=headers)).status_code for headers in forged]
            other = await client.get("/v1/models", headers={"X-Forwarded-For": "3.3.3.3"})
            page = await client.get("/", headers={"X-Forwarded-For": "2.2.2.2"})
        return [*statuses, other.status_code, page.status_code]

    assert asyncio.run(ask()) == [200] * 5 + [429] * 3 + [200, 200]


def test_H18_the_limiter_remembers_a_bounded_number_of_addresses() -> None:
    limiter = RateLimit(None, per_minute=5, behind_proxy=True)  # type: ignore[arg-type]
    for i in range(limiter.max_addresses + 500):
        limiter._count(f"address-{i}", 0.0)
    assert len(limiter.buckets) == limiter.max_addresses


def test_H21_what_strangers_send_stays_on_the_line_of_its_event(live: Live) -> None:
    seen = io.StringIO()
    handler = logging.StreamHandler(seen)
    handler.setFormatter(OneLine())
    log = logging.getLogger("llm_app")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    forged = "a\n2026-01-01 00:00:00,000 ERROR llm_app.api: forged\x1b[31m\u2028\u202e\r"
    try:
        live.chat(model=forged)
        live.chat(**{forged: 1})
        live.chat(messages=[{"role": forged, "content": forged}])
        live.client.get("/v1/" + "".join(f"%{byte:02x}" for byte in forged.encode()))
        live.client.get("/v1/models", headers={"User-Agent": "a\x1b[31mb", "X-Request-Id": "forged-id"})
        with failing_after(live.host, 0, RuntimeError(forged)):
            live.chat()
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    lines = seen.getvalue().split("\n")
    assert lines.pop() == "" and len(lines) >= 6
    for line in lines:
        assert line[:2] == "20" and "request=" in line or "decod" in line, line
        assert line.isprintable() and "forged-id" not in line


def test_C1_a_prompt_over_the_context_is_refused_with_both_counts(live: Live) -> None:
    long = [{"role": "user", "content": "hello world " * 2000}]
    response = live.chat(messages=long)
    assert_refused(response, 400, param="messages", code="context_length_exceeded")
    message = response.json()["error"]["message"]
    assert "512" in message and any(int(word.replace(",", "")) > 512 for word in message.split() if word[0].isdigit())
    assert_refused(live.complete(prompt="hello " * 2500), 400, param="prompt", code="context_length_exceeded")


def test_C2_at_the_edge_of_the_context_the_reply_is_cut_or_the_prompt_refused(live: Live) -> None:
    for n_prompt, fits in [(511, True), (512, False), (513, False)]:
        response = live.complete(prompt=[5] * n_prompt, max_tokens=5)
        if fits:
            assert response.json()["usage"]["completion_tokens"] == 1
            assert response.json()["choices"][0]["finish_reason"] in ("length", "stop")
        else:
            assert_refused(response, 400, param="prompt", code="context_length_exceeded")
            assert f"{n_prompt}" in response.json()["error"]["message"] and "512" in response.json()["error"]["message"]
    whole = live.complete(prompt=[5] * 512, max_tokens=0, echo=True, logprobs=0)
    assert len(whole.json()["choices"][0]["logprobs"]["tokens"]) == 512
    cut = live.chat(max_tokens=100_000, no_repeat_ngram=0)
    assert cut.json()["choices"][0]["finish_reason"] in ("length", "stop")


@pytest.mark.parametrize("chunked", [False, True])
def test_C3_fifty_megabytes_are_refused_before_they_are_read(live: Live, chunked: bool) -> None:
    text = b'{"model": "tiny", "messages": [{"role": "user", "content": "' + b"a" * (50 << 20) + b'"}]}'
    content = (text[i : i + 65536] for i in range(0, len(text), 65536)) if chunked else text
    started = time.monotonic()
    response = live.client.post(
        "/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}  # type: ignore[arg-type]
    )
    assert time.monotonic() - started < 3
    assert_refused(response, 413, code="payload_too_large")


@pytest.mark.parametrize("text", ["", "   ", "\x00", "\n\t"])
def test_C4_a_message_of_nothing_is_refused(live: Live, text: str) -> None:
    assert_refused(live.chat(messages=[{"role": "user", "content": text}]), 400, param="messages")


@pytest.mark.parametrize("text", ["🙂" * 3, "مرحبا بالعالم", "a\x00b", "é" * 5, "世界", "<|im_end|>"])
def test_C4_text_of_any_script_is_answered(live: Live, text: str) -> None:
    assert live.chat(messages=[{"role": "user", "content": text}]).status_code == 200


@pytest.mark.parametrize("body", [
    '{"model": "tiny", "messages": [{"role": "user", "content": "a\\ud83d"}]}',
    '{"model": "\\ud83d", "messages": []}',
    '{"model": "tiny", "messages": [{"role": "user", "content": "a"}], "stop": "\\udc00"}',
    '{"\\ud83d": 1}',
])
def test_C4_half_a_surrogate_pair_is_not_valid_unicode(live: Live, body: str) -> None:
    response = live.post_raw(body.encode())
    assert_refused(response, 400)
    assert "not valid Unicode" in response.json()["error"]["message"]


def test_C5_a_client_that_leaves_frees_its_place_within_a_step(live: Live) -> None:
    with slowed(live.host, 0.03):
        for moment in ("at once", "in the middle", "while it waits", "without a stream"):
            others = [live.open_stream(max_tokens=300, seed=i) for i in range(4 if moment == "while it waits" else 0)]
            wait_for(lambda n=len(others): live.host.status().n_running >= n, 5)
            connection = live.open_stream(max_tokens=300, stream=moment != "without a stream")
            n_all = len(others) + 1
            wait_for(lambda n=n_all: live.host.status().n_running + live.host.status().n_waiting == n, 5)
            if moment == "in the middle":
                connection.recv(1000)
            connection.close()
            wait_for(lambda n=n_all: live.host.status().n_running + live.host.status().n_waiting < n, 1.0)
            for other in others:
                other.close()
            live.wait_until_idle(1.5)


def test_C5_a_hundred_clients_that_leave_leave_nothing_behind(live: Live) -> None:
    live.chat()
    time.sleep(0.3)
    n_threads = threading.active_count()
    for i in range(100):
        connection = live.open_stream(max_tokens=300)
        if i % 2:
            connection.recv(200)
        connection.close()
        if i % 8 == 7:
            live.wait_until_idle(3)
    live.wait_until_idle(3)
    assert live.chat().status_code == 200
    assert threading.active_count() <= n_threads + 10


@pytest.mark.parametrize(("fields", "param"), [
    ({"temperature": -1}, "temperature"), ({"temperature": 1e9}, "temperature"), ({"temperature": 2.01}, "temperature"),
    ({"top_p": 0}, "top_p"), ({"top_p": -1}, "top_p"), ({"top_p": 2}, "top_p"), ({"top_k": -5}, "top_k"),
    ({"repetition_penalty": 0}, "repetition_penalty"), ({"min_p": 1.1}, "min_p"), ({"n_beams": 0}, "n_beams"),
    ({"stop": ""}, "stop"), ({"stop": ["a", ""]}, "stop"), ({"stop": ["a"] * 10_000}, "stop"), ({"stop": "a" * 300}, "stop"),
])
def test_C12_sampling_options_out_of_range_are_refused_by_name(live: Live, fields: dict[str, Any], param: str) -> None:
    assert_refused(live.chat(**fields), 400, param=param)
    assert_refused(live.complete(**fields), 400, param=param)


def read_to_end(connection: socket.socket) -> str:
    """All text of a stream up to its end."""
    text = b""
    with connection:
        while b"[DONE]" not in text and b'"error"' not in text:
            part = connection.recv(65536)
            if not part:
                break
            text += part
    return text.decode()
