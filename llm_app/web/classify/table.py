"""The table on the Classify tab: uploaded, pasted or the example; mended in place; its columns."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from llm_app.data.read import KINDS
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.buttons import small_button
from llm_app.web.classify.desk import HEADERS, MAX_PASTED, SEPARATORS, Desk
from llm_app.web.classify.table_handlers import KIND_NAMES, TableHandlers
from llm_app.web.classify.table_parts import Parts
from llm_app.web.html import GONE, html, memory
from llm_app.web.tune.data_draft import ENCODINGS

MAX_SPLIT = 8
HEADER_NAMES = {"names": "table_header_names", "data": "table_header_data"}
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}


@dataclass(frozen=True)
class TablePart:
    """What changes, and its buttons."""

    parts: Parts
    example: gr.Button
    bring: gr.Button
    read: gr.Button


def build_table() -> TablePart:
    """The components, in the place where it is called."""
    assert set(HEADER_NAMES) == set(HEADERS)
    with gr.Row(elem_classes="choose", equal_height=False):
        html(f"<h2>{text.both('table_title')}</h2>", elem_classes="step-box")
        example = small_button("table_example", "table-example")
        open_it = small_button("table_bring", "table-bring")
    with gr.Column(elem_classes=["own-panel", "bring", GONE], min_width=0) as panel:
        file = gr.File(
            label=text.label("table_file"), file_count="single", file_types=list(KINDS), height=96,
            elem_id="table-file",
        )  # fmt: skip
        brought = html("", elem_id="table-brought")
        paste = gr.Textbox(
            label=text.label("table_paste"), placeholder=text.label("table_paste_help"), lines=5, max_lines=14,
            max_length=MAX_PASTED, elem_id="table-paste",
        )  # fmt: skip
        with gr.Row(elem_classes="own-columns"):
            encoding = _choice("table_encoding", [(name, name) for name in ENCODINGS])
            separator = _choice("table_separator", [(text.label(name), sign) for sign, name in SEPARATORS.items()])
            header = _choice("table_header", [(text.label(name), value) for value, name in HEADER_NAMES.items()])
            read = gr.Button(text.label("table_read"), elem_id="table-read", size="sm", scale=0, min_width=0)
    notice = html("", elem_id="table-notice", elem_classes="run-notice")
    bad = html("", elem_id="table-bad")
    with gr.Column(elem_classes=["own-panel", "data-set", GONE], min_width=0) as box:
        about = html("", elem_id="table-about")
        with gr.Row(elem_classes="own-columns"):
            words, pair, truth = (_column(name) for name in ("text", "pair", "truth"))
            kind = gr.Dropdown(
                [(text.label(label), name) for name, label in KIND_NAMES.items()], label=text.label("table_kind"),
                filterable=False, interactive=True, min_width=110, elem_id="table-kind", elem_classes="option",
            )  # fmt: skip
            split = gr.Textbox(
                label=text.label("table_split"), max_lines=1, max_length=MAX_SPLIT, min_width=110,
                elem_id="table-split", elem_classes=["option", GONE],
            )  # fmt: skip
        drops = gr.Checkbox(False, label=text.label("table_drops"), elem_id="table-drops", elem_classes=[GONE])
        preview = html("", elem_id="table-preview")
    kept = memory("proofbench.classify-table", elem_id="table-kept")
    parts = Parts(
        gr.State(None), gr.State(False), panel, file, brought, paste, encoding, separator, header, notice, bad, box,
        about, words, pair, truth, kind, split, drops, preview, kept,
    )  # fmt: skip
    return TablePart(parts, example, open_it, read)


def connect_table(services: Services, desk: Desk, part: TablePart) -> None:
    """What they do."""
    parts = part.parts
    handlers, outputs = TableHandlers(services, desk, parts), parts.all()
    part.example.click(handlers.example, None, outputs, **QUICK)
    part.bring.click(handlers.bring, [parts.is_open], outputs, **QUICK)
    parts.file.upload(handlers.upload, [parts.file], outputs, **QUICK)
    part.read.click(handlers.read, [parts.laid, parts.paste, *parts.reading], outputs, **QUICK)
    changes = [control.input for control in parts.columns if control is not parts.split]
    gr.on([*changes, parts.split.blur], handlers.change, [parts.laid, *parts.columns], outputs, **QUICK)
    parts.kept.load(handlers.restore, None, outputs, **QUICK)


def _choice(name: str, choices: list[Any]) -> gr.Dropdown:
    return gr.Dropdown(
        [(text.label("encoding_auto"), "auto"), *choices], value="auto", label=text.label(name), filterable=False,
        interactive=True, min_width=110, elem_id=name.replace("_", "-"), elem_classes="option",
    )  # fmt: skip


def _column(name: str) -> gr.Dropdown:
    return gr.Dropdown(
        [], label=text.label(f"table_{name}_column"), interactive=True, min_width=130, elem_id=f"table-{name}-column",
        elem_classes="option",
    )  # fmt: skip
