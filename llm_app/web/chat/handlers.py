"""What happens when somebody writes, stops, edits or repeats a message."""

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from llm_app import chat
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.chat import views
from llm_app.web.chat.markup import as_written
from llm_app.web.chat.presence import ReaderWatch, Running
from llm_app.web.chat.reply import Reply
from llm_app.web.chat.views import Turn
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.html import shown
from llm_app.web.options import Form
from llm_app.web.views import notice as notice_html

log = logging.getLogger(__name__)

MAX_MESSAGE_CHARACTERS = 200_000
MAX_TURNS = 1_000
MAX_LOAD_SECONDS = 300.0  # that a message waits for the model

Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components that a reply changes."""

    conversation: gr.Chatbot
    examples: gr.Column
    message: gr.Textbox
    send: gr.Button
    stop: gr.Button
    new: gr.Button
    undo: gr.Button
    notice: gr.HTML
    context: gr.HTML
    history: gr.State
    cleared: gr.State

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]


class ChatHandlers:
    """The tab's handlers. They take values and give values back; what is under way is kept by visitor."""

    def __init__(self, page: gr.Blocks, services: Services, parts: Parts, form: Form) -> None:
        self._page = page
        self._host = services.host
        self._parts = parts
        self._form = form
        self._running = Running()

    def send(self, request: gr.Request, message: object, turns: list[Turn], *form: object) -> Iterator[Update]:
        """Answer a new message. The box is emptied only once the model has taken it."""
        is_taken = False
        for update in self._answer(request, form, lambda: with_message(turns, message)):
            if self._parts.history in update and not is_taken:
                # Once: what is typed while the reply is under way stays.
                is_taken, update = True, {self._parts.message: "", **update}
            yield update

    def example(self, sentence: str) -> Callable[..., Iterator[Update]]:
        """A handler that sends one of the example messages."""

        # Not a partial: gradio looks for the request among the annotations of a plain function.
        def send_example(request: gr.Request, turns: list[Turn], *form: object) -> Iterator[Update]:
            yield from self._answer(request, form, lambda: with_message(turns, sentence))

        return send_example

    def regenerate(self, request: gr.Request, turns: list[Turn], *form: object) -> Iterator[Update]:
        """Answer the last message again."""
        yield from self._answer(request, form, lambda: up_to_last_message(turns))

    def edit(self, request: gr.Request, edited: gr.EditData, turns: list[Turn], *form: object) -> Iterator[Update]:
        """Put a changed message in its place, drop what came after, and answer it."""
        yield from self._answer(request, form, lambda: with_edit(turns, edited.index, edited.value))

    def stop(self, request: gr.Request) -> None:
        """End the visitor's reply; what was written stays."""
        self._running.stop(request.session_hash or "")

    def clear(self, request: gr.Request, turns: list[Turn]) -> Update:
        """Start anew; the old conversation can be brought back."""
        self._running.stop(request.session_hash or "")
        if not turns:
            return {self._parts.notice: ""}
        kept = {self._parts.context: views.context_bar(0, 0), self._parts.cleared: turns, self._parts.undo: shown(True)}
        return {**self._shown([]), **kept, self._parts.notice: notice_html(text.both("cleared"))}

    def bring_back(self, turns: list[Turn]) -> Update:
        """Undo the last `clear`."""
        return {**self._shown(turns), **self._nothing_cleared(), self._parts.notice: ""}

    def _answer(
        self, request: gr.Request, form: Sequence[object], make_turns: Callable[[], list[Turn]]
    ) -> Iterator[Update]:
        """The frames of one reply. `form` is the system prompt and the sampling options as the browser sent them."""
        request_id = secrets.token_hex(4)
        try:
            turns = make_turns()
            for _ in self._while_loading():
                yield {self._parts.notice: notice_html(text.both("waits_for_model"))}
            reply, n_context, notice = self._begin(turns, form, request_id)
        except Exception as error:
            note_error(error, request_id)
            yield {self._parts.notice: error_notice(error, request_id)}
            return
        visitor = request.session_hash or ""
        self._running.start(visitor, reply.stream)
        turns = [*turns, Turn("assistant", reply.content, reply.note)]
        try:
            yield {**self._shown(turns, is_running=True), **self._nothing_cleared(), self._parts.notice: notice}
            watch = ReaderWatch(self._page, visitor)
            for is_news in reply.read():
                if watch.is_gone():
                    log.info("nobody reads the reply of request %s; it is stopped", request_id)
                    return
                turns = views.with_reply(turns, reply.content, reply.note)
                # An empty frame too: a handler can be closed only where it yields.
                yield {self._parts.conversation: views.chat_messages(turns) if is_news else gr.skip()}
        finally:
            reply.stream.close()
            self._running.end(visitor, reply.stream)
        yield {
            **self._shown(views.with_reply(turns, reply.content, reply.note)),
            self._parts.context: views.context_bar(reply.n_tokens, n_context),
            self._parts.notice: error_notice(reply.failure, request_id) if reply.failure else notice,
        }

    def _while_loading(self) -> Iterator[None]:
        """Items as long as the first model is on its way: a message written meanwhile need not be sent again."""
        deadline = time.monotonic() + MAX_LOAD_SECONDS
        while self._host.status().state == "loading" and time.monotonic() < deadline:
            yield
            time.sleep(0.25)

    def _begin(self, turns: list[Turn], form: Sequence[object], request_id: str) -> tuple[Reply, int, str]:
        """The reply under way, the size of the context, and what the person should know of it beforehand.

        Raises: UserError, before anything of it is decoded.
        """
        system_prompt, *values = form
        sampling = self._form.read(values)
        loaded = self._host.loaded
        prompt = chat.render(
            loaded,
            views.model_messages(turns, checked_system_prompt(system_prompt)),
            reply_prefix=sampling.reply_prefix,
            max_new_tokens=sampling.max_new_tokens,
            trim=True,
        )
        stream = self._host.stream(prompt.token_ids, sampling, adapter=self._host.adapter)
        cut = notice_html(text.both("messages_cut", n=prompt.n_dropped), "warning") if prompt.n_dropped else ""
        return Reply(stream, len(prompt.token_ids), request_id), loaded.n_context, cut

    def _nothing_cleared(self) -> Update:
        return {self._parts.cleared: [], self._parts.undo: shown(False)}

    def _shown(self, turns: list[Turn], *, is_running: bool = False) -> Update:
        parts = self._parts
        return {
            parts.conversation: views.chat_messages(turns),
            parts.history: turns,
            parts.examples: shown(not turns),
            parts.send: shown(not is_running),
            parts.stop: shown(is_running),
        }


def with_message(turns: Sequence[Turn], message: object) -> list[Turn]:
    """The conversation with a new message of the person.

    Raises: UserError.
    """
    return [*turns, Turn("user", checked(message, turns))]


def checked(message: object, turns: Sequence[Turn]) -> str:
    """The message, if it can be sent.

    Raises: UserError.
    """
    if not isinstance(message, str):
        raise SentenceError("wrong_value")
    if len(message) > MAX_MESSAGE_CHARACTERS:
        raise SentenceError("long_message", n=len(message), max=MAX_MESSAGE_CHARACTERS)
    if not message.strip("\0 \t\r\n"):
        raise SentenceError("empty_message")
    if any("\ud800" <= character <= "\udfff" for character in message):
        raise SentenceError("not_unicode")
    if len(turns) >= MAX_TURNS:
        raise SentenceError("full_conversation", n=len(turns))
    return message


def checked_system_prompt(prompt: object) -> str:
    """The system prompt, if it can be used.

    Raises: UserError.
    """
    if prompt is None or prompt == "":
        return ""
    return checked(prompt, [])


def up_to_last_message(turns: Sequence[Turn]) -> list[Turn]:
    """The conversation up to the person's last message.

    Raises: UserError if there is none.
    """
    kept = list(turns)
    while kept and kept[-1].role != "user":
        kept.pop()
    if not kept:
        raise SentenceError("outdated")
    return kept


def with_edit(turns: Sequence[Turn], index: object, message: object) -> list[Turn]:
    """The conversation up to one message of the person, that one changed.

    Raises: UserError if there is no such message.
    """
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(turns):
        raise SentenceError("outdated")
    if turns[index].role != "user":
        raise SentenceError("outdated")
    return with_message(turns[:index], as_written(message) if isinstance(message, str) else message)
