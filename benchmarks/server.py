"""The server in a process of its own, for benchmarks that ask it from outside."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UP, READY = "Proofbench is at", "is ready after"  # what it prints: where it is; that the model answers


def usual_environment() -> dict[str, str]:
    """This process's, but that Python keeps what it has compiled, as it does unless told otherwise."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@contextmanager
def serving(model: str, *, precision: str = "auto") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server that has just said where it is, with an empty home folder, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "llm_app", "serve", "--port", str(port)]
        server = subprocess.Popen(
            [*command, "--model", model, "--precision", precision], cwd=Path(__file__).parents[1],
            env=usual_environment() | {"PROOFBENCH_HOME": home}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            await_line(server, UP)
            yield server, f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def await_line(server: subprocess.Popen[str], words: str) -> None:
    """Read what the server prints up to the line with these words.

    Raises: RuntimeError if it ends before.
    """
    assert server.stdout is not None
    if not any(words in line for line in server.stdout):
        raise RuntimeError(f"the server ended before it said: {words}")
