"""A search for good settings of a classifier's training: Tune's own, over the table on the desk."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from llm_app.classify.config import ClassifierConfig
from llm_app.config import Settings
from llm_app.jobs.search import Search
from llm_app.jobs.store import RunStore
from llm_app.services import Services
from llm_app.training.search_config import SearchConfig
from llm_app.web import text
from llm_app.web.classify.command import training_command
from llm_app.web.classify.desk import Desk, Laid
from llm_app.web.classify.runs import Runs
from llm_app.web.classify.training import TrainingForm
from llm_app.web.tune.search import Fold, Maker, build_fold, connect_fold


def build_search(services: Services) -> Fold | None:
    """The fold, in the place where it is called; the leaderboard stands in the card of the tab's runs."""
    classes = ["fold", "tools"]
    with gr.Accordion(text.label("search_title"), open=False, elem_classes=classes, elem_id="classify-search"):
        return build_fold(services, "classifier-search", "classify_search_about", "classify_search_example")


def connect_search(
    services: Services, fold: Fold | None, make: Maker, laid: gr.State, training: TrainingForm[ClassifierConfig], *,
    watched: gr.State, timer: gr.Timer,
) -> None:  # fmt: skip
    """What it does. The run of a trial is shown in the same card."""
    if fold is not None:
        connect_fold(
            services, fold, make, [laid, *training.controls], card="classify-card", watched=watched, shown=watched,
            timer=timer,
        )  # fmt: skip


def maker(desk: Desk, runs: Runs, training: TrainingForm[ClassifierConfig], settings: Settings) -> Maker:
    """Makes a search, and its command, of what the forms say."""

    def search(store: RunStore, laid: Laid | None, values: Sequence[Any], search: SearchConfig) -> Search:
        return runs.search(desk.found(laid), training.read(values), search, store)

    def command(laid: Laid | None, values: Sequence[Any], search: SearchConfig) -> str:
        return training_command(desk.found(laid), training.read(values), settings, search)

    return Maker(search, command)
