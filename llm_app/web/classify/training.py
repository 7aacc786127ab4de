"""The settings of a classifier's training: what it begins from, the name of what comes of it, and its options."""

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from llm_app.classify.config import ClassifierConfig
from llm_app.web import text
from llm_app.web.failures import SentenceError
from llm_app.web.options import Form, build_form

MAX_NAME, MAX_BASE = 64, 500


@dataclass(frozen=True)
class TrainingAsked:
    """What a training is to be, besides its table. `base` and `name`: None leaves them to the program."""

    config: ClassifierConfig
    base: str | None
    name: str | None


@dataclass(frozen=True)
class TrainingForm:
    """The controls, in the order in which handlers get their values."""

    name: gr.Textbox
    base: gr.Textbox
    form: Form

    @property
    def controls(self) -> list[Component]:
        """Every one of them."""
        return [self.name, self.base, *self.form.controls]

    def read(self, values: Sequence[object]) -> TrainingAsked:
        """What the values of the controls stand for.

        Raises: UserError naming the field.
        """
        name, base, *rest = values
        for words, limit in ((name, MAX_NAME), (base, MAX_BASE)):
            if not isinstance(words, str | None) or len(words or "") > limit:
                raise SentenceError("wrong_value")
        config: ClassifierConfig = self.form.read(rest)
        return TrainingAsked(config, str(base or "").strip() or None, str(name or "").strip() or None)


def build_training() -> TrainingForm:
    """The controls, where they are called for."""
    name, base = (
        gr.Textbox(
            label=text.label(f"classify_{what}"), info=text.label(f"classify_{what}_help"), max_lines=1,
            max_length=limit, elem_classes="option", elem_id=f"classifier-{what}",
        )
        for what, limit in (("name", MAX_NAME), ("base", MAX_BASE))
    )  # fmt: skip
    return TrainingForm(name, base, build_form(ClassifierConfig, "classifier"))
