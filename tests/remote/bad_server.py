"""The other end on a bad day: a real HTTP server on this machine that answers as the test says."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]
MODELS = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "somebody"}]}


@dataclass
class Bad:
    """Where it listens, what it was asked, and the answers it still has; the last one is given for good."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)  # path, headers, body

    def bodies(self) -> list[Any]:
        """What was posted."""
        return [body for _, _, body in self.asked if body is not None]


def said(status: int, body: Any, **headers: str) -> Answer:
    """One whole answer; `body` as JSON, or bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def streamed(*lines: str) -> Answer:
    """Events, then the connection closes."""
    def answer(handler: BaseHTTPRequestHandler) -> None:
        _begin_stream(handler)
        handler.wfile.write("".join(f"{line}\n\n" for line in lines).encode())

    return answer


def slowly(*lines: str) -> Answer:
    """Events with a pause between them."""
    def answer(handler: BaseHTTPRequestHandler) -> None:
        _begin_stream(handler)
        for line in lines:
            handler.wfile.write(f"{line}\n\n".encode())
            time.sleep(0.1)

    return answer


def endless(left: threading.Event) -> Answer:
    """A reply without an end; `left` is set once its reader has gone."""
    def answer(handler: BaseHTTPRequestHandler) -> None:
        _begin_stream(handler)
        try:
            while not left.wait(0.01):
                handler.wfile.write(f"{piece('more ')}\n\n".encode())
        except OSError:
            left.set()

    return answer


def piece(text: str, reason: str | None = None) -> str:
    """One event of a chat stream."""
    return "data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]})


def _begin_stream(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.end_headers()


@contextmanager
def answering(*answers: Answer, models: Answer | None = None) -> Iterator[Bad]:
    """The server; GET /v1/models lists one model unless the test says otherwise."""
    bad = Bad(answers=list(answers))
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            bad.asked.append((self.path, dict(self.headers), None))
            (models or said(200, MODELS))(self)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                bad.asked.append((self.path, dict(self.headers), body))
                answer = bad.answers.pop(0) if len(bad.answers) > 1 else bad.answers[0]
            answer(self)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    bad.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield bad
    finally:
        server.shutdown()
        server.server_close()
