"""The strip above all tabs: which model answers, in which numbers, in how much memory."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from gradio.components import Component

from llm_app.config import PRECISIONS, ModelConfig
from llm_app.engine import fit
from llm_app.options import options_of
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.html import clicks, html
from llm_app.web.model import views
from llm_app.web.model.handlers import IDLE_SECONDS, NO_ADAPTER, Strip, StripHandlers
from llm_app.web.options import Form, control


@dataclass(frozen=True)
class _Choices:
    """The controls of ModelConfig, in the order of its fields."""

    model: gr.Dropdown
    adapter: gr.Dropdown
    precision: gr.Dropdown
    device: gr.Dropdown
    context_length: Component

    def all(self) -> tuple[Component, ...]:
        """Every one of them."""
        return tuple(getattr(self, field.name) for field in fields(self))


def build_model_bar(page: gr.Blocks, services: Services) -> None:
    """The strip and its handlers. A public page shows the model and offers no choice."""
    is_private = not services.settings.is_public
    with gr.Row(elem_classes="strip", equal_height=False):
        html('<h1 class="brand">Proofbench</h1>', elem_classes="brand-box")
        model, adapter, precision = _choices(is_private)
        load = _button("load", "load", visible=is_private)
        cancel = _button("cancel", "cancel-load")
        unload = _button("unload", "unload")
        memory = html("", elem_id="memory")
        html(views.SWITCHES, elem_classes="switches-box")
    with gr.Row(elem_classes="status", equal_height=False):
        status = html("", elem_id="model-status")
        fit_line = html("", elem_id="fit")
        download = _button("download", "download", variant="primary")
        not_now = _button("not_now", "not-now")
        with gr.Accordion(
            text.label("model_more"), open=False, elem_classes="strip-more", elem_id="model-more"
        ) as more:
            with gr.Row(elem_classes="strip-fold", equal_height=False):
                device, context_length = _folded_choices(is_private)
            template = html(views.template_card(None, is_loaded=False), elem_id="template")
            show_prompt = gr.Button(text.label("show_prompt"), size="sm", elem_id="show-prompt")
            prompt = html("", elem_id="prompt")
            adapters = html("", elem_id="adapters", visible=is_private)
    choices = _Choices(model, adapter, precision, device, context_length)
    strip = Strip(
        memory, status, fit_line, gr.Timer(IDLE_SECONDS), gr.State(""),
        model, adapter, precision, load, cancel, unload, download, not_now,
        template, prompt, adapters,
    )  # fmt: skip
    handlers = StripHandlers(services, strip, Form(ModelConfig, choices.all()))
    _connect(page, handlers, strip)
    more.expand(handlers.details, None, [strip.template, strip.prompt, strip.adapters], **QUICK)
    show_prompt.click(handlers.show_prompt, None, [strip.prompt], **QUICK)
    if is_private:
        _connect_choices(page, handlers, strip, choices)


QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def _connect(page: gr.Blocks, handlers: StripHandlers, strip: Strip) -> None:
    """What every page has: how things stand."""
    page.load(handlers.look, [strip.seen], strip.watched(), **QUICK)
    strip.timer.tick(handlers.look, [strip.seen], strip.watched(), **QUICK)


def _connect_choices(page: gr.Blocks, handlers: StripHandlers, strip: Strip, choices: _Choices) -> None:
    """What a private page has besides: its owner's choice."""
    form, outputs = [*choices.all()], strip.watched()
    page.load(handlers.choices, None, [strip.fit, *form], **QUICK)
    strip.load.click(handlers.load, form, outputs, **QUICK)
    strip.cancel.click(handlers.cancel, None, outputs, **QUICK)
    strip.not_now.click(handlers.cancel, None, outputs, **QUICK)
    strip.download.click(handlers.fetch, None, outputs, **QUICK)
    strip.unload.click(handlers.unload, None, outputs, **QUICK)
    choices.adapter.input(handlers.switch_adapter, [choices.adapter], outputs, **QUICK)
    changes = [choices.model.input, choices.precision.input, choices.device.input, choices.context_length.change]
    estimated = [strip.fit, strip.load, strip.precision]
    gr.on(changes, handlers.estimate, form, estimated, **QUICK)
    clicks("#adapters button[name]", elem_id="adapter-presses").click(handlers.press_adapter, None, outputs, **QUICK)
    clicks("#fit button[name]", elem_id="fit-presses").click(handlers.use, form, estimated, **QUICK)


def _choices(is_private: bool) -> tuple[gr.Dropdown, gr.Dropdown, gr.Dropdown]:
    shared: dict[str, Any] = {"visible": is_private, "interactive": True, "min_width": 0}
    model = gr.Dropdown(**_words("model"), allow_custom_value=True, scale=2, elem_id="model", **shared)
    adapter = gr.Dropdown(
        [(text.label("adapter_absent"), NO_ADAPTER)], value=NO_ADAPTER, **_words("adapter"), allow_custom_value=True,
        scale=1, elem_id="adapter", **shared,
    )  # fmt: skip
    precision = gr.Dropdown(
        views.choices(views.PRECISION_NAMES, PRECISIONS), value="auto", **_words("precision"), filterable=False,
        scale=0, elem_id="precision", **shared,
    )  # fmt: skip
    return model, adapter, precision


def _folded_choices(is_private: bool) -> tuple[gr.Dropdown, Component]:
    device = gr.Dropdown(
        views.choices(views.DEVICE_NAMES, fit.devices()), value="auto", **_words("device"), filterable=False,
        visible=is_private, interactive=True, min_width=0, elem_id="device",
    )  # fmt: skip
    field, info = next((field, info) for field, info in options_of(ModelConfig) if field.name == "context_length")
    context_length = control(ModelConfig, field, info)
    context_length.elem_id, context_length.visible = "context-length", is_private
    return device, context_length


def _words(name: str) -> dict[str, Any]:
    """Label and help of an option."""
    return {
        "label": text.option_label(ModelConfig, name), "info": text.option_help(ModelConfig, name),
        "elem_classes": "option",
    }  # fmt: skip


def _button(name: str, elem_id: str, *, visible: bool | str = "hidden", variant: str = "secondary") -> gr.Button:
    return gr.Button(
        text.label(name), size="sm", visible=visible, variant=variant, scale=0, min_width=0, elem_id=elem_id
    )
