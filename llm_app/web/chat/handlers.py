"""What happens when somebody writes, stops, edits, repeats, continues or branches."""

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.components.chatbot import Message as ShownMessage

from llm_app import chat
from llm_app.config import SamplingConfig
from llm_app.conversations.shelf import Shelf
from llm_app.conversations.store import ConversationStore
from llm_app.conversations.tree import Conversation, Details
from llm_app.errors import UserError
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.chat import asking, learn, views
from llm_app.web.chat.asking import Ask, begun, unusual
from llm_app.web.chat.history import gone_notice
from llm_app.web.chat.parts import Parts
from llm_app.web.chat.presence import ReaderWatch, Running, Written
from llm_app.web.chat.reply import Reply
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.html import sent, shown
from llm_app.web.options import Form
from llm_app.web.views import notice as notice_html
from llm_app.web.visitor import visitor_of

log = logging.getLogger(__name__)

MAX_LOAD_SECONDS = 300.0  # that a message waits for the model

Update = dict[Any, Any]


class ChatHandlers:
    """The handlers of the conversation. They take values and give values back; what is under way is kept by visitor."""

    def __init__(self, page: gr.Blocks, services: Services, parts: Parts, form: Form, store: ConversationStore) -> None:
        self.parts = parts
        self.running = Running()
        self._page = page
        self._settings = services.settings
        self._host = services.host
        self._form = form
        self._store = store
        self._learning = learn.Learning(services.settings)

    def send(self, request: gr.Request, message: object, *values: object) -> Iterator[Update]:
        """Answer a new message. The box is emptied only once the model has taken it."""
        is_taken, (now, shelf, form) = False, self.seen(values)
        for update in self._answer(request, form, shelf, lambda: asking.new_message(begun(now), message)):
            if self.parts.history in update and not is_taken:
                # Once: what is typed while the reply is under way stays.
                is_taken, update = True, {self.parts.message: "", **update}
            yield update

    def example(self, sentence: str) -> Callable[..., Iterator[Update]]:
        """A handler that sends one of the example messages."""

        # Not a partial: gradio looks for the request among the annotations of a plain function.
        def send_example(request: gr.Request, *values: object) -> Iterator[Update]:
            now, shelf, form = self.seen(values)
            yield from self._answer(request, form, shelf, lambda: asking.new_message(begun(now), sentence))

        return send_example

    def edit(self, request: gr.Request, edited: gr.EditData, first: int, *values: object) -> Iterator[Update]:
        """A changed message is answered anew; a changed reply stands as it is. The old ones stay as versions."""
        now, shelf, form = self.seen(values)
        if now is not None and values[0] is None:
            first = views.first_shown(now)  # it was forgotten together with the conversation
        index, words = sent(edited, "index"), sent(edited, "value")
        index = index + first if type(index) is int and index >= 0 else None
        if index is not None and index < len(begun(now).path) and begun(now).path[index].role == "assistant":
            yield self.change(request, shelf, lambda: asking.edited_reply(begun(now), index, words))
        else:
            yield from self._answer(request, form, shelf, lambda: asking.edited_message(begun(now), index, words))

    def act(self, request: gr.Request, event: gr.EventData, *values: object) -> Iterator[Update]:
        """What a button under a message asks for; its value is the id of that message."""
        now, shelf, form = self.seen(values)
        name, value, seen = sent(event, "name"), sent(event, "value"), begun(now)
        if name == "again":
            yield from self._answer(request, form, shelf, lambda: asking.again(seen, value))
        elif name == "continue":
            yield from self._answer(request, form, shelf, lambda: asking.going_on(seen))
        elif name in learn.ACTS:
            yield {self.parts.notice: self._learning.act(request, str(name), seen, value)}
        elif name == "earlier":
            is_place = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6
            yield self.shown(seen, min(int(str(value)), views.first_shown(seen)) if is_place else None)
        elif name == "show":
            yield self.change(request, shelf, lambda: seen.showing(asking.turn_of(seen, value).id))
        else:
            yield self.change(request, shelf, lambda: seen.branch(asking.turn_of(seen, value).id), "branched")

    def go_on_from(self, request: gr.Request, prefix: object, *values: object) -> Iterator[Update]:
        """Another version of the last reply that begins with this text; the model writes the rest."""
        now, shelf, form = self.seen(values)
        yield from self._answer(request, form, shelf, lambda: asking.from_prefix(begun(now), prefix))

    def stop(self, request: gr.Request) -> None:
        """End the visitor's reply; what was written stays."""
        self.running.stop(request.session_hash or "")

    def clear(self, request: gr.Request, *values: object) -> Update:
        """Start anew; the conversation before can be brought back, here and from the list."""
        now, _, _ = self.seen(values)
        self.running.drop(request.session_hash or "")
        if now is None or not now.turns:
            return {self.parts.notice: ""}
        kept = {self.parts.cleared: now, self.parts.undo: shown(True)}
        return {**self.shown(Conversation.new()), **kept, self.parts.notice: notice_html(text.both("cleared"))}

    def bring_back(self, request: gr.Request, cleared: Conversation | None, *values: object) -> Update:
        """Undo the last `clear`."""
        _, shelf, _ = self.seen(values)
        self.running.drop(request.session_hash or "")
        try:
            before = self.kept(shelf).read(cleared.id if cleared else "")  # with the reply that was cut off
        except UserError:
            before = begun(cleared)
        return {**self.shown(before), **self._nothing_cleared(), self.parts.notice: ""}

    def change(
        self, request: gr.Request, shelf: Shelf | None, make: Callable[[], Conversation], said: str = ""
    ) -> Update:
        """Show another conversation, or this one otherwise, and keep it. A reply under way ends."""
        request_id = secrets.token_hex(4)
        try:
            self.running.drop(request.session_hash or "")
            conversation = self.kept(shelf).save(make())
        except Exception as error:
            note_error(error, request_id)
            return {self.parts.notice: error_notice(error, request_id)}
        words = (notice_html(text.both(said)) if said else "") + gone_notice(shelf)
        return {**self.shown(conversation), **self.in_browser(shelf), self.parts.notice: words}

    def seen(self, values: Sequence[object]) -> tuple[Conversation | None, Shelf | None, Sequence[object]]:
        """The conversation in sight, the shelf of a public page's visitor, and the values after those of `Parts.sight`.

        Gradio forgets a session's states after a while, and with a restart; then they are found again where they
        are kept, by what the browser still has.
        """
        now, shelf, browser, open_id = values[:4]
        found = None
        if self._settings.is_public:
            found = shelf if isinstance(shelf, Shelf) else Shelf()
            found.merge(browser)  # another tab may have kept something meanwhile
        if now is None and isinstance(open_id, str) and open_id:
            with contextlib.suppress(UserError):  # deleted meanwhile
                now = self.kept(found).read(open_id)
        return now if isinstance(now, Conversation) else None, found, values[4:]

    def kept(self, shelf: Shelf | None) -> ConversationStore | Shelf:
        """Where this visitor's conversations are."""
        if not self._settings.is_public:
            return self._store
        return shelf if shelf is not None else Shelf()

    def written(self, request: gr.Request, conversation_id: str) -> Written:
        """Whose conversation, and which: an id alone may be known to others. Without a cookie each page is somebody."""
        try:
            return visitor_of(request, self._settings), conversation_id
        except UserError:
            return request.session_hash, conversation_id

    def in_browser(self, shelf: Shelf | None) -> Update:
        """What the visitor's browser shall keep; nothing on a private page."""
        if shelf is None:
            return {}
        return {self.parts.browser: shelf.value(), self.parts.shelf: shelf}

    def shown(self, conversation: Conversation, first: int | None = None) -> Update:
        """The conversation on the page, at rest; of a long one the end, or what follows the message `first`."""
        first = views.first_shown(conversation) if first is None else first
        return {
            **self._frame(conversation, views.chat_messages(conversation, first), first),
            self.parts.context: views.context_of(conversation),
        }

    def _frame(
        self, conversation: Conversation, messages: list[ShownMessage], first: int, *, is_running: bool = False
    ) -> Update:
        parts = self.parts
        return {
            parts.first: first,
            parts.conversation: messages,
            parts.history: conversation,
            parts.open: conversation.id if conversation.turns else "",
            parts.examples: shown(not conversation.turns),
            parts.send: shown(not is_running),
            parts.stop: shown(is_running),
        }

    def _answer(
        self, request: gr.Request, form: Sequence[object], shelf: Shelf | None, make: Callable[[], Ask]
    ) -> Iterator[Update]:
        """The frames of one reply. `form` is the system prompt and the sampling options as the browser sent them."""
        request_id, visitor = secrets.token_hex(4), request.session_hash or ""
        try:
            ask = make()
            for _ in self._while_loading():
                yield {self.parts.notice: notice_html(text.both("waits_for_model"))}
            ask = replace(ask, conversation=replace(ask.conversation, system_prompt=_system_prompt(form)))
            reply = self._begin(ask, form, request_id)
        except Exception as error:
            note_error(error, request_id)
            yield {self.parts.notice: error_notice(error, request_id)}
            return
        conversation, notice = ask.conversation, views.cut_notice(reply.details)
        first = views.first_shown(conversation)
        before = views.chat_messages(conversation, first)
        self.running.start(visitor, reply.stream, self.written(request, conversation.id))
        try:
            self._save(conversation, shelf, request_id)
            frame = self._frame(conversation, [*before, views.writing_message(reply)], first, is_running=True)
            yield {**frame, **self._nothing_cleared(), self.parts.notice: notice}
            watch = ReaderWatch(self._page, visitor)
            for is_news in reply.read():
                if watch.is_gone():
                    log.info("nobody reads the reply of request %s; it is stopped", request_id)
                    return
                is_news = is_news and self.running.is_shown(visitor, reply.stream)
                # An empty frame too: a handler can be closed only where it yields.
                messages = [*before, views.writing_message(reply)] if is_news else gr.skip()
                yield {self.parts.conversation: messages}
        finally:
            reply.stream.close()
            conversation = conversation.with_turn("assistant", reply.content, reply.details)
            conversation, problem = self._save(conversation, shelf, request_id)
            is_shown = self.running.is_shown(visitor, reply.stream)
            self.running.end(visitor, reply.stream)
        if is_shown:
            failure = error_notice(reply.failure, request_id) if reply.failure else problem or notice
            said = failure + gone_notice(shelf)
            yield {**self.shown(conversation), **self.in_browser(shelf), self.parts.notice: said}

    def _save(
        self, conversation: Conversation, shelf: Shelf | None, request_id: str
    ) -> tuple[Conversation, str]:
        """Keep it; gives it back with what another window added, and what went wrong."""
        try:
            return self.kept(shelf).save(conversation), ""
        except Exception as error:
            note_error(error, request_id)
            return conversation, error_notice(error, request_id)

    def _while_loading(self) -> Iterator[None]:
        """Items as long as the first model is on its way: a message written meanwhile need not be sent again."""
        deadline = time.monotonic() + MAX_LOAD_SECONDS
        while self._host.status().state == "loading" and time.monotonic() < deadline:
            yield
            time.sleep(0.25)

    def _begin(self, ask: Ask, form: Sequence[object], request_id: str) -> Reply:
        """The reply under way.

        Raises: UserError, before anything of it is decoded.
        """
        chosen: SamplingConfig = self._form.read(form[1:])
        sampling = chosen if ask.prefix is None else replace(chosen, reply_prefix=ask.prefix)
        adapter = self._host.adapter
        turn = chat.begin(self._host, ask.conversation.messages(), sampling, adapter=adapter, trim=True)
        about = Details(
            model=turn.model, precision=turn.precision, adapter=adapter, n_context=turn.n_context,
            n_prompt_tokens=turn.n_prompt_tokens, n_cut=turn.n_dropped, request=request_id, settings=unusual(chosen),
        )  # fmt: skip
        return Reply(turn.stream, about)

    def _nothing_cleared(self) -> Update:
        return {self.parts.cleared: None, self.parts.undo: shown(False)}


def _system_prompt(form: Sequence[object]) -> str:
    if not form:
        raise SentenceError("wrong_value")
    return asking.checked_system_prompt(form[0])
