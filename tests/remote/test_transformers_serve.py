"""`transformers serve` as the other end, on a tiny model: what it can do works, what it cannot is said beforehand."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from eval.tasks.harness import TaskOptions
from eval.types import Generation
from llm_app import chat
from llm_app.config import ModelConfig, SamplingConfig, Settings
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.jobs.answers import EngineModel
from llm_app.jobs.benchmark import start
from llm_app.jobs.remote_answers import RemoteAnswers
from llm_app.messages import Message
from tests.remote.test_own_server import task

START_SECONDS = 120
pytestmark = [pytest.mark.verify, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def address(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server in a process of its own, with nothing in its cache of models."""
    program = shutil.which("transformers", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("the command `transformers` is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("hub")
    server = subprocess.Popen(
        [program, "serve", str(tiny_llama), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu",
         "--dtype", "float32"],
        env=os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for_health(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}/v1#{tiny_llama}"
    finally:
        server.terminate()
        server.wait(30)


def wait_for_health(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def hosts(address: str, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    """The model through the server, and the same weights loaded here."""
    made = []
    for config in (ModelConfig(address), ModelConfig(str(tiny_llama), precision="fp32")):
        host = Host(Settings(home=tmp_path_factory.mktemp("home")))
        list(host.load(config))
        made.append(host)
    yield made[0], made[1]
    for host in made:
        host.shutdown(0.0)


def test_a_greedy_chat_reply_is_that_of_the_same_weights_here(hosts: tuple[Host, Host]) -> None:
    messages, greedy = [Message("user", "hello world")], SamplingConfig(temperature=0, max_new_tokens=8)
    found, expected = (list(chat.reply(host, messages, greedy)) for host in hosts)
    text = "".join(delta.text for delta in expected)
    # It sends the bytes of a character that the length cuts, as U+FFFD; ours are dropped.
    assert "".join(delta.text for delta in found).rstrip("\ufffd") == text.rstrip("\ufffd") != ""
    assert found[-1].usage is not None and expected[-1].usage is not None
    assert found[-1].usage.n_prompt_tokens == expected[-1].usage.n_prompt_tokens
    assert found[-1].usage.n_output_tokens == expected[-1].usage.n_output_tokens


def test_generated_texts_are_those_of_the_same_weights_here(hosts: tuple[Host, Host]) -> None:
    prompts = ("the quick brown", "hello world", "one two", "what is the answer")
    asked = [(text, Generation(("the", "\n"), 12)) for text in prompts]
    remote = hosts[0].remote
    assert remote is not None
    found = dict(RemoteAnswers(hosts[0], remote).generate(asked, range(4)))
    assert found == dict(EngineModel(hosts[1]).generate(asked, range(4)))


def test_a_benchmark_of_texts_scores_as_the_same_weights_here(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    made = [start(host, [task(tmp_path, "text")], TaskOptions(), host.settings) for host in hosts]
    for benchmark in made:
        list(benchmark.run())
    assert made[0].is_complete and made[0].scores() == made[1].scores()


def test_likelihoods_are_refused_before_anything_runs(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choice: .*gives no log-probabilities of a prompt"):
        start(hosts[0], [task(tmp_path, "choice")], TaskOptions(), hosts[0].settings)
