"""Rows C of the faults as a client of the API meets them."""

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_app.api import sse
from llm_app.config import ServeConfig
from tests import tiny
from tests.live import MODEL, Live, assert_refused, running, slowed, wait_for


@pytest.fixture(scope="module")
def live(models_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    model = tiny.make_model(models_root / "tiny-http", n_context=512)
    serve = ServeConfig(max_streams=4, max_waiting=6)
    with running(tmp_path_factory.mktemp("home"), model, serve, body_seconds=1.0) as server:
        yield server


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
        "/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}
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


@pytest.mark.parametrize("moment", ["in prefill", "in the middle", "while it waits", "without a stream"])
def test_C5_a_client_that_leaves_frees_its_place_within_a_step(live: Live, moment: str) -> None:
    def n_there() -> int:
        return live.host.status().n_running + live.host.status().n_waiting

    others = 4 if moment == "while it waits" else 0
    with slowed(live.host, 0.03):
        staying = [live.open_stream(max_tokens=300, seed=i) for i in range(others)]
        wait_for(lambda: live.host.status().n_running == others, 5)
        connection = live.open_stream(max_tokens=300, stream=moment != "without a stream")
        wait_for(lambda: n_there() == others + 1, 5)
        if moment == "in the middle":
            connection.recv(1000)
        connection.close()
        wait_for(lambda: n_there() == others, 1.0)
        for other in staying:
            other.close()
        live.wait_until_idle(1.5)


def test_C5_a_hundred_clients_that_leave_leave_nothing_behind(live: Live, caplog: pytest.LogCaptureFixture) -> None:
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
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], "leaving is no fault"


def test_C6_a_client_that_stays_but_does_not_read_loses_its_place(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_SEND_SECONDS", 0.5)
    # Far more than the buffers between the two hold, and then replies that would go on for six seconds and more.
    asked = {"model": MODEL, "prompt": [[5] * 400] * 28, "echo": True, "logprobs": 20, "max_tokens": 100,
             "temperature": 0, "stream": True}
    body = json.dumps(asked).encode()
    with slowed(live.host, 0.03), socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", live.port))
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        wait_for(lambda: live.host.status().n_running > 0, 30)
        live.wait_until_idle(3)
        assert live.chat(max_tokens=1).status_code == 200, "and the connection is still open here"


def test_C6_a_reader_is_not_late_while_the_model_is(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_SEND_SECONDS", 0.2)
    with slowed(live.host, 0.5):
        answer = live.chat(max_tokens=3, stream=True)
    assert answer.text.rstrip().endswith("data: [DONE]")
