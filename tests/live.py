"""The program as a client meets it: a real server on a free port of this machine, with a tiny model behind it."""

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from llm_app.api import build_api
from llm_app.api.limits import BodyLimit
from llm_app.config import ModelConfig, ServeConfig, Settings
from llm_app.engine.host import Host
from llm_app.http_server import Server
from llm_app.serve import open_port, settle_heap
from llm_app.services import Services

MODEL = "tiny"
HELLO = [{"role": "user", "content": "hello world"}]


@dataclass
class Live:
    """A running server."""

    port: int
    services: Services
    app: FastAPI
    client: httpx.Client

    @property
    def host(self) -> Host:
        """The engine behind it."""
        return self.services.host

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def chat(self, **body: Any) -> httpx.Response:
        """One chat request; what is not given is a short greedy one."""
        asked = {"model": MODEL, "messages": HELLO, "max_tokens": 8, "temperature": 0} | body
        return self.client.post("/v1/chat/completions", json=asked)

    def complete(self, **body: Any) -> httpx.Response:
        """One completion request, likewise."""
        return self.client.post("/v1/completions", json={"model": MODEL, "prompt": "hello", "temperature": 0} | body)

    def post_raw(self, data: bytes, content_type: str = "application/json") -> httpx.Response:
        """A chat request whose body is whatever the test says."""
        return self.client.post("/v1/chat/completions", content=data, headers={"Content-Type": content_type})

    def raw(self, request: bytes, *, timeout_seconds: float = 10.0) -> bytes:
        """Send bytes as they are, give what comes back until the server closes or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_seconds) as connection:
            connection.sendall(request)
            parts = []
            try:
                while part := connection.recv(65536):
                    parts.append(part)
            except TimeoutError:
                pass
            return b"".join(parts)

    def open_stream(self, **body: Any) -> socket.socket:
        """A chat stream on a socket of its own, so that a test can leave it in any way."""
        asked = {"model": MODEL, "messages": HELLO, "temperature": 0, "stream": True} | body
        data = json.dumps(asked).encode()
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(data), data)
        )
        return connection

    def wait_until_idle(self, seconds: float = 2.0) -> float:
        """Seconds until nothing runs and nothing waits.

        Raises: AssertionError if that takes longer.
        """
        return wait_for(lambda: self.host.status().n_running + self.host.status().n_waiting == 0, seconds)


def wait_for(holds: Any, seconds: float) -> float:
    """Seconds until it holds.

    Raises: AssertionError if that takes longer.
    """
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, f"still not so after {seconds} s"
        time.sleep(0.005)
    return time.monotonic() - started


def wait_until_loaded(host: Host, seconds: float) -> None:
    """Until a model answers and its load has ended: before that the next load is refused."""
    wait_for(lambda: host.status().state == "ready" and host.status().phase is None, seconds)


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


@contextmanager
def slowed(host: Host, seconds: float) -> Iterator[None]:
    """Every pass of the model takes so much longer."""
    def wait(*_: Any) -> None:
        time.sleep(seconds)

    handle = host.loaded.model.get_input_embeddings().register_forward_hook(wait)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def unending(host: Host) -> Iterator[None]:
    """The model never ends a reply by itself."""
    loaded = host.loaded
    ends, loaded.eos_ids = loaded.eos_ids, frozenset()
    try:
        yield
    finally:
        loaded.eos_ids = ends


@contextmanager
def failing_after(host: Host, n_passes: int, error: Exception) -> Iterator[None]:
    """The model fails once it has been asked so often."""
    n_left = n_passes

    def fail(*_: Any) -> None:
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            raise error

    handle = host.loaded.model.get_input_embeddings().register_forward_hook(fail)
    try:
        yield
    finally:
        handle.remove()


def events(text: str) -> list[Any]:
    """The data of server-sent events; [DONE] stays a string."""
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


@contextmanager
def running(
    home: Path, model: Path | None, serve: ServeConfig | None = None, *, body_seconds: float = 30.0, **settings: Any
) -> Iterator[Live]:
    """Serve the model in the folder `model` under the name "tiny"; None serves no model."""
    options = Settings(home=home, **settings)
    for folder in (options.models, options.adapters):
        folder.mkdir(parents=True, exist_ok=True)
    serve = serve or ServeConfig()
    settle_heap()  # as the program does; here it holds what a thousand tests left as well
    services = Services(options, serve, Host(options, serve))
    if model is not None:
        shutil.copytree(model, options.models / MODEL)
        for _ in services.host.load(ModelConfig(model=MODEL, precision="fp32")):
            pass
    with _serving(services, body_seconds) as live:
        yield live


@contextmanager
def _serving(services: Services, body_seconds: float) -> Iterator[Live]:
    app = build_api(services, environ={})
    for guard in app.user_middleware:
        if guard.cls == BodyLimit:  # type: ignore[comparison-overlap]
            guard.kwargs["seconds"] = body_seconds
    listener = open_port("127.0.0.1", 0)
    port = listener.getsockname()[1]
    is_up = threading.Event()
    server = Server(app, on_start=is_up.set, drain=lambda _: services.host.shutdown(0.0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert is_up.wait(20)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield Live(port, services, app, client)
    server.should_exit = True
    thread.join(20)
    listener.close()
