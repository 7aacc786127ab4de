"""A tiny model, loaded and answering, as the application does it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from llm_app.config import ModelConfig, SamplingConfig, ServeConfig, Settings
from llm_app.engine.host import Host
from llm_app.messages import Delta, Stream

COMMAND = """
import argparse, sys
from llm_app.config import quiet_environment
quiet_environment()
from llm_app import benchmark_cli
from llm_app.errors import UserError
parser = argparse.ArgumentParser()
benchmark_cli.add_parser(parser.add_subparsers())
try:
    sys.exit(benchmark_cli.run(parser.parse_args(sys.argv[1:])))
except UserError as error:
    sys.exit(error.message)
"""
GREEDY = SamplingConfig(temperature=0.0, max_new_tokens=24)


@contextmanager
def running(
    folder: Path, settings: Settings, *, precision: str = "fp32", serve: ServeConfig | None = None
) -> Iterator[Host]:
    """A host that has loaded the model in `folder`."""
    host = Host(settings, serve)
    for _ in host.load(ModelConfig(str(folder), precision=precision)):
        pass
    try:
        yield host
    finally:
        host.unload()


def have_free(monkeypatch: pytest.MonkeyPatch, n_bytes: float | Callable[[], float]) -> None:
    """The machine says that so much memory is free."""
    read = n_bytes if callable(n_bytes) else lambda: n_bytes
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=read(), total=10**9))


def ids_of(stream: Stream) -> list[int]:
    """All tokens of a reply."""
    return [token for delta in stream for token in delta.token_ids]


def text_of(deltas: Sequence[Delta]) -> str:
    """The reply as a reader sees it."""
    return "".join(delta.text for delta in deltas)


def benchmark_command(settings: Settings, *arguments: str) -> "subprocess.Popen[str]":
    """`benchmark` in a process of its own, which can be killed."""
    environ = os.environ | {"PROOFBENCH_HOME": str(settings.home)}
    if settings.data is not None:
        environ["PROOFBENCH_DATA"] = str(settings.data)
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "benchmark", *arguments], env=environ, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[1],
    )


def watched(module: ModuleType | type, name: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The arguments of each call of a function, which goes on to it."""
    calls: list[tuple[Any, ...]] = []
    function = getattr(module, name)

    def call(*arguments: Any) -> Any:
        calls.append(arguments)
        return function(*arguments)

    monkeypatch.setattr(module, name, call)
    return calls
