"""The comparison: two panes that answer the same prompt, and the votes on them."""

from typing import Any

import gradio as gr

from llm_app.services import Services
from llm_app.votes import CHOICES
from llm_app.web import text
from llm_app.web.chat import compare_views as views
from llm_app.web.chat.asking import MAX_MESSAGE_CHARACTERS
from llm_app.web.chat.compare_handlers import CompareHandlers, Parts
from llm_app.web.chat.learn import Learning
from llm_app.web.chat.talk import BROWSER_KEY, PUBLIC_HISTORY_SECONDS, Talk
from llm_app.web.html import downloads, html

KINDS = ("adapter", "precision", "decoding")
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
FIRST_KIND = "decoding"  # needs nothing but the loaded model


def build_compare(page: gr.Blocks, services: Services, talk: Talk) -> None:
    """The mode's components and what they do."""
    html(f'<p class="intro">{text.both("compare_intro")}</p>')
    with gr.Column(elem_classes="compare", min_width=0) as box:
        kind, first, second, is_blind = _choices(services)
        asked = html("", elem_id="compare-asked")
        with gr.Row(elem_classes="panes", equal_height=True):
            head_a, pane_a = _pane(0)
            head_b, pane_b = _pane(1)
        with gr.Row(elem_classes="ballot"):
            html(f'<span class="ask">{text.both("vote_ask")}</span>', elem_classes="ballot-ask")
            vote_a, vote_tie, vote_both_bad, vote_b = (_vote(name) for name in ("a", "tie", "both_bad", "b"))
        said = html("", elem_id="compare-notice")
        message, send, stop = _composer()
        with gr.Accordion(text.label("votes"), open=False, elem_classes="fold votes", elem_id="votes"):
            table = html("", elem_id="votes-table")
            with gr.Row(elem_classes="exports"):
                preferences = gr.Button(text.label("export_preferences"), size="sm", elem_id="export-preferences")
                everything = gr.Button(text.label("export_votes"), size="sm", elem_id="export-votes")
                train = gr.Button(text.label("train_on_votes"), size="sm", elem_id="train-on-votes")
    seconds = PUBLIC_HISTORY_SECONDS if services.settings.is_public else None
    kept: Any = gr.State([])
    if services.settings.is_public:
        kept = gr.BrowserState([], storage_key="proofbench.votes", secret=BROWSER_KEY)
    parts = Parts(
        first, second, message, send, stop, asked, head_a, head_b, pane_a, pane_b,
        vote_a, vote_tie, vote_both_bad, vote_b, said, gr.State(None, time_to_live=seconds), table,
        downloads(elem_id="votes-file"), kept,
    )  # fmt: skip
    handlers = CompareHandlers(page, services, parts, talk.form)
    _connect(page, talk, handlers, parts, [message, kind, first, second, is_blind])
    chosen = [parts.first, parts.second, parts.notice]
    if isinstance(box.parent, gr.Tab):
        box.parent.select(handlers.arrive, [kind, first, second], chosen, **AT_ONCE)
    kind.input(handlers.choose, [kind], chosen, **AT_ONCE)
    second.input(handlers.estimate, [kind, second], [parts.notice], **AT_ONCE)
    preferences.click(handlers.export_preferences, [kept], [parts.export, parts.notice], **AT_ONCE)
    train.click(Learning(services.settings).votes, [kept], [parts.notice], **AT_ONCE)
    everything.click(handlers.export_votes, [kept], [parts.export, parts.notice], **AT_ONCE)


def _choices(services: Services) -> tuple[gr.Radio, gr.Dropdown, gr.Dropdown, gr.Checkbox]:
    with gr.Row(elem_classes="setup", equal_height=False):
        # A public page keeps one model in memory.
        kinds = [name for name in KINDS if name != "precision" or not services.settings.is_public]
        kind = gr.Radio(
            [(text.label(f"kind_{name}"), name) for name in kinds], value=FIRST_KIND,
            label=text.label("compare_what"), min_width=0, elem_id="compare-kind",
            elem_classes="segments", scale=3,
        )  # fmt: skip
        first, second = (
            gr.Dropdown(
                [], label=text.label(f"compare_{side}"), filterable=False, min_width=0, scale=2,
                elem_id=f"compare-{side}",
            )
            for side in ("a", "b")
        )  # fmt: skip
        is_blind = gr.Checkbox(
            True, label=text.label("compare_blind"), info=text.label("compare_blind_help"), min_width=0, scale=0,
            elem_id="compare-blind", elem_classes="option",
        )  # fmt: skip
    return kind, first, second, is_blind


def _pane(number: int) -> tuple[gr.HTML, gr.Chatbot]:
    side = views.LETTERS[number]
    with gr.Column(elem_classes="pane", min_width=0):
        head = html(views.head(number, None), elem_id=f"head-{side}")
        pane = gr.Chatbot(
            label=text.label(f"side_{side}"), show_label=False, container=False, height="100%", layout="panel",
            buttons=["copy"], sanitize_html=True, allow_tags=False, latex_delimiters=[], feedback_options=None,
            allow_file_downloads=False, elem_id=f"pane-{side}",
            placeholder=f'<p class="empty">{text.both(f"compare_empty_{side}")}</p>',
        )  # fmt: skip
    return head, pane


def _vote(name: str) -> gr.Button:
    return gr.Button(
        text.label(f"vote_{name}"), size="sm", interactive=False, scale=0, min_width=0,
        elem_id=f"vote-{name.replace('_', '-')}",
    )  # fmt: skip


def _composer() -> tuple[gr.Textbox, gr.Button, gr.Button]:
    with gr.Row(elem_classes="composer", equal_height=False):
        message = gr.Textbox(
            label=text.label("message"), show_label=False, placeholder=text.label("compare_ask_hint"), container=False,
            lines=1, max_lines=8, max_length=MAX_MESSAGE_CHARACTERS, elem_id="compare-message", scale=1,
        )  # fmt: skip
        send = gr.Button(text.label("compare_send"), variant="primary", elem_id="compare-send", scale=0, min_width=0)
        stop = gr.Button(
            text.label("stop"), variant="stop", elem_id="compare-stop", visible="hidden", scale=0, min_width=0
        )
    html(f'<p class="fine">{text.both("compare_options")}</p>')
    return message, send, stop


def _connect(
    page: gr.Blocks, talk: Talk, handlers: CompareHandlers, parts: Parts, asked: list[Any]
) -> None:
    outputs, inputs = parts.all(), [*asked, *talk.settings]
    gr.on([parts.send.click, parts.message.submit], handlers.ask, inputs, outputs, **talk.replies)
    parts.stop.click(handlers.stop, None, None, **AT_ONCE)
    buttons = {"a": parts.vote_a, "b": parts.vote_b, "tie": parts.vote_tie, "both_bad": parts.vote_both_bad}
    for choice in CHOICES:
        buttons[choice].click(handlers.vote(choice), [parts.round, parts.kept], outputs, **AT_ONCE)
    gr.on([page.load, parts.kept.change], handlers.look, [parts.kept], [parts.table], **AT_ONCE)
