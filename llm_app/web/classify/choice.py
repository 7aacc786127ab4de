"""Which classifier: the loaded chat model by prompt, or a trained one; its labels, its prompt as the model gets it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.labels import check_labels
from llm_app.classify.prompt import Prompt
from llm_app.classify.types import Item
from llm_app.jobs.classify_open import Asked, listed
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark.results_markup import block, passage
from llm_app.web.classify.classifiers import ZERO_SHOT
from llm_app.web.failures import SentenceError, failed
from llm_app.web.html import html
from llm_app.web.options import Form, build_form

MAX_NAME, MAX_LABELS_CHARACTERS = 500, 100_000
SHOWN_WORDS = 20
EMPTY_TEXT = Item("…", None)
COMMAS = str.maketrans({"，": ",", "、": ",", "\n": ","})
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class Choice:
    """The controls, in the order in which handlers get their values; the prompt that they make."""

    model: gr.Dropdown
    labels: gr.Textbox
    form: Form
    prompt: gr.HTML

    @property
    def controls(self) -> list[Component]:
        """Every one of them."""
        return [self.model, self.labels, *self.form.controls]

    def read(self, values: Sequence[object]) -> Asked:
        """What the values of the controls stand for; a trained classifier has labels of its own, a table may have some.

        Raises: UserError naming the field.
        """
        model, labels, *rest = values
        if not isinstance(model, str | None) or not isinstance(labels, str | None) or len(model or "") > MAX_NAME:
            raise SentenceError("wrong_value")
        if len(labels or "") > MAX_LABELS_CHARACTERS:
            raise SentenceError("wrong_value")
        name, found = (model or "").strip() or ZERO_SHOT, labels_in(labels or "")
        config: ZeroShotConfig = self.form.read(rest)
        if name != ZERO_SHOT:
            return Asked(name, (), config)
        return Asked(name, check_labels(found) if found else (), config)


def labels_in(words: str) -> tuple[str, ...]:
    """Labels one a line or apart by commas, also by those of Chinese."""
    return tuple(label.strip() for label in words.translate(COMMAS).split(",") if label.strip())


def typed(labels: Sequence[str]) -> str:
    """Labels as they are typed, of which `labels_in` makes the same again; empty if one of them has a comma in it."""
    words = ", ".join(labels)
    return words if labels_in(words) == tuple(labels) else ""


def build_choice(services: Services) -> Choice:
    """The controls, where they are called for."""
    model = gr.Dropdown(
        choices(services), value=ZERO_SHOT, label=text.label("classify_model"),
        info=text.label("classify_model_help"), allow_custom_value=not services.settings.is_public, min_width=0,
        elem_classes="option", elem_id="classify-model", interactive=True,
    )  # fmt: skip
    labels = gr.Textbox(
        label=text.label("classify_labels"), info=text.label("classify_labels_help"), lines=1, max_lines=6,
        placeholder=text.label("classify_labels_hint"), elem_classes="option", elem_id="classify-labels",
    )  # fmt: skip
    with gr.Accordion(text.label("classify_prompt_fold"), open=False, elem_classes="fold"):
        form = build_form(ZeroShotConfig, "zero-shot")
        prompt = html("", elem_id="classify-prompt")
    return Choice(model, labels, form, prompt)


def connect_choice(choice: Choice, words: gr.Textbox) -> None:
    """The prompt follows the form, with the text that stands beside it."""

    def shown(text_: object, *form: object) -> str:
        try:
            asked = choice.read((ZERO_SHOT, *form[1:]))
            if not asked.labels:
                return ""
            item = Item(text_) if isinstance(text_, str) and text_.strip() else EMPTY_TEXT
            return rendered(asked, item)
        except Exception as error:
            return "" if isinstance(error, SentenceError) else failed(error)

    events = [choice.labels.blur, words.blur]
    for control in choice.form.controls:
        events.append(control.blur if isinstance(control, gr.Textbox) else control.input)
    gr.on(events, shown, [words, *choice.controls], choice.prompt, **QUICK)


def rendered(asked: Asked, item: Item) -> str:
    """The prompt of one text, and the words that are scored after it. Raises: UserError for words that do not match."""
    prompt = Prompt(asked.zero_shot, asked.labels)
    words = " | ".join(prompt.continuations(prompt.text(item))[:SHOWN_WORDS])
    return (
        f'<h5>{text.both("classify_prompt_shown")}</h5>{block(passage(prompt.text(item), shows_spaces=True))}'
        f'<h5>{text.both("classify_prompt_then")}</h5>{block(passage(words, shows_spaces=True))}'
    )


def choices(services: Services) -> list[tuple[Any, str]]:
    """What the menu offers now."""
    trained = [(name, name) for name in listed(services.settings)]
    return [(text.label("classify_zero_shot"), ZERO_SHOT), *trained]
