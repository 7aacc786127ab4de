"""The Classify tab: what stands where, and which handler answers which event."""

from typing import Any

import gradio as gr

from llm_app.classify.config import IDLE, ClassifierConfig
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.searched import CLASSIFIER as SEARCH_KIND
from llm_app.jobs.train_outcome import CLASSIFIER_KIND, TAGGER_KIND
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.classify import start
from llm_app.web.classify.choice import Choice, build_choice, choices, connect_choice
from llm_app.web.classify.desk import Desk
from llm_app.web.classify.entities import EntityOptions, build_entities, build_entity_options, connect_entities, offered
from llm_app.web.classify.live import ClassifyTally
from llm_app.web.classify.one import build_one, connect_one
from llm_app.web.classify.results import build_results
from llm_app.web.classify.runs import KINDS, Runs
from llm_app.web.classify.scored_rows import build_scored_rows, connect_scored_rows
from llm_app.web.classify.search import build_search, connect_search, maker
from llm_app.web.classify.search_view import ClassifierSearchTally
from llm_app.web.classify.table import build_table, connect_table
from llm_app.web.classify.tables import Tables
from llm_app.web.classify.tagger_live import TaggerTally
from llm_app.web.classify.topics import TopicsForm, build_topics, build_topics_form, connect_topics
from llm_app.web.classify.train_live import ClassifierTally
from llm_app.web.classify.training import TrainingForm, begin_small, build_training
from llm_app.web.html import downloads, html
from llm_app.web.runs import panel
from llm_app.web.runs.follow import Tally
from llm_app.web.runs.kind import Kind
from llm_app.web.runs.trials import Trials
from llm_app.web.runs.views import ADVICE, Manner

ROWS = Manner("rows_of", "rows_per_second", "rows_per_minute", ADVICE | {
    "cancelled": "classify_advice_cancelled",
}, unknown=1)  # fmt: skip


def build_classify_tab(page: gr.Blocks, services: Services) -> None:
    """The tab's components and what they do."""
    tables = Tables()
    desk = Desk(services.settings, tables)
    runs = Runs(services, desk)
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
                    about, train, train_said = start.build_train(services)
                    scored_rows = build_scored_rows()
                    search = build_search(services)
                with gr.Tab(text.label("mode_classify_entities"), id="mode_classify_entities"):
                    entities = build_entities(services)
                with gr.Tab(text.label("mode_classify_topics"), id="mode_classify_topics"):
                    topics = build_topics()
            with gr.Column(elem_classes="classify-runs", min_width=0):
                card = panel.build_card("classify")
                results_place: Any = gr.Column(min_width=0)
                history = panel.build_history("classify")
        choice, training, entity_options, topics_form = _build_options(services)
    with results_place:
        build_results(services, tables, selected, choice.model)
    connect_choice(choice, one.text)
    connect_table(services, desk, table)
    connect_scored_rows(services, desk, scored_rows, table.parts)
    parts = start.Parts(facts, go, said, about, train, train_said, watched)
    start.connect_start(services, desk, runs, parts, table.parts.laid, choice, training)
    connect_one(page, services, one, choice)
    empty = f'<section class="run empty"><p>{text.both("no_classifying_yet")}</p></section>'
    kind = Kind(
        KINDS, lambda folder: _tally(folder, tables), runs.resume, empty, ROWS, keeps_body=True,
        aside=lambda tally: str(tally.aside()), is_elsewhere=Trials().is_over,
    )  # fmt: skip
    timer = panel.connect(page, services, kind, card, history, watched=watched, selected=selected)
    connect_search(
        services, search, maker(desk, runs, training, services.settings), table.parts.laid, training, watched=watched,
        timer=timer,
    )  # fmt: skip
    saver = downloads(elem_id="classify-saver")
    connect_entities(services, runs, *entities, entity_options, saver, watched=watched, selected=selected)
    connect_topics(services, desk, *topics, table.parts.laid, topics_form, saver)
    if isinstance(work.parent, gr.Tab):  # what was trained meanwhile stands in the menu
        work.parent.select(
            lambda tagger: (gr.update(choices=choices(services)), offered(services, tagger)), entity_options.tagger,
            [choice.model, entity_options.tagger], queue=False, show_progress="hidden", api_visibility="private",
        )  # fmt: skip


def _build_options(
    services: Services
) -> tuple[Choice, TrainingForm[ClassifierConfig], EntityOptions, TopicsForm]:
    """The options of every part; look/classify.css shows those of the part that is in sight."""
    with gr.Column(elem_classes="options", min_width=0), gr.Accordion(text.label("options"), elem_classes="panel"):
        with gr.Column(elem_classes="of-labels", min_width=0):
            choice = build_choice(services)
            with gr.Accordion(text.label("classify_training_fold"), open=False, elem_classes="fold"):
                training = build_training(ClassifierConfig, "classifier", IDLE)
            if services.settings.is_public:
                begin_small(training)
        with gr.Column(elem_classes="of-entities", min_width=0):
            entity_options = build_entity_options(services)
        with gr.Column(elem_classes="of-topics", min_width=0):
            topics_form = build_topics_form()
    return choice, training, entity_options, topics_form


def _tally(folder: RunFolder, tables: Tables) -> Tally:
    if folder.spec().get("kind") == SEARCH_KIND:
        return ClassifierSearchTally(folder)
    if folder.spec().get("kind") == TAGGER_KIND:
        return TaggerTally(folder)
    is_training = folder.spec().get("kind") == CLASSIFIER_KIND
    return ClassifierTally(folder) if is_training else ClassifyTally(folder, tables)
