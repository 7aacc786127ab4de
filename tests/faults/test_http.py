"""Rows H of the faults: who is answered, when, and how a failure is told."""

import asyncio
import json
import math
import os
import resource
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from llm_app import chat
from llm_app.api import completions
from llm_app.config import ServeConfig
from tests import tiny
from tests.live import (
    MODEL,
    Live,
    assert_refused,
    body_of,
    events,
    failing_after,
    read_to_end,
    running,
    slowed,
    wait_for,
)
from tests.running import watched


@pytest.fixture(scope="module")
def live(models_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    model = tiny.make_model(models_root / "tiny-http", n_context=512)
    serve = ServeConfig(max_streams=4, max_waiting=6)
    with running(tmp_path_factory.mktemp("home"), model, serve, body_seconds=1.0) as server:
        yield server


JSON_HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_H3_a_body_that_does_not_come_is_given_up_while_others_are_served(live: Live) -> None:
    head = JSON_HEAD + b"Content-Length: 99\r\n\r\n"
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as slow:
        slow.sendall(head + b'{"mod')
        assert live.chat().status_code == 200
        with slow.makefile("rb") as reader:
            answer = reader.read()  # head and body may come apart
    assert b" 408 " in answer.splitlines()[0] and b'"code":"request_timeout"' in answer


def test_H3_a_body_that_drips_is_given_up_too(live: Live) -> None:
    head = JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
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


def test_H7_a_refusal_costs_no_template_and_no_tokens(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = watched(chat, "render", monkeypatch)
    prompts = watched(completions, "_prompts", monkeypatch)
    with slowed(live.host, 0.02):
        inside = [live.open_stream(max_tokens=60, seed=i) for i in range(10)]
        wait_for(lambda: live.host.status().n_running + live.host.status().n_waiting == 10, 5)
        assert len(rendered) == 10
        for ask in (live.chat, live.complete):
            assert_refused(ask(), 429, code="queue_full")
    assert len(rendered) == 10 and not prompts
    for connection in inside:
        read_to_end(connection)
    assert live.chat().status_code == live.complete().status_code == 200
    assert len(rendered) == 11 and len(prompts) == 1


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


def test_H9_an_error_before_the_first_token_has_its_status(live: Live) -> None:
    head = live.host.loaded.model.get_output_embeddings()
    broken = head.register_forward_hook(lambda module, given, logits: logits.fill_(math.nan))
    try:
        for stream in (False, True):
            response = live.chat(stream=stream)
            assert_refused(response, 500, code="internal_error")
            assert "float32" in response.json()["error"]["message"] or "invalid numbers" in response.text
    finally:
        broken.remove()
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


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "[::2]", "localhost@evil", "0.0.0.0"]
)
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
