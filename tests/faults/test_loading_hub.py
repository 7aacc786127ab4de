"""Faults while a model is fetched: each reason has its own sentence, and nothing half done is offered."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from llm_app.config import Settings
from llm_app.engine.catalog import find_model
from llm_app.errors import UserError

# The fake hub knows one model for each thing that can go wrong.
SHA = "0123456789abcdef0123456789abcdef01234567"
HUB_CASES = {
    "org/missing": "not found on the hub",
    "org/gated": "needs access",
    "org/broken": "answered 500",
    "org/huge": "needs 9000000.0 GB of disk",
    "org/pickles": "only safetensors/GGUF are accepted",
    "org/cut": "what is fetched already is kept",
}
FETCH = """
import json, sys
from pathlib import Path
from llm_app.config import Settings
from llm_app.engine import catalog
from llm_app.errors import UserError
settings, told = Settings(home=Path(sys.argv[1])), {}
for name in sys.argv[2:]:
    try:
        fractions = list(catalog.download(name, settings))
        told[name] = f"fetched {fractions[-1]} to {catalog.find_model(name, settings).path}"
    except UserError as error:
        told[name] = f"{error.code}: {error.message}"
told["listed"] = [entry.name for entry in catalog.list_models(settings)]
print(json.dumps(told))
"""


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download needs."""

    files: dict[str, bytes] = {}

    def do_HEAD(self) -> None:
        self.do_GET(with_body=False)

    def do_GET(self, with_body: bool = True) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        errors = {"org/missing": (404, "RepoNotFound"), "org/gated": (403, "GatedRepo"), "org/broken": (500, "")}
        if name in errors:
            status, code = errors[name]
            self.answer(status, b"", {"X-Error-Code": code} if code else {}, with_body)
        elif parts[0] == "api":
            sizes = {file: len(data) for file, data in self.files.items()}
            sizes = {"model.safetensors": 9 * 10**15} if name == "org/huge" else sizes
            sizes = {"pytorch_model.bin": 10} if name == "org/pickles" else sizes
            siblings = [{"rfilename": file, "size": size} for file, size in sizes.items()]
            info = {"_id": "1", "id": name, "sha": SHA, "siblings": siblings}
            self.answer(200, json.dumps(info).encode(), {"Content-Type": "application/json"}, with_body)
        else:
            data = self.files[parts[-1]]
            headers = {"ETag": f'"{hash(data):x}"', "X-Repo-Commit": SHA}
            self.answer(200, data, headers, with_body, is_cut=name == "org/cut" and parts[-1].endswith(".safetensors"))

    def answer(self, status: int, data: bytes, headers: dict[str, str], with_body: bool, is_cut: bool = False) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(data[: len(data) // 2] if is_cut else data)
        self.close_connection = is_cut

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub(tiny_llama: Path) -> Iterator[str]:
    Hub.files = {file.name: file.read_bytes() for file in tiny_llama.iterdir() if file.is_file()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def fetch(names: list[str], home: Path, endpoint: str, *, offline: bool = False) -> dict:
    """What a process of its own is told, since the hub library reads its settings when it is imported."""
    child = in_child(["-c", FETCH, str(home), *names], home, endpoint, offline=offline)
    return json.loads(child.stdout.splitlines()[-1])


def in_child(
    arguments: list[str], home: Path, endpoint: str, *, offline: bool = False
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "PROOFBENCH_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hf"),
        "HF_HUB_OFFLINE": "1" if offline else "0",
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "3", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
    }
    child = subprocess.run(
        [sys.executable, *arguments],
        env=environment, capture_output=True, text=True, timeout=110, check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return child


def test_L18_each_reason_why_a_hub_model_cannot_be_had_has_its_own_sentence(hub: str, tmp_path: Path) -> None:
    told = fetch([*HUB_CASES, "org/good"], tmp_path, hub)
    for name, sentence in HUB_CASES.items():
        assert sentence in told[name], told[name]
    assert told["org/good"].startswith("fetched 1.0 to ")
    # What came only in part is not offered.
    assert told["listed"] == ["embedded", "org/good"]


def test_the_command_line_fetches_a_model_when_asked_and_lists_it(hub: str, tmp_path: Path) -> None:
    child = in_child(["-m", "llm_app", "models", "--fetch", "org/good", "--json"], tmp_path, hub)
    assert "fetched 100% of org/good" in child.stderr
    assert [model["name"] for model in json.loads(child.stdout)["models"]] == ["embedded", "org/good"]


@pytest.mark.parametrize("offline", [True, False])
def test_L18_without_network_it_says_no_network(offline: bool, tmp_path: Path) -> None:
    told = fetch(["org/good"], tmp_path, "http://127.0.0.1:9", offline=offline)  # nothing listens on port 9
    assert told["org/good"].startswith("no_network: No network: ")


def test_L18_a_hub_name_that_is_not_here_is_told_with_how_to_fetch_it(settings: Settings) -> None:
    with pytest.raises(UserError, match="org/nowhere is not on this machine. .*models --fetch org/nowhere"):
        find_model("org/nowhere", settings)
