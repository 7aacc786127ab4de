"""What every test starts from: no network, no telemetry, one thread, tiny models made once a session."""

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before torch or a hub library is imported anywhere.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # `make test-gpu` names one; the rest proves the CPU

from llm_app.config import Settings, quiet_environment

quiet_environment()

import pytest

from tests import tiny

_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_address(sock: socket.socket, address: Any) -> None:
    if sock.family == socket.AF_UNIX:
        return
    host = str(address[0])
    if not _is_loopback(host):
        raise AssertionError(f"a test tried to reach {host}; tests talk to this machine only")


def _guarded_connect(self: socket.socket, address: Any) -> None:
    _check_address(self, address)
    _connect(self, address)


def _guarded_connect_ex(self: socket.socket, address: Any) -> int:
    _check_address(self, address)
    return _connect_ex(self, address)


# What takes longest begins first: a file stays in one process, and the last one to begin must not be a long one.
LONG_FIRST = ("browser", "faults", "jobs", "training", "api", "engine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of the rooms in LONG_FIRST before all others; within a room nothing is moved."""
    rank = {room: number for number, room in enumerate(LONG_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.parent.name, len(rank)))


@pytest.fixture(autouse=True, scope="session")
def network_guard() -> Iterator[None]:
    """Connections leave this process only for this machine."""
    socket.socket.connect, socket.socket.connect_ex = _guarded_connect, _guarded_connect_ex  # type: ignore[method-assign]
    yield
    socket.socket.connect, socket.socket.connect_ex = _connect, _connect_ex  # type: ignore[method-assign]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home of its own, with empty folders for models and adapters."""
    settings = Settings(home=tmp_path / "home")
    settings.models.mkdir(parents=True)
    settings.adapters.mkdir(parents=True)
    return settings


@pytest.fixture(scope="session")
def models_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's tiny models are. Read only: a test that edits files copies the folder first."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def tiny_llama(models_root: Path) -> Path:
    """A Llama with ChatML template, untied head."""
    return tiny.make_model(models_root / "tiny-llama", family="llama")


@pytest.fixture(scope="session")
def tiny_qwen2(models_root: Path) -> Path:
    """A Qwen2 (biases on q, k, v) with tied head."""
    return tiny.make_model(models_root / "tiny-qwen2", family="qwen2")


@pytest.fixture(scope="session")
def tiny_qwen3(models_root: Path) -> Path:
    """A Qwen3 (norms on q and k)."""
    return tiny.make_model(models_root / "tiny-qwen3", family="qwen3")


@pytest.fixture(scope="session")
def tiny_gemma3(models_root: Path) -> Path:
    """A Gemma 3 with one sliding layer (8 tokens) and one full layer."""
    return tiny.make_model(models_root / "tiny-gemma3", family="gemma3")


@pytest.fixture(scope="session")
def tiny_gpt2(models_root: Path) -> Path:
    """A GPT-2: learned positions, Conv1D layers."""
    return tiny.make_model(models_root / "tiny-gpt2", family="gpt2")


@pytest.fixture(scope="session")
def tiny_adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter made for tiny_llama, which changes its logits."""
    return tiny.make_adapter(tiny_llama, tmp_path_factory.mktemp("adapters") / "tiny-adapter")


@pytest.fixture(scope="session")
def hub_data() -> Path:
    """Real data sets, laid out as on the hub, for the tests that need them.

    Skips on a person's machine without it; in CI its absence is an error, so that a skip never looks like a pass.
    """
    folder = os.environ.get("PROOFBENCH_TEST_DATA")
    if folder:
        return Path(folder) / "hub"
    if os.environ.get("CI") == "true":
        pytest.fail("PROOFBENCH_TEST_DATA is not set in CI")
    pytest.skip("PROOFBENCH_TEST_DATA is not set")
