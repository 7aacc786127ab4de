"""Small buttons that stand in a row."""

from typing import Any

import gradio as gr

from llm_app.web import text


def small_button(name: str, elem_id: str, *classes: str, variant: Any = "secondary") -> gr.Button:
    """A button where it is called for, as wide as its words, which `name` finds."""
    return gr.Button(
        text.label(name), elem_id=elem_id, elem_classes=list(classes), variant=variant, size="sm", scale=0, min_width=0
    )  # fmt: skip
