"""What happens in the token view: a text is scored, shown by probability or entropy, and gone on from."""

import logging
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import gradio as gr

from llm_app.config import SamplingConfig
from llm_app.conversations.tree import Conversation, Details
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.chat import tokens_asking as asking
from llm_app.web.chat import tokens_views as views
from llm_app.web.chat.presence import ReaderWatch, Running
from llm_app.web.chat.reply import Reply
from llm_app.web.chat.tokens_views import Scored
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.html import sent, shown
from llm_app.web.options import Form
from llm_app.web.views import notice

log = logging.getLogger(__name__)
WAYS = ("probability", "entropy")

Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components that the token view changes."""

    view: gr.HTML
    notice: gr.HTML
    text: gr.Textbox
    stop: gr.Button
    scored: gr.State
    prefix: gr.State

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]


class TokensHandlers:
    """The handlers of the token view. They take values and give values back."""

    def __init__(self, page: gr.Blocks, services: Services, parts: Parts, form: Form) -> None:
        self._page, self._host, self._parts, self._form = page, services.host, parts, form
        self._running = Running()

    def score_text(self, words: object, by: object) -> Update:
        """Score what was typed."""
        return self._score(lambda: asking.score_text(self._host, words), by)

    def score_reply(self, conversation: Conversation | None, by: object) -> Update:
        """Score the last reply of the conversation in sight."""
        return self._score(lambda: asking.score_reply(self._host, conversation), by)

    def arrive(self, conversation: Conversation | None, scored: Scored | None, by: object) -> Update:
        """The mode was opened: show the last reply, unless it is shown or a text of the person's own is."""
        tip = conversation.path[-1] if conversation is not None and conversation.path else None
        if tip is None or tip.role != "assistant" or (scored is not None and scored.turn in ("", tip.id)):
            return {self._parts.notice: ""}
        return self.score_reply(conversation, by)

    def colour(self, scored: Scored | None, by: object) -> Update:
        """Show the same scores by the other measure."""
        try:
            return {self._parts.view: views.view(scored, way(by)), self._parts.notice: ""}
        except Exception as error:
            return {self._parts.notice: self._failed(error)}

    def prefix(self, scored: Scored | None, pressed: gr.EventData) -> Iterator[Update]:
        """How the other version of the reply begins. Where that cannot be told, what waits for it does not happen."""
        try:
            prefix = asking.text_to(self._host, *self._pressed(scored, pressed))
        except Exception as error:
            yield {self._parts.notice: self._failed(error)}
            raise gr.Error("", visible=False, print_exception=False) from None
        yield {self._parts.prefix: prefix, self._parts.notice: ""}

    def go_on(
        self, request: gr.Request, pressed: gr.EventData, scored: Scored | None, by: object, *settings: object
    ) -> Iterator[Update]:
        """Write a text of the person's own on from an alternative, and score what came of it."""
        request_id, visitor, parts = secrets.token_hex(4), request.session_hash or "", self._parts
        try:
            scored, position, choice = self._pressed(scored, pressed)
            sampling: SamplingConfig = self._form.read(settings[1:])
            begun = asking.text_to(self._host, scored, position, choice)
            reply = self._reply(scored, position, choice, sampling, request_id)
        except Exception as error:
            yield {parts.notice: self._failed(error, request_id)}
            return
        self._running.start(visitor, reply.stream)
        try:
            said = notice(text.both("tokens_going_on", text=begun[-40:]))
            yield {parts.text: begun, parts.stop: shown(True), parts.notice: said}
            watch = ReaderWatch(self._page, visitor)
            for is_news in reply.read():
                if watch.is_gone():
                    log.info("nobody reads the text of request %s; it is stopped", request_id)
                    return
                # An empty frame too: a handler can be closed only where it yields.
                yield {parts.text: begun + reply.content if is_news else gr.skip()}
        finally:
            reply.stream.close()
            self._running.end(visitor, reply.stream)
        whole = begun + reply.content
        failed = {parts.notice: self._failed(reply.failure, request_id)} if reply.failure else {}
        scored_anew = self._score(lambda: asking.score_text(self._host, whole), by)
        yield {**scored_anew, **failed, parts.text: whole, parts.stop: shown(False)}

    def stop(self, request: gr.Request) -> None:
        """End the text that is being written."""
        self._running.stop(request.session_hash or "")

    def _score(self, score: Callable[[], Scored], by: object) -> Update:
        try:
            scored, chosen = score(), way(by)
        except Exception as error:
            return {self._parts.notice: self._failed(error)}
        return {
            self._parts.view: views.view(scored, chosen), self._parts.scored: scored, self._parts.notice: "",
        }  # fmt: skip

    def _pressed(self, scored: Scored | None, pressed: gr.EventData) -> tuple[Scored, int, int]:
        position, choice = asking.place(scored, sent(pressed, "value"))
        if scored is None:
            raise SentenceError("tokens_outdated")
        return scored, position, choice

    def _reply(
        self, scored: Scored, position: int, choice: int, sampling: SamplingConfig, request_id: str
    ) -> Reply:
        ids = asking.ids_to(scored, position, choice)
        # What was cut off behind the alternative is written anew; "start the reply with" has no place here.
        stream = self._host.stream(ids, replace(sampling, reply_prefix=""), adapter=self._host.adapter)
        return Reply(stream, Details(n_prompt_tokens=len(ids), request=request_id))

    def _failed(self, error: Exception, request_id: str = "") -> str:
        request_id = request_id or secrets.token_hex(4)
        note_error(error, request_id)
        return error_notice(error, request_id)


def way(by: object) -> str:
    """Probability or entropy, whatever was sent.

    Raises: UserError.
    """
    if by not in WAYS:
        raise SentenceError("wrong_value")
    return str(by)
