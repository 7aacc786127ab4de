"""Data of the coming training run: example data, uploads, paths; the layout of each, and its weight."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from llm_app.data.formats import COLUMNS, LAYOUTS
from llm_app.data.mix import MAX_WEIGHT
from llm_app.data.read import KINDS
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.html import GONE, html, memory
from llm_app.web.tune.data_draft import ENCODINGS
from llm_app.web.tune.data_handlers import DataHandlers
from llm_app.web.tune.data_parts import Panel, Parts
from llm_app.web.tune.settings import SettingsForm

LAYOUT_NAMES = {name: f"layout_{name}" for name in LAYOUTS}
COLUMN_NAMES = {name: f"column_{name}" for name in COLUMNS}
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}
MAX_SPLIT = 100


@dataclass(frozen=True)
class DataPart:
    """The part: what changes, and its buttons by what they do."""

    parts: Parts
    buttons: dict[str, gr.Button]

    @property
    def data(self) -> gr.State:
        """The data sets, as a tuple of DatasetSpec."""
        return self.parts.data


def build_data(services: Services) -> DataPart:
    """The components, in the place where it is called."""
    with gr.Row(elem_classes="choose", equal_height=False):
        html(f"<h2>{text.both('tune_data')}</h2>", elem_classes="step-box")
        example = _button("tune_use_example", "tune-example")
        answers = _button("tune_use_answers", "tune-answers", visible="hidden")
        votes = _button("tune_use_votes", "tune-votes", visible="hidden")
        bring = _button("tune_add_data", "tune-add")
    with gr.Column(elem_classes=["own-panel", "bring", GONE], min_width=0) as panel:
        file = gr.File(
            label=text.label("tune_file"), file_count="multiple", file_types=list(KINDS), height=112,
            elem_id="tune-file",
        )  # fmt: skip
        with gr.Row(elem_classes="find", equal_height=False, visible=not services.settings.is_public):
            path = gr.Textbox(
                label=text.label("tune_path"), placeholder=text.label("tune_path_hint"), show_label=False,
                container=False, max_lines=1, max_length=1_000, min_width=0, elem_id="tune-path",
            )  # fmt: skip
            take = _button("tune_take", "tune-take")
    said = html("", elem_id="tune-data-notice", elem_classes="run-notice")
    with gr.Column(elem_classes="pick-rows", min_width=0):
        rows = html("", elem_id="tune-data-rows")
        radio = gr.Radio(
            [], label=text.label("tune_data_sets"), show_label=False, container=False, elem_id="tune-data-list"
        )  # fmt: skip
    chosen = _panel()
    kept = memory("proofbench.tune-data", elem_id="tune-kept")
    parts = Parts(
        gr.State(()), file, path, said, rows, radio, panel, chosen, gr.State(False), answers, votes, kept
    )  # fmt: skip
    return DataPart(parts, {"example": example, "bring": bring, "take": take})


def _panel() -> Panel:
    """What is known of one data set, and how it is read."""
    with gr.Column(elem_classes=["own-panel", "data-set", GONE], min_width=0) as box:
        about = html("", elem_id="tune-data-about")
        with gr.Row(elem_classes="own-columns"):
            layout = gr.Dropdown(
                [(text.label(label), name) for name, label in LAYOUT_NAMES.items()], label=text.label("tune_layout"),
                filterable=False, interactive=True, min_width=150, elem_id="tune-layout", elem_classes="option",
            )  # fmt: skip
            weight = gr.Number(
                1.0, label=text.label("tune_weight"), info=text.label("tune_weight_help"), minimum=0.01,
                maximum=MAX_WEIGHT, step=0.1, min_width=110, elem_id="tune-weight", elem_classes="option",
            )  # fmt: skip
            encoding = gr.Dropdown(
                [(text.label("encoding_auto"), "auto"), *((name, name) for name in ENCODINGS)], value="auto",
                label=text.label("tune_encoding"), filterable=False, interactive=True, min_width=110,
                elem_id="tune-encoding", elem_classes="option",
            )  # fmt: skip
        with gr.Accordion(text.label("tune_columns"), open=False, elem_classes="fold", elem_id="tune-columns") as fold:
            with gr.Row(elem_classes="own-columns"):
                columns = {
                    name: gr.Dropdown(
                        [], label=text.label(label), interactive=True, min_width=150,
                        elem_id=f"tune-column-{name}", elem_classes=["option", GONE],
                    )
                    for name, label in COLUMN_NAMES.items()
                }  # fmt: skip
                split_at = gr.Textbox(
                    label=text.label("tune_split_at"), info=text.label("tune_split_at_help"), lines=1, max_lines=3,
                    max_length=MAX_SPLIT, min_width=150, elem_id="tune-split-at", elem_classes=["option", GONE],
                )  # fmt: skip
            is_chat = gr.Checkbox(True, label=text.label("tune_is_chat"), elem_id="tune-is-chat", elem_classes=[GONE])
        preview = html("", elem_id="tune-preview")
        bad = html("", elem_id="tune-bad-rows")
        with gr.Row(elem_classes="own-buttons"):
            remove = _button("tune_remove", "tune-remove", "quiet")
    return Panel(box, about, layout, weight, encoding, fold, columns, split_at, is_chat, preview, bad, remove)


def connect_data(services: Services, part: DataPart, settings: SettingsForm, tab: Any) -> None:
    """What they do, once the settings stand: votes are for preference tuning."""
    parts, buttons, objective = part.parts, part.buttons, settings.control("objective")
    handlers = DataHandlers(services, parts)
    outputs, chosen = parts.all(), parts.chosen
    form = [parts.data, parts.radio, *chosen.inputs]
    buttons["example"].click(handlers.example, [parts.data], outputs, **QUICK)
    parts.answers.click(handlers.answers, [parts.data], outputs, **QUICK)
    parts.votes.click(handlers.votes(objective), [parts.data], [*outputs, objective], **QUICK)
    parts.kept.load(handlers.restore, None, outputs, **QUICK)
    if isinstance(tab, gr.Tab):
        tab.select(handlers.arrive, None, [parts.answers, parts.votes], **QUICK)
    buttons["bring"].click(handlers.bring, [parts.is_open], outputs, **QUICK)
    parts.file.upload(handlers.upload, [parts.data, parts.file], outputs, **QUICK)
    gr.on([buttons["take"].click, parts.path.submit], handlers.take, [parts.data, parts.path], outputs, **QUICK)
    parts.radio.input(handlers.pick, [parts.data, parts.radio], outputs, **QUICK)
    chosen.remove.click(handlers.remove, [parts.data, parts.radio], outputs, **QUICK)
    changes = [control.input for control in (chosen.layout, chosen.encoding, chosen.is_chat, *chosen.columns.values())]
    changes += [chosen.weight.submit, chosen.weight.blur, chosen.split_at.blur]
    gr.on(changes, handlers.change, form, outputs, **QUICK)


def _button(name: str, elem_id: str, *classes: str, visible: bool | str = True) -> gr.Button:
    return gr.Button(
        text.label(name), elem_id=elem_id, elem_classes=list(classes), size="sm", scale=0, min_width=0, visible=visible
    )  # fmt: skip
