"""After a training run: chat with it, ask whether it helped, merge and export it."""

from typing import Any

import gradio as gr

from llm_app.jobs.export_run import FORMS
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark.changes import KINDS, Changes
from llm_app.web.benchmark.results_cache import Shelf
from llm_app.web.benchmark.samples_controls import build_browser
from llm_app.web.buttons import small_button
from llm_app.web.html import GONE, html, opener
from llm_app.web.tune.after_handlers import AfterHandlers, Parts
from llm_app.web.tune.after_views import ADAPTER_FORM, form_choices

QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
SLOW: dict[str, Any] = {
    "show_progress": "hidden", "api_visibility": "private", "concurrency_id": "tune-after", "concurrency_limit": 2,
}  # fmt: skip


def build_after(services: Services, selected: gr.State, timer: gr.Timer) -> None:
    """The part and its handlers. `selected`: the id of the training run that is shown."""
    with gr.Column(elem_classes=["after", GONE], min_width=0, elem_id="tune-after") as box:
        with gr.Row(elem_classes="after-acts", equal_height=False):
            chat = small_button("tune_chat", "tune-chat", variant="primary")
            helped = small_button("tune_helped", "tune-helped")
            form = gr.Dropdown(
                form_choices(FORMS), value=ADAPTER_FORM, label=text.label("tune_form"), show_label=False,
                container=False, filterable=False, interactive=True, min_width=0, scale=0, elem_id="tune-form",
                elem_classes="pick-form",
            )  # fmt: skip
            export = small_button("tune_export", "tune-export")
            stop = small_button("stop", "tune-after-stop", GONE, variant="stop")
            fetch = small_button("tune_fetch", "tune-fetch", GONE)
            save = gr.DownloadButton(
                text.label("result_download_file"), size="sm", scale=0, min_width=0, elem_classes=[GONE],
                elem_id="tune-download", variant="primary",
            )  # fmt: skip
        notice = html("", elem_id="tune-after-notice", elem_classes="run-notice")
        exported = html("", elem_id="tune-exported")
        asking = html("", elem_id="tune-helped-progress")
        with gr.Column(elem_classes=["results", "helped", GONE], min_width=0, elem_id="tune-verdict-box") as result:
            verdict = html("", elem_id="tune-verdict")
            with gr.Accordion(text.label("tune_helped_samples"), open=False, elem_classes="fold"):
                browser = build_browser("helped", KINDS)
        tab = opener(elem_id="tune-opener")
    compared: gr.State = gr.State(())
    parts = Parts(
        box, chat, helped, form, export, stop, fetch, save, notice, exported, asking, result, verdict, tab, compared,
        gr.State(""), browser,
    )  # fmt: skip
    changes = Changes(services, Shelf(services.settings), browser)
    handlers = AfterHandlers(services, parts, changes)
    outputs = parts.all()
    gr.on([selected.change, timer.tick], handlers.look, [selected, parts.seen], outputs, **QUICK)
    chat.click(handlers.chat, [selected], outputs, **SLOW)
    helped.click(handlers.ask, [selected, parts.seen], outputs, **SLOW)
    export.click(handlers.export, [selected, form, parts.seen], outputs, **SLOW)
    stop.click(handlers.stop, [selected, parts.seen], outputs, **QUICK)
    fetch.click(handlers.fetch, [selected], outputs, **SLOW)
    browser.connect(changes, compared)
