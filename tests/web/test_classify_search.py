"""A search over trainings on the Classify tab: what is shown of it, and what it makes of the forms."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from llm_app.classify.config import IDLE, ClassifierConfig
from llm_app.classify.table import Columns
from llm_app.data.mix import DatasetSpec
from llm_app.jobs.classifier import ClassifierData, config_of
from llm_app.jobs.train_search import search_of as asked_of
from llm_app.services import Services
from llm_app.training.search_config import SearchConfig
from llm_app.web.classify.desk import EXAMPLE, Desk, Laid
from llm_app.web.classify.runs import Runs
from llm_app.web.classify.scored_rows import ScoredRowsHandlers, build_scored_rows
from llm_app.web.classify.search import build_search, maker
from llm_app.web.classify.search_view import ClassifierSearchTally
from llm_app.web.classify.table import build_table
from llm_app.web.classify.tables import Tables
from llm_app.web.classify.training import TrainingForm, build_training
from llm_app.web.failures import SentenceError
from llm_app.web.tune.search import SearchHandlers
from tests.jobs.test_classifier_search import search_of
from tests.web.test_results import asking, services_of, words

ALONE = SearchConfig(space=("method=tfidf",), trials=1)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = services_of(tmp_path / "home")
    yield services
    services.queue.close()
    services.shutdown(0.0)


@pytest.fixture
def form() -> TrainingForm[ClassifierConfig]:
    with gr.Blocks():
        return build_training(ClassifierConfig, "classifier", IDLE)


def values_of(form: TrainingForm[ClassifierConfig]) -> list[Any]:
    """As the page opens."""
    return [getattr(control, "value", None) for control in form.controls]


@pytest.mark.parametrize(("test", "said"), [(0.2, "the test rows chose nothing"), (0.0, "its scores flatter")])
def test_the_best_is_told_with_the_rows_that_it_was_chosen_on(test: float, said: str, services: Services) -> None:
    data = ClassifierData(DatasetSpec(str(EXAMPLE)), Columns("text", truth="label"))
    search = search_of(data, services.settings, ALONE, ClassifierConfig(method="tfidf", test=test))
    list(search.run())
    tally = ClassifierSearchTally(search.folder)
    for event in search.folder.events():
        tally.add(event)
    shown = words(tally.body())
    assert said in shown and "Validation accuracy ↑" in shown and "majority label" in shown
    assert "Validation accuracy ↑" in words(tally.aside())


def test_the_forms_make_a_search_over_the_table_on_the_desk(
    services: Services, form: TrainingForm[ClassifierConfig]
) -> None:
    desk = Desk(services.settings, Tables())
    make, store = maker(desk, Runs(services, desk), form, services.settings).search, services.runs()
    asked = SearchConfig(space=("learning_rate=1e-5..1e-3:log",), trials=3)
    search = make(store, Laid(str(EXAMPLE)), values_of(form), asked)
    spec = search.folder.spec()
    assert (config_of(spec), asked_of(search.folder)) == (ClassifierConfig(), asked)
    assert spec["datasets"][0]["name"] == EXAMPLE.name and spec["columns"]["truth"] == "label"
    with pytest.raises(SentenceError):  # there is no table
        make(store, None, values_of(form), asked)
    with pytest.raises(SentenceError):  # nothing says what is true
        make(store, Laid(str(EXAMPLE), columns=Columns("text")), values_of(form), asked)
    assert len(store.ids()) == 1


def test_the_form_of_a_search_shows_its_command_once_it_says_enough(
    services: Services, form: TrainingForm[ClassifierConfig]
) -> None:
    desk = Desk(services.settings, Tables())
    with gr.Blocks():
        fold = build_search(services)
    assert fold is not None
    make = maker(desk, Runs(services, desk), form, services.settings)
    handlers = SearchHandlers(services, make, fold, gr.State(()), gr.State(()), gr.Timer())
    trial, laid = values_of(form), Laid(str(EXAMPLE))
    shown = words(handlers.command(laid, *trial, "method=tfidf", "grid", 3, None))
    assert "Show the command" in shown and "classify search" in shown and "--space method=tfidf" in shown
    assert "--strategy grid --trials 3" in shown and "--truth-column label" in shown
    assert handlers.command(laid, *trial, "", "grid", 3, None) == "", "nothing to be tried"
    assert handlers.command(None, *trial, "method=tfidf", "grid", 3, None) == "", "no table"


def test_rows_for_the_scores_alone_lie_beside_the_table_and_reach_every_training(
    services: Services, form: TrainingForm[ClassifierConfig], tmp_path: Path
) -> None:
    desk = Desk(services.settings, Tables())
    with gr.Blocks():
        table, rows = build_table().parts, build_scored_rows()
    handlers = ScoredRowsHandlers(services, desk, rows, table)
    (tmp_path / "test.csv").write_text("text,label\nsuch a fine thing,praise\nnot labelled,\n", encoding="utf-8")
    (tmp_path / "other.csv").write_text("words,label\nfine,praise\n", encoding="utf-8")
    laid = desk.read(Laid(str(EXAMPLE))).laid
    refused = handlers.upload(asking(), str(tmp_path / "other.csv"), laid)
    assert "no column" in refused[rows.about] and table.laid not in refused
    beside = handlers.upload(asking(), str(tmp_path / "test.csv"), laid)[table.laid]
    assert "test.csv: 1 rows with a label, for the scores alone" in handlers.show(beside)[rows.about]
    search = maker(desk, Runs(services, desk), form, services.settings).search
    asked = SearchConfig(space=("learning_rate=1e-5..1e-3:log",))
    spec = search(services.runs(), beside, values_of(form), asked).folder.spec()
    assert [dataset["name"] for dataset in spec["datasets"]] == [EXAMPLE.name, "test.csv"]
    assert handlers.drop(beside)[table.laid] == laid
