"""Start and end of the server: rows H13, H14, H15, and what it leaves behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.numpy import load_file, save_file

from llm_app.errors import UserError
from llm_app.http_server import HEADER_SECONDS, HeaderDeadline
from llm_app.serve import FLOORS, check_packages
from tests import tiny

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 60.0


class Served:
    """A server in a process of its own."""

    def __init__(self, port: int, home: Path, *arguments: str, **environment: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llm_app", "serve", "--port", str(port), *arguments], cwd=ROOT,
            env={**os.environ, "PROOFBENCH_HOME": str(home), "OMP_NUM_THREADS": "1", **environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )

    def wait_until_ready(self) -> "Served":
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        self.process.kill()
        raise AssertionError(f"not ready in {START_SECONDS:.0f} s: {self.process.communicate()}")

    def end(self, seconds: float = 35.0) -> tuple[int, str, str]:
        """Exit code, stdout and stderr, once it has ended by itself."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    return number


@pytest.fixture(scope="module")
def long_winded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose greedy replies never end, with a context for minutes of them."""
    folder = tiny.make_model(tmp_path_factory.mktemp("long") / "long-winded", n_context=100_000)
    tensors = load_file(folder / "model.safetensors")
    # Its logit is 0 then, and some other one is always above that.
    tensors["lm_head.weight"][tiny.make_tokenizer().eos_token_id] = 0.0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def start(port: int, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts servers and sees that none outlives the test."""
    started: list[Served] = []

    def start(*arguments: str, **environment: str) -> Served:
        started.append(Served(port, tmp_path / "home", *arguments, **environment))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


def body(*, stream: bool, max_tokens: int) -> dict[str, Any]:
    return {
        "model": "anything", "messages": [{"role": "user", "content": "hello"}], "stream": stream, "temperature": 0,
        "max_tokens": max_tokens,
    }


class Reader(threading.Thread):
    """Reads one streamed reply to its end."""

    def __init__(self, url: str, max_tokens: int) -> None:
        super().__init__(daemon=True)
        self.url, self.max_tokens = url, max_tokens
        self.lines: list[str] = []
        self.has_begun = threading.Event()
        self.start()

    def run(self) -> None:
        model = httpx.get(f"{self.url}/v1/models").json()["data"][0]["id"]
        asked = {**body(stream=True, max_tokens=self.max_tokens), "model": model}
        try:
            with httpx.stream("POST", f"{self.url}/v1/chat/completions", json=asked, timeout=60) as response:
                for line in response.iter_lines():
                    if line:
                        self.lines.append(line)
                    if len(self.lines) > 5:
                        self.has_begun.set()
        except httpx.TransportError as error:
            self.lines.append(f"broken: {error}")


def test_H13_on_sigterm_new_requests_get_503_a_long_reply_is_cut_with_an_error_and_the_exit_is_0(start, long_winded):
    server = start("--model", str(long_winded), "--precision", "fp32").wait_until_ready()
    reader = Reader(server.url, max_tokens=90_000)
    assert reader.has_begun.wait(20)

    server.process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    time.sleep(1.0)
    refused = httpx.post(f"{server.url}/v1/chat/completions", json=body(stream=False, max_tokens=5), timeout=5)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
    assert "retry-after" in refused.headers
    assert httpx.get(f"{server.url}/health/ready", timeout=5).status_code == 503

    code, _, err = server.end()
    assert (code, "Traceback" in err) == (0, False)
    assert 15 < time.monotonic() - told < 30
    reader.join(5)
    assert json.loads(reader.lines[-1].removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert "data: [DONE]" not in reader.lines


def test_H13_on_sigterm_a_short_reply_comes_to_its_end_before_the_process_does(start, long_winded):
    server = start("--model", str(long_winded), "--precision", "fp32").wait_until_ready()
    reader = Reader(server.url, max_tokens=600)
    assert reader.has_begun.wait(20)
    server.process.send_signal(signal.SIGTERM)
    assert server.end()[0] == 0
    reader.join(5)
    assert reader.lines[-1] == "data: [DONE]"


@pytest.mark.parametrize("signals", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT]], ids=["twice", "ctrl-c"])
def test_H14_a_second_signal_or_ctrl_c_ends_it_at_once_and_leaves_no_folder(start, long_winded, tmp_path, signals):
    (tmp_path / "tmp").mkdir()
    server = start("--model", str(long_winded), "--precision", "fp32", TMPDIR=str(tmp_path / "tmp")).wait_until_ready()
    assert list((tmp_path / "tmp").glob("proofbench-*"))
    reader = Reader(server.url, max_tokens=90_000)
    assert reader.has_begun.wait(20)
    told = time.monotonic()
    for number in signals:
        server.process.send_signal(number)
        time.sleep(0.5)
    code, _, err = server.end(10)
    assert (code, "Traceback" in err) == (0, False)
    assert time.monotonic() - told < 6
    assert list((tmp_path / "tmp").glob("proofbench-*")) == []


def test_H14_sigterm_while_it_still_starts_ends_it_in_order(start, long_winded):
    server = start("--model", str(long_winded))
    time.sleep(1.5)
    server.process.send_signal(signal.SIGTERM)
    code, _, err = server.end(15)
    assert (code, "Traceback" in err) == (0, False)


def one_sentence(server: Served) -> str:
    code, out, err = server.end(START_SECONDS)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    return err


def test_H15_a_port_in_use_ends_the_start_with_one_sentence(start, port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert f"127.0.0.1:{port}" in one_sentence(start())


def test_H15_a_home_that_cannot_be_written_ends_the_start_with_one_sentence(start, tmp_path):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in one_sentence(start(PROOFBENCH_HOME=str(tmp_path / "file")))


def test_H15_a_missing_model_ends_the_start_with_one_sentence(start):
    assert "no-such-model" in one_sentence(start("--model", "no-such-model"))


def test_the_floors_of_security_fixes_are_held_by_what_is_installed(monkeypatch):
    check_packages()
    monkeypatch.setitem(FLOORS, "gradio", (99, 0))
    with pytest.raises(UserError, match=r"gradio .* is too old, 99.0 is needed"):
        check_packages()


def test_H3_headers_that_never_end_are_answered_with_408(monkeypatch):
    import asyncio

    import uvicorn

    async def app(scope, receive, send):
        raise AssertionError("no request was complete")

    async def main() -> bytes:
        config = uvicorn.Config(app, http=HeaderDeadline, lifespan="off", log_config=None)
        config.load()
        state = uvicorn.Server(config).server_state
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: HeaderDeadline(config, state, {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        server.close()
        return answer

    assert HEADER_SECONDS == 30
    monkeypatch.setattr("llm_app.http_server.HEADER_SECONDS", 0.3)
    assert asyncio.run(main()).startswith(b"HTTP/1.1 408 ")
