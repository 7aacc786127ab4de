"""The page with a model on another server: chosen, answering, measured, and what it cannot do said."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llm_app import chat
from llm_app.config import ModelConfig, SamplingConfig
from llm_app.conversations.tree import Details
from llm_app.engine.host import HostStatus
from llm_app.messages import Message
from llm_app.web.benchmark.config import BenchmarkConfig
from llm_app.web.benchmark.preflight import Elsewhere, Tasks, command, facts, loaded_line
from llm_app.web.chat.views import final_note
from llm_app.web.model.loader import Loader
from llm_app.web.model.status import status_html
from llm_app.web.runs.bring import missing_model
from tests.live import MODEL, Live, running, wait_until_loaded
from tests.remote.test_own_server import task
from tests.web.site import Site, serving, texts


@pytest.fixture(scope="module")
def live(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("there"), tiny_llama) as server:
        yield server


@pytest.fixture(scope="module")
def site(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A page on which the address was typed into the model bar and Load was pressed."""
    with serving(tmp_path_factory.mktemp("here"), None) as site:
        form = {"adapter": "", "precision": "auto", "device": "auto", "context_length": 0}
        said = site.ask("model", "input", model=f"{live.url}/v1", **form)
        assert "what you write, and what benchmarks ask, is sent there" in site.shown(said, "fit", ("model", "input"))
        site.ask("load", "click", model=f"{live.url}/v1", **form)
        wait_until_loaded(site.host, 10)
        yield site


def test_the_strip_says_that_another_server_answers(site: Site, live: Live) -> None:
    loader = Loader(site.host, site.services.give_back, site.services.settings)
    said = status_html(site.host.status(), loader, None)
    assert f"{live.url}/v1#{MODEL}" in said and "on another server, which is sent what you write" in said
    assert "No model is loaded" in status_html(HostStatus("empty"), loader, None)


def test_a_message_is_answered_by_the_other_server(site: Site, live: Live) -> None:
    greedy = SamplingConfig(temperature=0, top_k=0, max_new_tokens=6)
    expected = "".join(delta.text for delta in chat.reply(live.host, [Message("user", "hello world")], greedy))
    shown = texts(site.shown(site.send("hello world"), "conversation"))
    assert shown[-1].strip() == expected.strip() != ""


def test_tokens_that_only_the_other_server_counts_are_not_shown_as_none() -> None:
    stopped = Details(model="http://host/v1#m", precision="remote", ending="cancelled", seed=1)
    assert "token" not in final_note(stopped)[0] and "0 tokens" in final_note(replace(stopped, precision="bf16"))[0]


def test_before_a_benchmark_it_is_said_where_the_questions_go(site: Site, live: Live, tmp_path: Path) -> None:
    name, config = task(tmp_path, "choice"), BenchmarkConfig()
    *_, found = Tasks(site.services).look([name], config)
    assert isinstance(found, Elsewhere) and (found.n_samples, found.n_requests) == (5, 15)
    assert f"The questions are sent to {live.url}/v1#{MODEL}" in facts(found)
    line = command([name], config, site.host, site.services.settings)
    assert f"--model={live.url}/v1#{MODEL}" in line and "--precision" not in line
    assert live.url in loaded_line(site.services)


def test_a_run_of_another_server_is_resumed_there(site: Site, live: Live) -> None:
    name = f"{live.url}/v1#{MODEL}"
    spec = {"model": {"name": name, "precision": "remote", "device": "remote", "adapter_name": None}, "context": 0}
    assert missing_model(spec, site.services) is None
    other = {**spec, "model": {**spec["model"], "name": f"{name}-2"}}  # type: ignore[dict-item]
    assert missing_model(other, site.services) == ModelConfig(f"{name}-2")


def test_the_api_of_this_server_passes_nothing_on(site: Site) -> None:
    assert site.client.get("/v1/models").json()["data"] == []
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    answer = site.client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400 and "on another server" in answer.json()["error"]["message"]
    assert site.client.get("/health/ready").json()["model"] == MODEL
