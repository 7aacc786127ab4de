"""The settings of a training: what it begins from, the name of what comes of it, and its options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import gradio as gr
from gradio.components import Component

from llm_app.classify.config import ClassifierConfig
from llm_app.jobs.classify_public import METHODS
from llm_app.options import options_of
from llm_app.web import text
from llm_app.web.failures import SentenceError
from llm_app.web.html import unfolded
from llm_app.web.options import Form, build_form

MAX_NAME, MAX_BASE = 64, 500
Config = TypeVar("Config")


@dataclass(frozen=True)
class TrainingAsked(Generic[Config]):
    """What a training is to be, besides its data. `base` and `name`: None leaves them to the program."""

    config: Config
    base: str | None
    name: str | None


@dataclass(frozen=True)
class TrainingForm(Generic[Config]):
    """The controls, in the order in which handlers get their values.

    `idle`: method -> options that it makes no use of, which are out of sight then.
    """

    name: gr.Textbox
    base: gr.Textbox
    form: Form
    idle: Mapping[str, Sequence[str]]

    @property
    def controls(self) -> list[Component]:
        """Every one of them."""
        return [self.name, self.base, *self.form.controls]

    def read(self, values: Sequence[object]) -> TrainingAsked[Config]:
        """What the values of the controls stand for.

        Raises: UserError naming the field.
        """
        name, base, *rest = values
        for words, limit in ((name, MAX_NAME), (base, MAX_BASE)):
            if not isinstance(words, str | None) or len(words or "") > limit:
                raise SentenceError("wrong_value")
        config: Config = self.form.read(self._in_sight(rest))
        return TrainingAsked(config, str(base or "").strip() or None, str(name or "").strip() or None)

    @property
    def method(self) -> gr.Dropdown:
        """What decides which options are idle."""
        found = self.form.controls[self._names.index("method")]
        assert isinstance(found, gr.Dropdown)
        return found

    def show(self, method: object) -> list[dict[str, Any]]:
        """The options of the form, in their order, but those that this method makes no use of."""
        idle = self._idle(method)
        return [unfolded(name not in idle, "option") for name in self._names]

    @property
    def _names(self) -> list[str]:
        return [field.name for field, _ in options_of(self.form.config)]

    def _idle(self, method: object) -> Sequence[str]:
        return self.idle.get(method, ()) if isinstance(method, str) else ()

    def _in_sight(self, values: Sequence[object]) -> Sequence[object]:
        """With the defaults of options that are out of sight: what was typed there before is not meant."""
        names = self._names
        if len(values) != len(names):
            return values
        idle = self._idle(values[names.index("method")])
        found = zip(names, self.form.controls, values, strict=True)
        return [getattr(control, "value", value) if name in idle else value for name, control, value in found]


def build_training(config: type[Config], what: str, idle: Mapping[str, Sequence[str]]) -> TrainingForm[Config]:
    """The controls, where they are called for. `what`: is trained, classifier or tagger; begins names of elements."""
    name, base = (
        gr.Textbox(
            label=text.label(label), info=text.label(info), max_lines=1,
            max_length=limit, elem_classes="option", elem_id=f"{what}-{part}",
        )
        for part, limit, label, info in (
            ("name", MAX_NAME, f"training_name_{what}", f"training_name_help_{what}"),
            ("base", MAX_BASE, f"training_base_{what}", f"training_base_help_{what}"),
        )
    )  # fmt: skip
    training = TrainingForm[Config](name, base, build_form(config, what), idle)
    method, controls = training.method, list(training.form.controls)
    method.choices = [(text.label(f"train_method_{value}"), value) for _, value in method.choices]
    for control, shown in zip(controls, training.show(method.value), strict=True):
        control.elem_classes = shown["elem_classes"]
    method.change(training.show, method, controls, queue=False, show_progress="hidden", api_visibility="private")
    return training


def begin_small(training: TrainingForm[ClassifierConfig]) -> None:
    """As on a public page: it begins with a method that is trained there, and without what is not taken there."""
    training.name.visible = training.base.visible = False
    training.method.value = METHODS[0]
