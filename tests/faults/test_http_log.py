"""Rows H17, H18 and H21: what the log holds, and whom a limit counts."""

import asyncio
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_app.api.access import RateLimit, client_address
from llm_app.api.edge import Edge
from llm_app.config import ServeConfig
from llm_app.logs import OneLine
from tests import tiny
from tests.live import (
    Live,
    failing_after,
    running,
)


@pytest.fixture(scope="module")
def live(models_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    model = tiny.make_model(models_root / "tiny-http", n_context=512)
    serve = ServeConfig(max_streams=4, max_waiting=6)
    with running(tmp_path_factory.mktemp("home"), model, serve, body_seconds=1.0) as server:
        yield server


def test_H17_X10_no_secret_leaves_the_server(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    ours = logging.getLogger("llm_app")
    own_level = ours.level  # a command that ran before in this process may have set it
    ours.setLevel(logging.DEBUG)
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
        ours.setLevel(own_level)
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
        assert line[:2] == "20" and ("request=" in line or "llm_app.engine." in line), line
        assert line.isprintable() and "forged-id" not in line
