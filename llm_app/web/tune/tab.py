"""The Tune tab: what stands where, and which handler answers which event."""

from typing import Any

import gradio as gr

from llm_app.jobs.train import KIND
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.html import html
from llm_app.web.runs import panel
from llm_app.web.runs.kind import Kind
from llm_app.web.runs.trials import Trials
from llm_app.web.runs.views import ADVICE, Manner
from llm_app.web.tune.after import build_after
from llm_app.web.tune.data import build_data, connect_data
from llm_app.web.tune.discard import build_discard
from llm_app.web.tune.live import TrainTally
from llm_app.web.tune.overlay import build_overlay
from llm_app.web.tune.search import build_search
from llm_app.web.tune.settings import build_settings
from llm_app.web.tune.start import build_start, connect_start
from llm_app.web.tune.trainings import Trainings

STEPS = Manner("steps_of", "steps_per_second", "steps_per_minute", ADVICE | {
    "cancelled": "tune_advice_cancelled", "interrupted": "tune_advice_interrupted", "failed": "tune_advice_failed",
}, unknown=1)  # fmt: skip


def build_tune_tab(page: gr.Blocks, services: Services) -> None:
    """The tab's components and what they do."""
    trainings = Trainings(services)
    watched, selected, timer = gr.State(()), gr.State(""), gr.Timer(2.0)
    html(f'<p class="intro">{text.both("tune_intro")}</p>')
    with gr.Row(elem_classes="work", equal_height=False) as work:
        with gr.Column(elem_classes="steps", min_width=0):
            data = build_data(services)
            start = build_start(services, data.data, watched)
            card = panel.build_card("tune", "tune_stop_save")
            build_discard(services, trainings, card, selected)
            build_after(services, selected, timer)
            history = panel.build_history("tune")
            build_overlay(services, selected)
            search_place: Any = gr.Column(min_width=0)
        with gr.Column(elem_classes="options", min_width=0), gr.Accordion(text.label("options"), elem_classes="panel"):
            settings = build_settings(page, services)
            with gr.Accordion(text.label("show_command"), open=False, elem_classes="fold"):
                start.command.render()
    with search_place:
        build_search(page, services, settings, data.data, watched)
    connect_data(services, data, settings, work.parent)
    empty = f'<section class="run empty"><p>{text.both("no_tuning_yet")}</p></section>'
    kind = Kind(
        (KIND,), TrainTally, trainings.resume, empty, STEPS, keeps_body=True, aside=TrainTally.aside,
        is_elsewhere=Trials().is_over,
    )  # fmt: skip
    panel.connect(page, services, kind, card, history, watched=watched, selected=selected)
    connect_start(services, trainings, start, settings)
