"""A search on the Tune tab that is over: it can be given more trials."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from llm_app.data.mix import DatasetSpec
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.search import Search
from llm_app.jobs.train_search import search_of, start_search
from llm_app.services import Services
from llm_app.training.config import TrainConfig
from llm_app.training.search_config import SearchConfig
from llm_app.web.options import Form
from llm_app.web.tune.search import Fold, Maker, SearchHandlers
from llm_app.web.tune.search_view import SearchTally
from tests.jobs.toy_trials import toy_search
from tests.web.test_results import asking, services_of, words
from tests.web.test_tune import STRANGE, a_file


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """With a place in the queue taken, so that what is put in line waits."""
    services = services_of(tmp_path / "home")
    services.queue.submit(toy_search(tmp_path / "toy", "learning_rate=1e-5..1e-3:log", pause=0.01)[0])
    yield services
    services.queue.close()
    services.shutdown(0.0)


@pytest.fixture
def handlers(services: Services) -> SearchHandlers:
    fold = Fold(Form(SearchConfig, ()), gr.Button(), gr.HTML(), gr.HTML())
    return SearchHandlers(services, Maker(no_search, str), fold, gr.State(()), gr.State(()), gr.Timer())


def no_search(*asked: object) -> Search:
    """These tests begin none on the page."""
    raise AssertionError(asked)


def search_over(services: Services, model: Path, data: Path, *, space: str, n_tried: int) -> RunFolder:
    """A search whose trials, so many, all ended."""
    asked = SearchConfig(space=(space,), trials=n_tried, minutes=5.0)
    work = start_search(str(model), [DatasetSpec(str(a_file(data)))], TrainConfig(), asked, services.settings)
    with work.folder as folder:
        for n in range(n_tried):
            folder.append([
                {"type": "trial", "trial": n, "params": {"rank": n + 1}},
                {"type": "trial_end", "trial": n, "state": "done", "steps": 4, "seconds": 1.0, "reason": None},
            ])  # fmt: skip
        folder.end("done")
    return work.folder


def press(name: Any, value: Any) -> gr.EventData:
    return gr.EventData(None, {"name": name, "value": value})


def body(folder: RunFolder) -> str:
    """Of the card of the run."""
    tally = SearchTally(folder)
    for event in folder.events():
        tally.add(event)
    return tally.body()


def test_a_search_that_is_over_is_given_more_trials_by_a_press_and_no_limit_of_time_keeps_it_from_them(
    services: Services, handlers: SearchHandlers, tiny_llama: Path, tmp_path: Path
) -> None:
    folder = search_over(services, tiny_llama, tmp_path, space="rank=1..64", n_tried=2)
    assert f'name="{folder.id}" value="20"' in body(folder) and "5 more trials" in words(body(folder))
    shown = handlers.more(asking(), press(folder.id, "20"))
    assert services.queue.status(folder.id).state == "queued" and (folder.id,) in shown.values()
    assert (search_of(folder).trials, search_of(folder).minutes) == (22, None)
    assert "more trials" not in body(folder), "one that goes on is not over"
    assert "under way already" in words(str(handlers.more(asking(), press(folder.id, "5")))), "W4: a second press"
    services.queue.cancel(folder.id)


@pytest.mark.parametrize(("n_values", "offered"), [(40, ["5", "20"]), (9, ["5", "7"]), (4, ["2"]), (2, [])])
def test_no_more_trials_are_offered_than_its_space_has_left(
    services: Services, tiny_llama: Path, tmp_path: Path, n_values: int, offered: list[str]
) -> None:
    space = "rank=" + ",".join(str(n + 1) for n in range(n_values))
    folder = search_over(services, tiny_llama, tmp_path, space=space, n_tried=2)
    assert [value for value in ("2", "5", "7", "20") if f'value="{value}"' in body(folder)] == offered
    assert ("All 2 settings of its space were tried" in words(body(folder))) == (not offered)


def test_a_search_that_has_tried_everything_is_not_put_in_line(
    services: Services, handlers: SearchHandlers, tiny_llama: Path, tmp_path: Path
) -> None:
    folder = search_over(services, tiny_llama, tmp_path, space="rank=1,2", n_tried=2)
    assert "All 2 settings" in words(str(handlers.more(asking(), press(folder.id, "5"))))
    assert services.runs().read(folder.id).status == "done"


@pytest.mark.parametrize("value", STRANGE)
def test_W6_nothing_is_searched_for_what_no_button_of_ours_sends(handlers: SearchHandlers, value: object) -> None:
    for event in (press(value, "5"), press("a" * 12, value)):
        (said,) = handlers.more(asking(), event).values()
        assert "request" in said
