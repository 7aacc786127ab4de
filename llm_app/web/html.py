"""HTML blocks of our own words."""

from typing import Any

import gradio as gr


def html(value: str, **where: Any) -> gr.HTML:
    """A block of HTML that is shown as it is: no padding, no styles and no script of gradio's own."""
    return gr.HTML(value, js_on_load=None, apply_default_css=False, padding=False, **where)


def shown(is_visible: bool) -> Any:
    """Show or hide a component. Hidden, not removed: one that is built anew forgets the language of the page."""
    return gr.update(visible=True if is_visible else "hidden")
