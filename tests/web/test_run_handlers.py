"""What happens around a run: no look undoes what a person did meanwhile."""

from collections.abc import Callable
from pathlib import Path

import gradio as gr
import pytest

from llm_app.jobs.folder import RunFolder, RunIsRunning
from llm_app.jobs.queue import Work
from llm_app.services import Services
from llm_app.web.benchmark.live import BenchmarkTally
from llm_app.web.runs.handlers import PAGE_RUNS, RunHandlers
from llm_app.web.runs.kind import Kind
from llm_app.web.runs.parts import Parts, Seen
from tests.web.made_results import choice_run
from tests.web.test_results import asking, services_of


def under_way(folder: RunFolder) -> Work:
    raise RunIsRunning(f"Run {folder.id} is under way already.", param="run")


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return services_of(tmp_path / "home")


@pytest.fixture
def parts() -> Parts:
    return Parts(
        gr.HTML(), gr.Button(), gr.Button(), gr.Button(), gr.Button(), gr.Row(), gr.Textbox(), gr.HTML(),
        gr.Accordion(), gr.HTML(), gr.Radio(), gr.HTML(), gr.HTML(), gr.Button(), gr.Button(), gr.Timer(),
        gr.State(()), gr.State(0), gr.State(Seen()), gr.Textbox(),
    )  # fmt: skip


@pytest.fixture
def handlers(services: Services, parts: Parts) -> RunHandlers:
    return RunHandlers(services, Kind(("benchmark",), BenchmarkTally, under_way, "<p>none</p>"), parts)


@pytest.fixture
def runs(services: Services) -> list[str]:
    """More than a page of them, newest first."""
    for day in range(1, PAGE_RUNS + 2):
        choice_run(services.runs(), [True], created=f"2026-01-{day:02}T08:00:00.000000")
    return services.runs().ids()


@pytest.mark.parametrize("act", [
    lambda handlers, run: handlers.look(asking(), (run,), 0, Seen(run)),
    lambda handlers, run: handlers.note(asking(), (run,), 0, Seen(run), "a remark"),
    lambda handlers, run: handlers.stop(asking(), (run,), 0, Seen(run)),
])  # fmt: skip
def test_a_look_in_flight_undoes_no_pick_and_no_turned_page(
    handlers: RunHandlers, parts: Parts, runs: list[str], act: Callable[..., dict[object, object]]
) -> None:
    update = act(handlers, runs[0])
    assert parts.seen in update and parts.watched not in update and parts.page not in update


def test_what_is_picked_and_turned_to_is_kept(handlers: RunHandlers, parts: Parts, runs: list[str]) -> None:
    assert handlers.pick(asking(), (runs[0],), 0, Seen(runs[0]), runs[2])[parts.watched] == (runs[2],)
    assert handlers.older(asking(), (runs[0],), 0, Seen(runs[0]))[parts.page] == 1
    assert handlers.newer(asking(), (runs[0],), 1, Seen(runs[0]))[parts.page] == 0
    assert handlers.older(asking(), (runs[0],), 1, Seen(runs[0]))[parts.page] == 1, "there is no third page"


def test_after_a_delete_the_next_run_is_watched(handlers: RunHandlers, parts: Parts, runs: list[str]) -> None:
    assert handlers.delete(asking(), (runs[0],), 0, Seen(runs[0]))[parts.watched] == (runs[1],)


def test_with_the_last_run_deleted_none_is_watched(handlers: RunHandlers, parts: Parts, services: Services) -> None:
    run = choice_run(services.runs(), [True]).id
    assert handlers.delete(asking(), (run,), 0, Seen(run))[parts.watched] == ()


def test_a_second_press_of_resume_does_not_bring_the_button_back(
    handlers: RunHandlers, parts: Parts, services: Services
) -> None:
    run = choice_run(services.runs(), [True], n_asked=9, ends=False).id
    *_, last = handlers.resume(asking(), (run,), 0, Seen(run))
    assert "under way already" in last[parts.notice] and parts.resume not in last
