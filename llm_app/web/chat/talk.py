"""The conversation: what stands where, and which handler answers which event."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from llm_app.config import SamplingConfig
from llm_app.conversations.presets import PresetStore
from llm_app.conversations.shelf import MAX_GRAVES
from llm_app.conversations.store import ConversationStore
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.chat.asking import MAX_MESSAGE_CHARACTERS
from llm_app.web.chat.handlers import ChatHandlers
from llm_app.web.chat.keep import KeepHandlers, KeepParts, build_keep
from llm_app.web.chat.parts import Parts
from llm_app.web.chat.presets import PresetHandlers, build_presets
from llm_app.web.html import clicks, html, memory, shared_rows
from llm_app.web.options import Form, build_form

MAX_HANDLERS = 48  # each holds one of the page's 64 threads while it waits for the next token
PUBLIC_HISTORY_SECONDS = 1_800  # how long a public page's memory holds a conversation after its last message
EXAMPLES = ("example_1", "example_2", "example_3")
# gradio's BrowserState scrambles what it stores; with a key of each start's own, nothing could be read after a restart.
BROWSER_KEY = "proofbench"
ACTS = "#conversation .line button[name], #chat-notice button[name]"
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class Talk:
    """What other modes of the tab may use of the conversation."""

    handlers: ChatHandlers
    parts: Parts
    settings: list[Any]  # the system prompt and the sampling options, as the handlers take them
    form: Form
    modes: gr.Tabs
    replies: dict[str, Any]  # how events that ask the model are queued
    refresh: Callable[[Any], None]  # the list follows an event

    @property
    def history(self) -> gr.State:
        """The conversation in sight; None before the first message."""
        return self.parts.history

    def go_on(self, event: Any, prefix: Any) -> None:
        """Let the event ask for another version of the last reply: it begins with the prefix's text, the model goes on.

        The page shows the conversation meanwhile.
        """
        event(lambda: gr.Tabs(selected="mode_chat"), None, self.modes, **AT_ONCE)
        self.refresh(event(
            self.handlers.go_on_from, [prefix, *self.parts.sight(), *self.settings],
            self.parts.all(), **self.replies,
        ))  # fmt: skip


def build_talk(page: gr.Blocks, services: Services, modes: gr.Tabs) -> Talk:
    """The components and what they do."""
    is_public = services.settings.is_public
    with gr.Row(elem_classes="work", equal_height=False):
        with gr.Column(elem_classes="bench", min_width=0):
            parts, examples = _bench(is_public=is_public)
        with gr.Column(elem_classes="options", min_width=0):
            keep_parts = build_keep(is_public=is_public)
            with gr.Accordion(text.label("options"), elem_classes="panel"):
                parts.context.render()
                presets = build_presets(is_public=is_public, browser_key=BROWSER_KEY)
                system_prompt = gr.Textbox(
                    label=text.label("system_prompt"), info=text.label("system_prompt_help"), lines=2, max_lines=8,
                    elem_classes="option", elem_id="system-prompt",
                )  # fmt: skip
                form = build_form(SamplingConfig)
    home = services.settings.home
    handlers = ChatHandlers(page, services, parts, form, ConversationStore(home / "conversations"))
    keep = KeepHandlers(handlers, keep_parts, system_prompt)
    PresetHandlers(presets, form, None if is_public else PresetStore(home / "presets.json")).connect(page)
    replies: dict[str, Any] = {
        "show_progress": "hidden", "api_visibility": "private",
        "concurrency_id": "chat", "concurrency_limit": min(services.serve.max_streams, MAX_HANDLERS),
    }  # fmt: skip

    def refresh(event: Any) -> None:
        event.then(keep.refresh, [keep_parts.search, *parts.sight()], keep.list_outputs(), **AT_ONCE)

    talk = Talk(handlers, parts, [system_prompt, *form.controls], form, modes, replies, refresh)
    _connect(talk, examples)
    _connect_keep(keep, keep_parts, talk)
    return talk


def _bench(*, is_public: bool) -> tuple[Parts, list[tuple[gr.Button, str]]]:
    with gr.Column(elem_classes="chat", min_width=0):
        conversation = gr.Chatbot(
            label=text.label("chat_log"), show_label=False, container=False, height="100%", layout="panel",
            editable="all", buttons=["copy"], sanitize_html=True, allow_tags=False, latex_delimiters=[],
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
        message = gr.Textbox(
            label=text.label("message"), show_label=False, placeholder=text.label("message_hint"), container=False,
            lines=1, max_lines=8, max_length=MAX_MESSAGE_CHARACTERS, elem_id="message", scale=1,
        )  # fmt: skip
        send = gr.Button(text.label("send"), variant="primary", elem_id="send", scale=0, min_width=0)
        stop = gr.Button(text.label("stop"), variant="stop", elem_id="stop", visible="hidden", scale=0, min_width=0)
        new = gr.Button(text.label("new_chat"), elem_id="new-chat", elem_classes="quiet", scale=0, min_width=0)
        undo = gr.Button(
            text.label("undo_clear"), visible="hidden", elem_id="undo-clear", elem_classes="quiet", scale=0, min_width=0
        )
    # Before what remembers the conversation in sight, which is looked up in it as soon as that stands.
    # The key is another than that under which gradio's BrowserState kept them: what lies there is left alone.
    kept = "proofbench.kept-chats"
    browser = shared_rows(kept, "proofbench", MAX_GRAVES, elem_id="chats") if is_public else gr.State(None)
    keep_seconds = PUBLIC_HISTORY_SECONDS if is_public else None
    parts = Parts(
        conversation, examples, message, send, stop, new, undo, notice,
        context=html("", render=False, elem_id="context"),
        history=gr.State(None, time_to_live=keep_seconds),
        first=gr.State(0, time_to_live=keep_seconds),
        cleared=gr.State(None, time_to_live=keep_seconds),
        shelf=gr.State(None, time_to_live=keep_seconds),
        open=memory("proofbench.conversation", elem_id="open"),
        browser=browser,
    )  # fmt: skip
    return parts, buttons


def _connect(talk: Talk, examples: list[tuple[gr.Button, str]]) -> None:
    handlers, parts, replies = talk.handlers, talk.parts, talk.replies
    outputs = parts.all()
    asked = [*parts.sight(), *talk.settings]
    events = [
        gr.on([parts.send.click, parts.message.submit], handlers.send, [parts.message, *asked], outputs, **replies),
        parts.conversation.edit(handlers.edit, [parts.first, *asked], outputs, **replies),
        clicks(ACTS, elem_id="acts").click(handlers.act, asked, outputs, **replies),
    ]
    events += [button.click(handlers.example(words), asked, outputs, **replies) for button, words in examples]
    events += [
        parts.new.click(handlers.clear, parts.sight(), outputs, **AT_ONCE),
        parts.undo.click(handlers.bring_back, [parts.cleared, *parts.sight()], outputs, **AT_ONCE),
    ]
    for event in events:
        talk.refresh(event)
    parts.stop.click(handlers.stop, None, None, **AT_ONCE)


def _connect_keep(keep: KeepHandlers, list_parts: KeepParts, talk: Talk) -> None:
    parts = talk.parts
    wanted, sight, outputs = list_parts.search, parts.sight(), keep.outputs()
    # Once more afterwards: what was asked before somebody searched may be answered after that.
    talk.refresh(parts.open.load(keep.opened, [wanted, parts.browser], outputs, **AT_ONCE))
    if isinstance(parts.browser, gr.HTML):
        parts.browser.load(keep.refresh, [wanted, *sight], keep.list_outputs(), **AT_ONCE)
    wanted.change(keep.refresh, [wanted, *sight], keep.list_outputs(), **AT_ONCE)
    list_parts.presses.click(keep.press, [wanted, *sight], outputs, **AT_ONCE)
    list_parts.undo.click(keep.undo_delete, [list_parts.deleted, wanted, *sight], outputs, **AT_ONCE)
    # A press on the list is a blur too, and either may be answered first: so a rename says nothing of what is in
    # sight, and the list is made anew from what is in sight afterwards.
    gr.on(
        [list_parts.title.submit, list_parts.title.blur],
        keep.rename, [list_parts.title, *sight], keep.rename_outputs(), **AT_ONCE,
    ).then(keep.refresh, [wanted, *sight], keep.list_outputs(), **AT_ONCE)  # fmt: skip
    list_parts.as_json.click(keep.export_json, sight, [list_parts.saved, list_parts.notice], **AT_ONCE)
    list_parts.as_markdown.click(keep.export_markdown, sight, [list_parts.saved, list_parts.notice], **AT_ONCE)
    list_parts.imported.upload(keep.import_file, [wanted, *sight], outputs, **AT_ONCE)
