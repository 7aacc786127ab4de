"""The settings of a training run: the model it begins from, the name of what comes of it, and its options."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from llm_app.engine import catalog
from llm_app.errors import UserError
from llm_app.jobs import train_public
from llm_app.options import options_of
from llm_app.services import Services
from llm_app.training.config import TrainConfig
from llm_app.web import text
from llm_app.web.failures import SentenceError
from llm_app.web.options import Form, build_form

MAX_NAME, MAX_MODEL = 64, 500


@dataclass(frozen=True)
class Asked:
    """What a training run is to be, besides its data. `name`: None leaves it to the program."""

    model: str
    name: str | None
    config: TrainConfig


@dataclass(frozen=True)
class SettingsForm:
    """The controls, in the order in which handlers get their values."""

    model: gr.Dropdown
    name: gr.Textbox
    form: Form

    @property
    def controls(self) -> list[Component]:
        """Every one of them."""
        return [self.model, self.name, *self.form.controls]

    def control(self, name: str) -> Component:
        """The control of one option."""
        names = [field.name for field, _ in options_of(TrainConfig)]
        return self.form.controls[names.index(name)]

    def read(self, values: Sequence[object]) -> Asked:
        """What the values of the controls stand for.

        Raises: UserError naming the field.
        """
        model, name, *rest = values
        if not isinstance(model, str) or not isinstance(name, str | None) or len(model) > MAX_MODEL:
            raise SentenceError("wrong_value")
        if not model.strip():
            raise SentenceError("tune_no_model")
        config: TrainConfig = self.form.read(rest)
        return Asked(model.strip(), (name or "").strip() or None, config)


def build_settings(page: gr.Blocks, services: Services) -> SettingsForm:
    """The controls, where they are called for."""
    model = gr.Dropdown(
        _models(services), value=_chosen(services), label=text.label("tune_model"), info=text.label("tune_model_help"),
        allow_custom_value=not services.settings.is_public, min_width=0, elem_classes="option", elem_id="tune-model",
        interactive=True,
    )  # fmt: skip
    name = gr.Textbox(
        label=text.label("tune_name"), info=text.label("tune_name_help"), max_lines=1, max_length=MAX_NAME,
        elem_classes="option", elem_id="tune-name", visible=not services.settings.is_public,
    )  # fmt: skip
    form = build_form(TrainConfig, "tune")
    if services.settings.is_public:
        for (field, _), control in zip(options_of(TrainConfig), form.controls, strict=True):
            if field.name in train_public.DEFAULTS:
                value = train_public.DEFAULTS[field.name]
                control.value = str(value) if isinstance(control, gr.Textbox) else value

    def models() -> dict[str, Any]:
        return gr.update(choices=_models(services), value=_chosen(services))

    page.load(models, None, [model], queue=False, show_progress="hidden", api_visibility="private")
    return SettingsForm(model, name, form)


def _models(services: Services) -> list[tuple[str, str]]:
    return [(entry.title, entry.name) for entry in catalog.list_models(services.settings)]


def _chosen(services: Services) -> str:
    """The model that answers now; else the one that comes with the program."""
    try:
        return services.host.loaded.entry.name
    except UserError:
        return catalog.EMBEDDED
