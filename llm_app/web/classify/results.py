"""What a run came to: its rows, scores, confusion, calibration, and the comparison with another classifier."""

from typing import Any

import gradio as gr

from llm_app.services import Services
from llm_app.web import text
from llm_app.web.buttons import small_button
from llm_app.web.classify.results_handlers import ResultHandlers
from llm_app.web.classify.results_parts import Parts
from llm_app.web.classify.results_shelf import ResultShelf
from llm_app.web.classify.rows_views import ORDER_NAMES
from llm_app.web.classify.tables import Tables
from llm_app.web.html import GONE, clicks, html, opener

QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
SLOW: dict[str, Any] = {
    "show_progress": "hidden", "api_visibility": "private", "concurrency_id": "classify-results",
    "concurrency_limit": 2,
}  # fmt: skip
IDLE_SECONDS = 5.0


def build_results(services: Services, tables: Tables, selected: gr.State, model: gr.Dropdown) -> None:
    """The part and its handlers. `selected`: the id of the run that is shown; `model`: the menu of classifiers."""
    with gr.Column(elem_id="classify-results", elem_classes=["results", GONE], min_width=0) as box:
        with gr.Row(elem_classes="run-acts", equal_height=False):
            csv, export, use = (
                small_button(name, elem_id)
                for name, elem_id in (
                    ("rows_csv", "classify-csv"), ("rows_export", "classify-export"), ("train_use", "classify-use"),
                )
            )  # fmt: skip
            save = gr.DownloadButton(
                text.label("result_download_file"), size="sm", scale=0, min_width=0, elem_classes=[GONE],
                elem_id="classify-download", variant="primary",
            )  # fmt: skip
        said = html("", elem_id="classify-results-notice", elem_classes="run-notice")
        with gr.Tabs(elem_classes="views"):
            with gr.Tab(text.label("result_view_rows"), id="result_view_rows"):
                order, chip, rows, position, back, on = _rows()
            with gr.Tab(text.label("result_view_scores"), id="result_view_scores"):
                scores = html("", elem_id="classify-scores")
            with gr.Tab(text.label("result_view_confusion"), id="result_view_confusion"):
                confusion = html("", elem_id="classify-confusion")
            with gr.Tab(text.label("result_view_calibration"), id="result_view_calibration"):
                calibration = html("", elem_id="classify-calibration")
                threshold = gr.Slider(
                    0.0, 1.0, value=0.5, step=0.01, label=text.label("threshold_slider"), elem_id="classify-threshold",
                    elem_classes=["option", GONE],
                )  # fmt: skip
                at_threshold = html("", elem_id="classify-at-threshold")
            with gr.Tab(text.label("result_view_versus"), id="result_view_versus"):
                other = gr.Dropdown(
                    [], label=text.label("versus_with"), interactive=True, min_width=0, elem_id="classify-other"
                )  # fmt: skip
                versus = html("", elem_id="classify-versus")
    parts = Parts(
        box, order, chip, rows, position, back, on, scores, confusion, calibration, threshold, at_threshold, other,
        versus, said, csv, export, use, save, model, opener(elem_id="classify-opener"), gr.Timer(IDLE_SECONDS),
        gr.State(None), gr.State(0), gr.State(()),
        gr.Textbox(visible="hidden", container=False, elem_id="classify-due"),
    )  # fmt: skip
    _connect(ResultHandlers(services, ResultShelf(tables), parts), parts, selected)


def _rows() -> tuple[Any, ...]:
    with gr.Row(elem_classes="sample-pages", equal_height=False):
        order = gr.Radio(
            [(text.label(name), value) for value, name in ORDER_NAMES.items()], value="all",
            label=text.label("rows_show"), show_label=False, container=False, min_width=0, elem_id="classify-order",
            elem_classes="segments",
        )  # fmt: skip
        position = html("", elem_id="classify-position")
        back = small_button("result_page_back", "classify-back")
        on = small_button("result_page_on", "classify-on")
    chip = html("", elem_id="classify-cell")
    rows = html("", elem_id="classified-rows", elem_classes="sample-list")
    return order, chip, rows, position, back, on


def _connect(handlers: ResultHandlers, parts: Parts, selected: gr.State) -> None:
    outputs = parts.all()
    asked = [selected, parts.order, parts.cell, parts.place]
    selected.change(handlers.show, [selected], outputs, **QUICK)
    # Once for each run that is over, in a lane of its own; the last one wins, however long the one before takes.
    # A state would not do: set outside the queue it tells nobody that it has changed.
    parts.due.change(handlers.figures, [selected], outputs, trigger_mode="always_last", **SLOW)
    parts.timer.tick(handlers.look, [*asked, parts.seen], outputs, **QUICK)
    parts.order.input(handlers.order, asked, outputs, **QUICK)
    parts.back.click(handlers.back, asked, outputs, **QUICK)
    parts.on.click(handlers.on, asked, outputs, **QUICK)
    clicks("#classify-confusion button[name=cell]").click(handlers.open_cell, asked, outputs, **QUICK)
    clicks("#classify-cell button[name=all]").click(handlers.close_cell, asked, outputs, **QUICK)
    parts.threshold.release(handlers.set_threshold, [selected, parts.threshold], outputs, **QUICK)
    parts.other.input(handlers.compare, [selected, parts.other], outputs, **SLOW)
    parts.csv.click(handlers.csv, [selected], outputs, **SLOW)
    parts.export.click(handlers.export, [selected], outputs, **SLOW)
    parts.use.click(handlers.use, [selected], outputs, **SLOW)
