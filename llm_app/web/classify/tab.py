"""The Classify tab: what stands where, and which handler answers which event."""

from typing import Any

import gradio as gr

from llm_app.jobs.classify_open import Classifiers
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.train_outcome import CLASSIFIER_KIND
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.classify import start
from llm_app.web.classify.choice import build_choice, choices, connect_choice
from llm_app.web.classify.desk import Desk
from llm_app.web.classify.live import ClassifyTally
from llm_app.web.classify.one import build_one, connect_one
from llm_app.web.classify.results import build_results
from llm_app.web.classify.runs import KINDS, Runs
from llm_app.web.classify.table import build_table, connect_table
from llm_app.web.classify.train_live import ClassifierTally
from llm_app.web.classify.training import build_training
from llm_app.web.html import html
from llm_app.web.runs import panel
from llm_app.web.runs.follow import Tally
from llm_app.web.runs.kind import Kind
from llm_app.web.runs.views import ADVICE, Manner

ROWS = Manner("rows_of", "rows_per_second", "rows_per_minute", ADVICE | {
    "cancelled": "classify_advice_cancelled",
}, unknown=1)  # fmt: skip


def build_classify_tab(page: gr.Blocks, services: Services) -> None:
    """The tab's components and what they do."""
    desk, classifiers = Desk(services.settings), Classifiers(services.host, services.settings)
    runs = Runs(services, desk, classifiers)
    watched, selected = gr.State(()), gr.State("")
    html(f'<p class="intro">{text.both("classify_intro")}</p>')
    with gr.Row(elem_classes="work classify", equal_height=False) as work:
        with gr.Column(elem_classes="steps", min_width=0):
            with gr.Tabs(elem_classes="views modes"):
                with gr.Tab(text.label("mode_classify_one"), id="mode_classify_one"):
                    one = build_one()
                with gr.Tab(text.label("mode_classify_table"), id="mode_classify_table", render_children=True):
                    table = build_table()
                    facts, go, said = start.build_start()
                with gr.Tab(text.label("mode_classify_train"), id="mode_classify_train", render_children=True):
                    about, train, train_said = start.build_train()
            with gr.Column(elem_classes="classify-runs", min_width=0):
                card = panel.build_card("classify")
                results_place: Any = gr.Column(min_width=0)
                history = panel.build_history("classify")
        with gr.Column(elem_classes="options", min_width=0), gr.Accordion(text.label("options"), elem_classes="panel"):
            choice = build_choice(services)
            with gr.Accordion(text.label("classify_training_fold"), open=False, elem_classes="fold"):
                training = build_training()
    with results_place:
        build_results(services, selected, choice.model)
    connect_choice(choice, one.text)
    connect_one(services, classifiers, one, choice)
    connect_table(services, desk, table)
    parts = start.Parts(facts, go, said, about, train, train_said, watched)
    start.connect_start(services, desk, classifiers, runs, parts, table.parts.laid, choice, training)
    empty = f'<section class="run empty"><p>{text.both("no_classifying_yet")}</p></section>'
    kind = Kind(KINDS, _tally, runs.resume, empty, ROWS, keeps_body=True, aside=lambda tally: str(tally.aside()))
    panel.connect(page, services, kind, card, history, watched=watched, selected=selected)
    if isinstance(work.parent, gr.Tab):  # what was trained meanwhile stands in the menu
        work.parent.select(
            lambda: gr.update(choices=choices(services)), None, choice.model, queue=False, show_progress="hidden",
            api_visibility="private",
        )  # fmt: skip


def _tally(folder: RunFolder) -> Tally:
    is_training = folder.spec().get("kind") == CLASSIFIER_KIND
    return ClassifierTally(folder) if is_training else ClassifyTally(folder)
