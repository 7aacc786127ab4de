"""HTML blocks of our own words."""

from typing import Any

import gradio as gr


def html(value: str, **where: Any) -> gr.HTML:
    """A block of HTML that is shown as it is: no padding, no styles and no script of gradio's own."""
    return gr.HTML(value, js_on_load=None, apply_default_css=False, padding=False, **where)
