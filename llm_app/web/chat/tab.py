"""The Chat tab: what stands where, and which handler answers which event."""

from typing import Any

import gradio as gr

from llm_app.config import SamplingConfig
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.chat import views
from llm_app.web.chat.handlers import MAX_MESSAGE_CHARACTERS, ChatHandlers, Parts
from llm_app.web.html import html
from llm_app.web.options import as_sent, build_form

MAX_HANDLERS = 48  # each holds one of the page's 64 threads while it waits for the next token
PUBLIC_HISTORY_SECONDS = 1_800  # how long a public page keeps a conversation after its last message
EXAMPLES = ("example_1", "example_2", "example_3")


def build_chat_tab(page: gr.Blocks, services: Services) -> None:
    """The tab's components and what they do."""
    html(f'<p class="intro">{text.both("chat_intro")}</p>')
    with gr.Row(elem_classes="work", equal_height=False):
        with gr.Column(elem_classes="bench", min_width=0):
            parts, examples = _bench(services)
        with gr.Column(elem_classes="options", min_width=0), gr.Accordion(text.label("options"), elem_classes="panel"):
            parts.context.render()
            system_prompt = as_sent(gr.Textbox(
                label=text.label("system_prompt"), info=text.label("system_prompt_help"), lines=2, max_lines=8,
                elem_classes="option", elem_id="system-prompt",
            ))  # fmt: skip
            form = build_form(SamplingConfig)
    handlers = ChatHandlers(page, services, parts, form)
    _connect(handlers, parts, examples, [system_prompt, *form.controls], services)


def _bench(services: Services) -> tuple[Parts, list[tuple[gr.Button, str]]]:
    with gr.Column(elem_classes="chat", min_width=0):
        conversation = gr.Chatbot(
            label=text.label("chat_log"), show_label=False, container=False, height="100%", layout="panel",
            editable="user", buttons=["copy"], sanitize_html=True, allow_tags=False, latex_delimiters=[],
            group_consecutive_messages=False, feedback_options=None, allow_file_downloads=False, elem_id="conversation",
        )  # fmt: skip
        with gr.Column(elem_classes="examples", min_width=0) as examples:
            html(f'<p class="ask">{text.both("ask")}</p>')
            # One button a language: the sentence that is sent is the one that was read.
            buttons = [
                (gr.Button(sentence, size="sm", elem_classes=["example", language]), sentence)
                for name in EXAMPLES
                for language, sentence in zip(("en", "zh"), text.STRINGS[name], strict=True)
            ]
    notice = html("", elem_id="chat-notice")
    with gr.Row(elem_classes="composer", equal_height=False):
        message = as_sent(gr.Textbox(
            label=text.label("message"), show_label=False, placeholder=text.label("message_hint"), container=False,
            lines=1, max_lines=8, max_length=MAX_MESSAGE_CHARACTERS, elem_id="message", scale=1,
        ))  # fmt: skip
        send = gr.Button(text.label("send"), variant="primary", elem_id="send", scale=0, min_width=0)
        stop = gr.Button(text.label("stop"), variant="stop", elem_id="stop", visible="hidden", scale=0, min_width=0)
        new = gr.Button(text.label("new_chat"), elem_id="new-chat", elem_classes="quiet", scale=0, min_width=0)
        undo = gr.Button(
            text.label("undo_clear"), visible="hidden", elem_id="undo-clear", elem_classes="quiet", scale=0, min_width=0
        )
    keep_seconds = PUBLIC_HISTORY_SECONDS if services.settings.is_public else None
    parts = Parts(
        conversation, examples, message, send, stop, new, undo, notice,
        context=html(views.context_bar(0, 0), render=False, elem_id="context"),
        history=gr.State([], time_to_live=keep_seconds),
        cleared=gr.State([], time_to_live=keep_seconds),
    )  # fmt: skip
    return parts, buttons


def _connect(
    handlers: ChatHandlers,
    parts: Parts,
    examples: list[tuple[gr.Button, str]],
    settings: list[Any],
    services: Services,
) -> None:
    outputs = parts.all()
    replies: dict[str, Any] = {
        "outputs": outputs, "show_progress": "hidden", "api_visibility": "private",
        "concurrency_id": "chat", "concurrency_limit": min(services.serve.max_streams, MAX_HANDLERS),
    }  # fmt: skip
    gr.on(
        [parts.send.click, parts.message.submit],
        handlers.send, [parts.message, parts.history, *settings], **replies,
    )  # fmt: skip
    for button, sentence in examples:
        button.click(handlers.example(sentence), [parts.history, *settings], **replies)
    parts.conversation.retry(handlers.regenerate, [parts.history, *settings], **replies)
    parts.conversation.edit(handlers.edit, [parts.history, *settings], **replies)

    at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    parts.stop.click(handlers.stop, None, None, **at_once)
    parts.new.click(handlers.clear, [parts.history], outputs, **at_once)
    parts.undo.click(handlers.bring_back, [parts.cleared], outputs, **at_once)
