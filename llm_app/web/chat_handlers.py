"""What happens when somebody writes, stops, edits or repeats a message."""

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from llm_app import chat
from llm_app.services import Services
from llm_app.web import text, views
from llm_app.web.html import shown
from llm_app.web.options import Form
from llm_app.web.presence import ReaderWatch, Running
from llm_app.web.reply import Reply, note_error
from llm_app.web.views import SentenceError, Turn

log = logging.getLogger(__name__)

MAX_MESSAGE_CHARACTERS = 200_000
MAX_TURNS = 1_000

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

    def send(
        self, request: gr.Request, message: object, turns: list[Turn], system_prompt: object, *values: object
    ) -> Iterator[Update]:
        """Answer a new message. The box is emptied only once the model has taken it."""
        yield from self._answer(request, lambda: [*turns, Turn("user", checked(message, turns))], system_prompt, values, {
            self._parts.message: ""
        })  # fmt: skip

    def example(self, sentence: str) -> Callable[..., Iterator[Update]]:
        """A handler that sends one of the example messages."""
        # Not a partial: gradio looks for the request among the annotations of a plain function.
        def send_example(
            request: gr.Request, turns: list[Turn], system_prompt: object, *values: object
        ) -> Iterator[Update]:
            yield from self._answer(request, lambda: [*turns, Turn("user", checked(sentence, turns))], system_prompt, values)

        return send_example

    def regenerate(self, request: gr.Request, turns: list[Turn], system_prompt: object, *values: object) -> Iterator[Update]:
        """Answer the last message again."""
        yield from self._answer(request, lambda: up_to_last_message(turns), system_prompt, values)

    def edit(
        self, request: gr.Request, edited: gr.EditData, turns: list[Turn], system_prompt: object, *values: object
    ) -> Iterator[Update]:
        """Put a changed message in its place, drop what came after, and answer it."""
        yield from self._answer(request, lambda: with_edit(turns, edited.index, edited.value), system_prompt, values)

    def stop(self, request: gr.Request) -> None:
        """End the visitor's reply; what was written stays."""
        self._running.stop(visitor_of(request))

    def clear(self, request: gr.Request, turns: list[Turn]) -> Update:
        """Start anew; the old conversation can be brought back."""
        self._running.stop(visitor_of(request))
        if not turns:
            return {self._parts.notice: ""}
        return {**self._shown([]), self._parts.cleared: turns, self._parts.undo: shown(True),
                self._parts.notice: views.notice(text.both("cleared"))}  # fmt: skip

    def bring_back(self, turns: list[Turn]) -> Update:
        """Undo the last `clear`."""
        return {**self._shown(turns), self._parts.cleared: [], self._parts.undo: shown(False), self._parts.notice: ""}

    def _answer(
        self, request: gr.Request, make_turns: Callable[[], list[Turn]], system_prompt: object, values: Sequence[object], taken: Update | None = None
    ) -> Iterator[Update]:
        parts, request_id = self._parts, secrets.token_hex(4)
        try:
            turns = make_turns()
            sampling = self._form.read(values)
            loaded = self._host.loaded
            messages = views.model_messages(turns, checked_system_prompt(system_prompt))
            prompt = chat.render(
                loaded, messages, reply_prefix=sampling.reply_prefix, max_new_tokens=sampling.max_new_tokens, trim=True
            )
            stream = self._host.stream(prompt.token_ids, sampling, adapter=self._host.adapter)
        except Exception as error:
            note_error(error, request_id)
            yield {parts.notice: views.error_notice(error, request_id)}
            return
        visitor = visitor_of(request)
        self._running.start(visitor, stream)
        reply = Reply(stream, len(prompt.token_ids), request_id)
        cut = views.notice(text.both("messages_cut", n=prompt.n_dropped), "warning") if prompt.n_dropped else ""
        turns = [*turns, Turn("assistant", reply.content, reply.note)]
        try:
            yield {**self._shown(turns, is_running=True), **(taken or {}), parts.notice: cut, parts.cleared: [],
                   parts.undo: shown(False), parts.context: views.context_bar(reply.n_tokens, loaded.n_context)}  # fmt: skip
            watch = ReaderWatch(self._page, visitor)
            for is_news in reply.read():
                if watch.is_gone():
                    log.info("nobody reads the reply of request %s; it is stopped", request_id)
                    return
                turns = views.with_reply(turns, reply.content, reply.note)
                yield {parts.conversation: views.chat_messages(turns)} if is_news else {parts.notice: gr.skip()}
        finally:
            stream.close()
            self._running.end(visitor, stream)
        turns = views.with_reply(turns, reply.content, reply.note)
        yield {**self._shown(turns), parts.context: views.context_bar(reply.n_tokens, loaded.n_context),
               parts.notice: views.error_notice(reply.failure, request_id) if reply.failure else cut}  # fmt: skip

    def _shown(self, turns: list[Turn], *, is_running: bool = False) -> Update:
        parts = self._parts
        return {
            parts.conversation: views.chat_messages(turns),
            parts.history: turns,
            parts.examples: shown(not turns),
            parts.send: shown(not is_running),
            parts.stop: shown(is_running),
        }


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
    is_number = isinstance(index, int) and not isinstance(index, bool)
    if not is_number or not 0 <= index < len(turns) or turns[index].role != "user":
        raise SentenceError("outdated")
    before = list(turns[:index])
    return [*before, Turn("user", checked(message, before))]


def visitor_of(request: gr.Request) -> str:
    """The browser tab that asks."""
    return request.session_hash or ""
