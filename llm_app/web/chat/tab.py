"""The Chat tab: three ways to look at what the model says, one in sight at a time."""

from collections.abc import Callable

import gradio as gr

from llm_app.services import Services
from llm_app.web import text
from llm_app.web.chat.compare import build_compare
from llm_app.web.chat.talk import Talk, build_talk
from llm_app.web.chat.tokens import build_tokens
from llm_app.web.html import html

# A mode is one file and one line here: the name of its label, and what builds it beside the conversation.
MODES: tuple[tuple[str, Callable[[gr.Blocks, Services, Talk], None]], ...] = (
    ("mode_compare", build_compare),
    ("mode_tokens", build_tokens),
)


def build_chat_tab(page: gr.Blocks, services: Services) -> None:
    """The tab's modes: the conversation, and what looks at it in other ways."""
    html(f'<p class="intro">{text.both("chat_intro")}</p>', elem_classes="beside-modes")
    with gr.Tabs(elem_classes="modes") as modes:
        with gr.Tab(text.label("mode_chat"), id="mode_chat"):
            talk = build_talk(page, services, modes)
        for name, build in MODES:
            with gr.Tab(text.label(name), id=name):
                build(page, services, talk)
