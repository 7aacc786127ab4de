"""The token view: a text with the probability of each of its tokens, and ways on from them."""

import gradio as gr

from llm_app.services import Services
from llm_app.web import text
from llm_app.web.chat import tokens_views as views
from llm_app.web.chat.asking import MAX_MESSAGE_CHARACTERS
from llm_app.web.chat.compare import AT_ONCE
from llm_app.web.chat.talk import PUBLIC_HISTORY_SECONDS, Talk
from llm_app.web.chat.tokens_handlers import WAYS, Parts, TokensHandlers
from llm_app.web.html import clicks, html


def build_tokens(page: gr.Blocks, services: Services, talk: Talk) -> None:
    """The mode's components and what they do."""
    html(f'<p class="intro">{text.both("tokens_intro")}</p>')
    with gr.Column(elem_classes="token-view", min_width=0) as box:
        with gr.Row(elem_classes="bar-row", equal_height=False):
            of_reply = gr.Button(
                text.label("tokens_score_reply"), variant="primary", elem_id="score-reply", scale=0, min_width=0,
                size="sm",
            )  # fmt: skip
            by = gr.Radio(
                [(text.label(f"by_{way}"), way) for way in WAYS], value=WAYS[0], label=text.label("tokens_colour"),
                min_width=0, elem_id="tokens-colour", elem_classes="segments", scale=0,
            )  # fmt: skip
        said = html("", elem_id="tokens-notice")
        view = html(views.view(None, WAYS[0]), elem_id="tokens")
        with gr.Row(elem_classes="composer", equal_height=False):
            words = gr.Textbox(
                label=text.label("tokens_text"), placeholder=text.label("tokens_text_hint"), show_label=False,
                container=False, lines=2, max_lines=8, scale=1,
                max_length=MAX_MESSAGE_CHARACTERS, elem_id="tokens-text",
            )  # fmt: skip
            of_text = gr.Button(text.label("tokens_score_text"), elem_id="score-text", scale=0, min_width=0)
            stop = gr.Button(
                text.label("stop"), variant="stop", elem_id="tokens-stop", visible="hidden", scale=0, min_width=0
            )
    seconds = PUBLIC_HISTORY_SECONDS if services.settings.is_public else None
    parts = Parts(view, said, words, stop, gr.State(None, time_to_live=seconds), gr.State(None, time_to_live=seconds))
    handlers = TokensHandlers(page, services, parts, talk.form)
    _connect(handlers, parts, (of_reply, of_text, by), talk)
    if isinstance(box.parent, gr.Tab):
        arrived = [talk.history, parts.scored, by]
        box.parent.select(handlers.arrive, arrived, [parts.view, parts.scored, parts.notice], **talk.replies)


def _connect(
    handlers: TokensHandlers, parts: Parts, controls: tuple[gr.Button, gr.Button, gr.Radio], talk: Talk
) -> None:
    of_reply, of_text, by = controls
    replies = talk.replies
    outputs = [parts.view, parts.scored, parts.notice]
    of_reply.click(handlers.score_reply, [talk.history, by], outputs, **replies)
    of_text.click(handlers.score_text, [parts.text, by], outputs, **replies)
    by.input(handlers.colour, [parts.scored, by], [parts.view, parts.notice], **AT_ONCE)
    parts.stop.click(handlers.stop, None, None, **AT_ONCE)
    in_reply = clicks('.tokens button.alternative[name="reply"]', elem_id="go-on-reply")
    in_text = clicks('.tokens button.alternative[name="text"]', elem_id="go-on-text")
    begun = in_reply.click(handlers.prefix, [parts.scored], [parts.prefix, parts.notice], **replies)
    talk.go_on(begun.success, parts.prefix)
    in_text.click(handlers.go_on, [parts.scored, by, *talk.settings], parts.all(), **replies)
