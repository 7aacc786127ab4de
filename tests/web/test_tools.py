"""The ruler and the template doctor on the page, with a tiny model."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from llm_app.config import ModelConfig
from llm_app.jobs import ruler_run
from llm_app.services import Services
from llm_app.web.benchmark.config import BenchmarkConfig
from llm_app.web.benchmark.doctor import DoctorHandlers
from llm_app.web.benchmark.preflight import Tasks
from llm_app.web.benchmark.ruler import Parts, RulerHandlers
from llm_app.web.benchmark.tools import TaskNames
from llm_app.web.failures import SentenceError
from tests.web.test_results import asking, services_of, words

FIND = TaskNames(is_public=False)
TEXT = "the quick brown fox jumps over the lazy dog. " * 8


@pytest.fixture(scope="module")
def services(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    services = services_of(tmp_path_factory.mktemp("home"))
    for _ in services.host.load(ModelConfig(model=str(tiny_llama), precision="fp32")):
        pass
    yield services
    services.shutdown(0.0)


@pytest.fixture
def ruler(services: Services) -> tuple[RulerHandlers, Parts]:
    parts = Parts(gr.Button(), gr.Button(), gr.HTML(), gr.HTML(), gr.Timer(), gr.State(""))
    return RulerHandlers(services, parts, FIND), parts


def asked(precisions: object = ("fp32", "bf16"), **changed: object) -> list[object]:
    """The ruler's form."""
    form = {"precisions": list(precisions) if isinstance(precisions, tuple) else precisions, "source": "own",
            "own": TEXT, "tokens": 40, "task": "", "limit": 5}  # fmt: skip
    return list((form | changed).values())


def test_a_measurement_runs_in_line_and_a_reload_shows_its_table(services: Services, ruler: Any) -> None:
    handlers, parts = ruler
    before = services.host.loaded.config
    run = handlers.start(asking(), *asked(("fp32", "bf16", "gguf")))[parts.run]
    assert services.queue.wait(run, 120)
    shown = handlers.last(asking())
    assert shown[parts.run] == run and shown[parts.said] == ""
    said = words(shown[parts.table])
    assert "fp32" in said and "bf16" in said and "100.0%" in said and "gguf is not available" in said
    assert services.host.loaded.config == before, "what was loaded before answers again"


def test_the_adapter_that_answered_before_a_measurement_answers_after_it(
    services: Services, tiny_adapter: Path
) -> None:
    services.host.attach(str(tiny_adapter))
    before, loaded = services.host.adapter, services.host.loaded
    assert before is not None
    ask = ruler_run.Ask(TEXT, 20)
    list(ruler_run.start(services.host, loaded.config, ["fp32"], ask, services.runs()).run())
    assert services.host.adapter == before
    services.host.detach(before)


def test_an_adapter_that_was_given_as_a_folder_is_measured_with_each_precision(
    services: Services, ruler: Any, tiny_adapter: Path
) -> None:
    handlers, parts = ruler
    services.host.attach(str(tiny_adapter))  # it does not lie among the adapters of this machine
    try:
        run = handlers.start(asking(), *asked(("fp32",)))[parts.run]
        assert services.queue.wait(run, 120)
        rows, refused, _ = ruler_run.read(services.runs().open(run))
        assert [row.precision for row in rows] == ["fp32"] and refused == []
    finally:
        services.host.detach(services.host.adapter or "")


@pytest.mark.parametrize("act", ["look", "start", "resume"])
def test_no_benchmark_binds_to_a_model_that_a_measurement_is_passing_through(
    services: Services, ruler: Any, act: str
) -> None:
    handlers, parts = ruler
    run = handlers.start(asking(), *asked(("fp32", "bf16", "int8", "nf4")))[parts.run]
    tasks, store = Tasks(services), services.runs()
    try:
        with pytest.raises(SentenceError) as refused:
            match act:
                case "look":
                    list(tasks.look(["sst2"], BenchmarkConfig()))
                case "start":
                    tasks.start(["sst2"], BenchmarkConfig(), store)
                case _:
                    tasks.resume(store.open(run))
        assert "Precisions are being measured" in str(refused.value)
    finally:
        handlers.stop(asking(), run)
        assert services.queue.wait(run, 120)


def test_stop_ends_it_soon_and_the_model_comes_back(services: Services, ruler: Any) -> None:
    handlers, parts = ruler
    before = services.host.loaded.config
    run = handlers.start(asking(), *asked(("fp32", "bf16", "int8", "nf4")))[parts.run]
    started = time.monotonic()
    handlers.stop(asking(), run)
    assert services.queue.wait(run, 120) and time.monotonic() - started < 60
    assert services.runs().read(run).status == "cancelled" and services.host.loaded.config == before
    assert "Stopped" in words(handlers.look(asking(), run)[parts.said])


def test_rows_read_from_the_folder_are_those_that_were_measured(services: Services) -> None:
    config, ask = services.host.loaded.config, ruler_run.Ask(TEXT, 30)
    run = ruler_run.start(services.host, config, ["fp32", "gguf"], ask, services.runs())
    made = [one for one in run.run() if not isinstance(one, ruler_run.Working)]
    rows, refused, working = ruler_run.read(run.folder)
    assert [*rows, *refused] == made and working is None


@pytest.mark.parametrize("values", [
    asked([]), asked(["int3"]), asked("fp32"), asked([["fp32"]]), asked(source="other"), asked(own=7), asked(own=" "),
    asked(own="x" * 200_001), asked(tokens=0), asked(tokens=1.5), asked(tokens="40"), asked(tokens=True),
    asked(tokens=10**9), asked(tokens=float("nan")), asked(task="no_such_task"), asked(task=["sst2"]),
    asked(task="../../x"), asked(task="choices", limit=-1), asked(source=["own"]), asked(source={}),
], ids=lambda values: repr(values)[:40])  # fmt: skip
def test_W6_the_ruler_refuses_what_no_form_would_send(services: Services, ruler: Any, values: list[object]) -> None:
    handlers, parts = ruler
    n = len(services.runs().ids())
    assert 'class="notice error"' in handlers.start(asking(), *values)[parts.said]
    assert len(services.runs().ids()) == n


def test_the_doctor_shows_the_first_prompt_as_sent_and_what_is_wrong_with_it(services: Services) -> None:
    said, found, scored = gr.HTML(), gr.HTML(), gr.HTML()
    handlers = DoctorHandlers(services, FIND, said, found, scored)
    *_, shown = handlers.look("choices", "off")
    text = words(shown[found])
    assert "The model was tuned to its chat template" in text and "the first prompt" in text and "Scored after" in text
    *_, both = handlers.both_ways("choices")
    assert "without the chat template" in words(both[scored])


@pytest.mark.parametrize(("task", "way"), [
    ("no_such_task", "off"), ("choices", "maybe"), (7, "on"), ("", "off"), ("choices", ["on"]), ("choices", {}),
])  # fmt: skip
def test_W6_the_doctor_refuses_what_no_form_would_send(services: Services, task: object, way: object) -> None:
    said, found, scored = gr.HTML(), gr.HTML(), gr.HTML()
    *_, shown = DoctorHandlers(services, FIND, said, found, scored).look(task, way)
    assert 'class="notice error"' in shown[said] and found not in shown


def test_files_are_tasks_for_the_owner_of_the_machine_only(tmp_path: Path) -> None:
    assert TaskNames(is_public=False)(str(tmp_path / "own.yaml")) == str(tmp_path / "own.yaml")
    with pytest.raises(SentenceError):
        TaskNames(is_public=True)(str(tmp_path / "own.yaml"))
