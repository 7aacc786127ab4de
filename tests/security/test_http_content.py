"""Rows X4, X6, B and A2 of the threats: what a request may hold, and what an answer tells."""

import ast
import asyncio
import importlib
import json
import pkgutil
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import llm_app.api
from llm_app.api.access import HostCheck, allowed_hosts, host_name, is_api_path
from llm_app.api.app import build_api
from llm_app.api.edge import Edge
from llm_app.config import ServeConfig, Settings
from llm_app.engine.host import Host
from llm_app.services import Services
from tests import tiny
from tests.live import Live, running

PACKAGE = Path(llm_app.__file__).parent


@pytest.fixture(scope="module")
def live(models_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    model = tiny.make_model(models_root / "tiny-security", n_context=8192)
    with running(tmp_path_factory.mktemp("home"), model) as server:
        yield server


def sources() -> list[tuple[Path, ast.Module]]:
    """Every module of the program, parsed."""
    return [(path, ast.parse(path.read_text("utf-8"))) for path in sorted(PACKAGE.rglob("*.py"))]


def test_X4_none_of_our_expressions_is_slow_on_hostile_text() -> None:
    names = [f"llm_app.api.{info.name}" for info in pkgutil.iter_modules(llm_app.api.__path__)]
    modules = [importlib.import_module(name) for name in [*names, "llm_app.logs"]]
    patterns = {value for module in modules for value in vars(module).values() if isinstance(value, re.Pattern)}
    assert patterns
    hostile = ["a" * 100_000, "/" * 100_000, " " * 100_000, "\x00" * 100_000, "a/" * 50_000 + "!", "\\" * 100_000]
    for text in hostile:
        started = time.perf_counter()
        for pattern in patterns:
            pattern.search(text)
        is_api_path(text)
        host_name(text)
        assert time.perf_counter() - started < 0.1 * (len(patterns) + 1)


def test_X4_no_expression_comes_from_a_request(live: Live) -> None:
    for name in ("regex", "guided_regex", "pattern", "structured_outputs", "grammar"):
        assert live.chat(**{name: "(a+)+$"}).json()["error"]["code"] == "unknown_parameter"


def test_X6_no_answer_tells_of_the_inside(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_CANARY77")
    odd: list[Any] = [None, 5, -1, 1.5, "x", True, [], {}, [[]], [{}], {"a": {"b": [1]}}, "\u0000", "🙂", 2**63]
    answers = []
    for value in odd:
        answers.append(live.client.post("/v1/chat/completions", json=value))
        for name in ("model", "messages", "stop", "stream_options", "response_format", "seed", "logit_bias"):
            answers.append(live.chat(**{name: value, "stream": name == "stream_options"}))
        for name in ("prompt", "logprobs", "echo"):
            answers.append(live.complete(**{name: value, "max_tokens": 2}))
    for path in ("/v1/models/../../etc/passwd", "/v1/models/%2e%2e%2f", "/v1/%ff", "/v1/models/{0}", "/health/%s"):
        answers.append(live.client.get(path))
    for answer in answers:
        assert answer.status_code < 500, answer.text
        inside = re.search(r"0x[0-9a-f]{8}|Traceback|site-packages|CANARY|/(?:home|root|srv)/|pydantic", answer.text)
        assert inside is None, answer.text


class BrokenTokenizer:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("<Thing object at 0x7f0011223344> in /srv/secret.py")

    __call__ = __getattr__


def test_X6_a_bug_of_ours_is_answered_with_an_id_only(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.host.loaded, "tokenizer", BrokenTokenizer())
    response = live.chat()
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert response.headers["x-request-id"] in response.json()["error"]["message"]
    assert "0x" not in response.text and "secret" not in response.text
    assert "nosniff" in response.headers["x-content-type-options"]


def test_B6_hostile_multipart_and_range_headers_cost_nothing(live: Live) -> None:
    boundary = "b" * 100_000
    many = b"".join(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' for _ in range(1001)) + b"--x--\r\n"
    requests: list[dict[str, Any]] = [
        {"content": b"--x--", "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}"}},
        {"content": many, "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"{}", "headers": {"Content-Type": "application/json",
                                       "Range": "bytes=" + ",".join(f"{i}-" for i in range(10_000))}},
    ]
    before = psutil.Process().memory_info().rss
    for request in requests:
        started = time.perf_counter()
        assert 400 <= live.client.post("/v1/chat/completions", **request).status_code < 500
        assert time.perf_counter() - started < 1
    assert psutil.Process().memory_info().rss - before < 20 << 20


def test_B8_what_a_client_forwards_about_our_address_is_not_believed() -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        names = json.dumps([name.decode() for name, _ in scope["headers"]]).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": names})

    async def ask() -> None:
        guarded = Edge(HostCheck(echo, hosts=["localhost"]))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://localhost") as client:
            forged = [{"X-Forwarded-Host": f"evil-{i}.example", "X-Forwarded-Proto": "https"} for i in range(500)]
            for response in await asyncio.gather(*(client.get("/", headers=headers) for headers in forged)):
                assert not [name for name in response.json() if name.startswith("x-forwarded")]
            assert (await client.get("/", headers={"Host": "evil.example"})).status_code == 400

    asyncio.run(ask())


class Canary(BaseHTTPRequestHandler):
    """Counts who comes."""

    hits = 0

    def do_GET(self) -> None:
        type(self).hits += 1
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def canary() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Canary)
    Canary.hits = 0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("part", [
    {"type": "image_url", "image_url": {"url": "http://CANARY/a.png"}},
    {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
    {"type": "input_audio", "input_audio": {"data": "http://CANARY/a.wav", "format": "wav"}},
    {"type": "file", "file": {"file_id": "../../etc/passwd"}},
    {"type": "file", "file": {"file_data": "http://CANARY/a.pdf"}},
    {"type": "video_url", "video_url": {"url": "http://CANARY"}},
    {"type": "refusal", "refusal": "no"},
])
def test_B11_other_media_than_text_are_refused_and_nothing_is_fetched(
    live: Live, canary: str, part: dict[str, Any]
) -> None:
    part = json.loads(json.dumps(part).replace("CANARY", canary))
    response = live.chat(messages=[{"role": "user", "content": [{"type": "text", "text": "see"}, part]}])
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "unsupported_content_type"
    assert response.json()["error"]["param"] == "messages[0].content"
    assert Canary.hits == 0


def test_B12_no_code_of_ours_runs_text() -> None:
    names = {"eval", "exec", "compile", "__import__"}
    modules = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    calls = {
        "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "torch.load", "subprocess.getoutput", "evaluate.load",
    }
    for path, tree in sources():
        for node in ast.walk(tree):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in names | calls, where
                shell = [word for word in node.keywords if word.arg == "shell"]
                assert not shell, where
                for word in node.keywords:
                    assert word.arg != "trust_remote_code" or ast.unparse(word.value) == "False", where
            if isinstance(node, ast.Import):
                assert not modules & {alias.name.partition(".")[0] for alias in node.names}, where
            if isinstance(node, ast.ImportFrom) and node.module:
                assert node.module.partition(".")[0] not in modules, where


def test_B17_only_hosts_on_the_list_are_answered(settings: Settings) -> None:
    assert allowed_hosts("0.0.0.0", ["my.example"], "org-space.hf.space") == [
        "127.0.0.1", "localhost", "[::1]", "0.0.0.0", "my.example", "org-space.hf.space"]
    assert allowed_hosts("::1", [], None)[-1] == "[::1]"

    async def ask(environ: dict[str, str], host: str, **headers: str) -> httpx.Response:
        serve = ServeConfig(allowed_hosts=("my.example",))
        app = build_api(Services(settings, serve, Host(settings, serve)), environ)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.get("/health/live", headers={"Host": host} | headers)

    space = {"SPACE_HOST": "org-space.hf.space"}
    assert asyncio.run(ask({}, "my.example")).status_code == 200
    assert asyncio.run(ask({}, "org-space.hf.space")).status_code == 400
    assert asyncio.run(ask(space, "org-space.hf.space")).status_code == 200
    for host in ("evil.example", "my.example.evil", "xmy.example"):
        assert asyncio.run(ask(space, host)).status_code == 400
    assert "https://huggingface.co" in asyncio.run(ask(space, "localhost")).headers["content-security-policy"]
    assert "huggingface" not in asyncio.run(ask({}, "localhost")).headers["content-security-policy"]


def test_B17_a_websocket_of_another_site_is_closed() -> None:
    async def ask(headers: list[tuple[bytes, bytes]]) -> list[Any]:
        sent: list[Any] = []

        async def inner(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})

        async def send(message: Any) -> None:
            sent.append(message["type"])

        scope = {"type": "websocket", "path": "/", "headers": headers}
        await HostCheck(inner, hosts=["localhost"])(scope, None, send)  # type: ignore[arg-type]
        return sent

    assert asyncio.run(ask([(b"host", b"localhost:7860")])) == ["websocket.accept"]
    assert asyncio.run(ask([(b"host", b"evil.example")])) == ["websocket.close"]
    assert asyncio.run(ask([(b"host", b"localhost"), (b"origin", b"http://evil.example")])) == ["websocket.close"]


@pytest.mark.parametrize("fields", [
    {"chat_template": "{% for i in range(10**9) %}{% endfor %}"},
    {"chat_template_kwargs": {"tokenize": True}},
    {"chat_template_kwargs": {"chat_template": "{{ 1 }}"}},
    {"add_generation_prompt": False},
    {"continue_final_message": True},
])
def test_A2_no_template_comes_from_a_request(live: Live, fields: dict[str, Any]) -> None:
    for response in (live.chat(**fields), live.complete(**fields)):
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "unknown_parameter"
        assert response.json()["error"]["param"] == next(iter(fields))


def test_every_response_has_the_security_headers(live: Live) -> None:
    for response in (live.chat(), live.chat(stream=True), live.client.get("/nothing"), live.chat(model=5)):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "img-src 'self' data:" in response.headers["content-security-policy"]
        assert len(response.headers["x-request-id"]) == 32
