"""What happens around a run: no look undoes what a person did meanwhile."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from llm_app.jobs.folder import RunFolder, RunIsRunning
from llm_app.jobs.queue import Queue, Work
from llm_app.jobs.store import Run
from llm_app.jobs.trial_runs import LINK
from llm_app.services import Services
from llm_app.web.benchmark.live import BenchmarkTally
from llm_app.web.runs.handlers import PAGE_RUNS, RunHandlers
from llm_app.web.runs.kind import Kind
from llm_app.web.runs.parts import Parts, Seen
from llm_app.web.runs.trials import Trials
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
        gr.HTML(), gr.Button(), gr.Button(), gr.Button(), gr.Button(), gr.Row(), gr.HTML(), gr.Textbox(), gr.HTML(),
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


def test_a_run_that_begins_during_a_look_runs_in_the_list_as_it_does_on_the_card(
    services: Services, parts: Parts
) -> None:
    folder = choice_run(services.runs(), [True], n_asked=9, ends=False)

    class Begins(Queue):
        """Takes the run up between the reading of the list and that of the card."""

        def mark(self, runs: Iterable[Run]) -> list[Run]:
            found = super().mark(runs)
            if not folder.is_locked():
                taken.enter_context(folder)
            return found

    with contextlib.ExitStack() as taken:
        kind = Kind(("benchmark",), BenchmarkTally, under_way, "<p>none</p>")
        update = RunHandlers(replace(services, queue=Begins()), kind, parts).look(asking(), (folder.id,), 0, Seen())
    assert 'class="live"' in update[parts.rows] and 'class="run live"' in update[parts.card]


def test_after_a_delete_the_next_run_is_watched(handlers: RunHandlers, parts: Parts, runs: list[str]) -> None:
    assert handlers.delete(asking(), (runs[0],), 0, Seen(runs[0]))[parts.watched] == (runs[1],)


def test_the_question_names_what_goes_with_the_run(handlers: RunHandlers, parts: Parts, services: Services) -> None:
    run = services.runs().create({"kind": "benchmark"})
    assert "and adapters/" not in handlers.ask_delete(asking(), (run.id,), 0, Seen(run.id))[parts.asked]
    with run:
        run.append([{"type": "written", "name": "<mine>"}])
    (services.settings.adapters / "<mine>").mkdir(parents=True)
    (services.settings.adapters / "<mine>" / "proofbench.json").write_text(json.dumps({"run": run.id}))
    asked = handlers.ask_delete(asking(), (run.id,), 0, Seen(run.id))[parts.asked]
    assert "and adapters/&lt;mine&gt;?" in asked


def test_with_the_last_run_deleted_none_is_watched(handlers: RunHandlers, parts: Parts, services: Services) -> None:
    run = choice_run(services.runs(), [True]).id
    assert handlers.delete(asking(), (run,), 0, Seen(run))[parts.watched] == ()


def test_a_second_press_of_resume_does_not_bring_the_button_back(
    handlers: RunHandlers, parts: Parts, services: Services
) -> None:
    run = choice_run(services.runs(), [True], n_asked=9, ends=False).id
    *_, last = handlers.resume(asking(), (run,), 0, Seen(run))
    assert "under way already" in last[parts.notice] and parts.resume not in last


def test_a_run_of_a_model_that_is_not_loaded_offers_to_load_it_and_goes_on_then(
    services: Services, parts: Parts, tiny_llama: Path
) -> None:
    kind = Kind(("benchmark",), BenchmarkTally, under_way, "<p>none</p>", needs_model=True)
    handlers = RunHandlers(services, kind, parts)
    run = choice_run(services.runs(), [True], n_asked=9, ends=False, name=str(tiny_llama)).id
    *_, refused = handlers.resume(asking(), (run,), 0, Seen(run))
    assert "which is not loaded" in refused[parts.notice] and refused[parts.bring]["elem_classes"] == []
    *_, last = handlers.bring(asking(), (run,), 0, Seen(run))
    loaded = services.host.loaded
    assert (loaded.entry.path, loaded.precision, loaded.n_context) == (tiny_llama, "fp32", 128)
    assert "under way already" in last[parts.notice], "it was put in line"
    services.shutdown(0.0)


def test_closing_the_tab_while_the_model_of_a_run_is_loaded_gives_that_up(
    services: Services, parts: Parts, tiny_llama: Path
) -> None:
    kind = Kind(("benchmark",), BenchmarkTally, under_way, "<p>none</p>", needs_model=True)
    run = choice_run(services.runs(), [True], n_asked=9, ends=False, name=str(tiny_llama)).id
    bringing = RunHandlers(services, kind, parts).bring(asking(), (run,), 0, Seen(run))
    assert next(bringing) and "Loading" in next(bringing)[parts.notice]
    bringing.close()
    assert (services.host.status().phase, services.host.status().state) == (None, "empty")


def test_a_public_page_loads_no_model_for_a_run(tmp_path: Path, parts: Parts, tiny_llama: Path) -> None:
    services = services_of(tmp_path / "home", is_public=True)
    handlers = RunHandlers(
        services, Kind(("benchmark",), BenchmarkTally, under_way, "", needs_model=True), parts
    )
    run = choice_run(services.runs("m" * 43), [True], n_asked=9, ends=False, name=str(tiny_llama)).id
    *_, last = handlers.bring(asking("m" * 43), (run,), 0, Seen(run))
    assert "one fixed model" in last[parts.notice] and services.host.status().state == "empty"


def test_a_trial_that_is_over_stands_under_its_search_only(services: Services, parts: Parts) -> None:
    kind = Kind(("train",), BenchmarkTally, under_way, "", is_elsewhere=Trials().is_over)
    handlers, store = RunHandlers(services, kind, parts), services.runs()
    search = store.create({"kind": "search"})
    own, trial = (store.create({"kind": "train", "created": "2026-01-01T00:00:00"}) for _ in range(2))
    trial.write(LINK, json.dumps({"search": search.id, "trial": 0}))

    def listed() -> set[str]:
        return {run for _, run in handlers.look(asking(), (), 0, Seen())[parts.list]["choices"]}

    assert listed() == {own.id}
    with trial:
        assert listed() == {own.id, trial.id}, "what runs is seen"
    (trial.path / LINK).unlink()
    assert listed() == {own.id}, "whose trial it is was read once"
    shutil.rmtree(search.path)
    assert listed() == {own.id, trial.id}, "without its search it stands for itself"
