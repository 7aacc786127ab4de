"""The list of kept conversations: open, search, rename, delete and undo, export, import, and what a reload finds."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import gradio as gr

from llm_app.conversations.exchange import as_markdown, read_conversations
from llm_app.conversations.form import MAX_BYTES, MAX_TITLE, as_text
from llm_app.conversations.search import MAX_WANTED
from llm_app.conversations.shelf import Shelf
from llm_app.conversations.tree import Conversation
from llm_app.errors import UserError
from llm_app.web import text
from llm_app.web.chat.asking import begun
from llm_app.web.chat.handlers import ChatHandlers, Update
from llm_app.web.chat.history import gone_notice, listing_html
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.html import GONE, clicks, download, downloads, files, html, sent, shown, unfolded
from llm_app.web.views import notice as notice_html

SETTLE_SECONDS = 3.0  # that a reload waits until the reply that it cut off is kept


@dataclass(frozen=True)
class KeepParts:
    """The components of the list."""

    search: gr.Textbox
    listing: gr.HTML
    presses: gr.HTML
    undo: gr.Button
    deleted: gr.State  # the id of what was deleted last
    current: gr.Column
    title: gr.Textbox
    as_json: gr.Button
    as_markdown: gr.Button
    imported: gr.HTML
    saved: gr.HTML
    notice: gr.HTML

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]


def build_keep(*, is_public: bool) -> KeepParts:
    """The fold with the list."""
    with gr.Accordion(text.label("conversations"), open=False, elem_classes=["fold", "keep"], elem_id="keep"):
        if is_public:
            html(f'<p class="none">{text.both("kept_in_browser")}</p>')
        search = gr.Textbox(
            label=text.label("search"), show_label=False, placeholder=text.label("search"), container=False,
            max_lines=1, max_length=MAX_WANTED, elem_id="keep-search", elem_classes="keep-search",
        )  # fmt: skip
        listing = html("", elem_id="kept")
        notice = html("", elem_id="keep-notice")
        undo = gr.Button(
            text.label("undo_delete"), visible="hidden", elem_id="undo-delete", elem_classes="quiet", size="sm"
        )
        with gr.Column(elem_classes=["current", GONE], min_width=0) as current:
            title = gr.Textbox(
                label=text.label("title"), info=text.label("title_help"), max_lines=1, max_length=MAX_TITLE,
                elem_id="keep-title", elem_classes="option",
            )  # fmt: skip
            with gr.Row(elem_classes="exports"):
                as_json = gr.Button(text.label("export_json"), size="sm", elem_id="export-json", min_width=0)
                as_md = gr.Button(text.label("export_markdown"), size="sm", elem_id="export-markdown", min_width=0)
        button = f'<button type="button" class="import">{text.both("import")}</button>'
        imported = files(button, ".json,.jsonl,application/json", MAX_BYTES, elem_id="import")
        presses = clicks("#kept button[name]", elem_id="kept-presses")
        saved = downloads(elem_id="saved")
    deleted = gr.State("")
    return KeepParts(
        search, listing, presses, undo, deleted, current, title, as_json, as_md, imported, saved, notice
    )


class KeepHandlers:
    """The handlers of the list."""

    def __init__(self, chat: ChatHandlers, parts: KeepParts, system_prompt: gr.Textbox) -> None:
        self._chat = chat
        self._parts = parts
        self._system_prompt = system_prompt

    def outputs(self) -> list[Any]:
        """What these handlers change."""
        return [*self._chat.parts.all(), *self._parts.all(), self._system_prompt]

    def list_outputs(self) -> list[Any]:
        """What changes when only the list is made anew."""
        return [self._parts.listing, self._parts.current, self._parts.title]

    def rename_outputs(self) -> list[Any]:
        """What changes with a title."""
        return [self._chat.parts.browser, self._chat.parts.shelf, self._parts.notice]

    def opened(self, request: gr.Request, event: gr.EventData, wanted: object, browser: object) -> Update:
        """The page stands: show what was in sight before a reload, and the list."""
        _, shelf, _ = self._chat.seen([None, None, browser, ""])
        state, kept = {self._chat.parts.shelf: shelf}, self._chat.kept(shelf)
        try:
            conversation = kept.read(sent(event, "value"))
            self._chat.running.settle(self._chat.written(request, conversation.id), SETTLE_SECONDS)
            conversation = kept.read(conversation.id)  # with the reply that was cut off
        except UserError:
            return {**state, **self._listed(None, shelf, wanted)}  # none, deleted meanwhile, or of another home folder
        return {**state, **self._open(conversation), **self._listed(conversation, shelf, wanted)}

    def refresh(self, wanted: object, *values: object) -> Update:
        """The list as it is now."""
        now, shelf, _ = self._chat.seen(values)
        return self._listed(now, shelf, wanted)

    def press(self, request: gr.Request, event: gr.EventData, wanted: object, *values: object) -> Update:
        """Open or delete a conversation of the list."""
        now, shelf, _ = self._chat.seen(values)
        name, value = sent(event, "name"), sent(event, "value")
        if name == "delete":
            return self._told(lambda: self._delete(request, value, now, shelf, wanted))
        return self._told(lambda: self._pick(request, value, shelf, wanted))

    def undo_delete(self, deleted: object, wanted: object, *values: object) -> Update:
        """Bring back what was deleted last; it is shown if nothing else is."""
        now, shelf, _ = self._chat.seen(values)

        def act() -> Update:
            back = self._chat.kept(shelf).bring_back(deleted)
            is_free = now is None or not now.turns
            return {
                **(self._open(back) if is_free else {}),
                **self._chat.in_browser(shelf),
                **self._listed(back if is_free else now, shelf, wanted),
                self._parts.undo: shown(False),
                self._parts.notice: gone_notice(shelf),
            }

        return self._told(act)

    def rename(self, title: object, *values: object) -> Update:
        """Another title for the conversation in sight; an empty one is the beginning of its first message."""
        now, shelf, _ = self._chat.seen(values)
        if now is None or not now.turns or title == self._titled(now, shelf).name:
            return {self._parts.notice: gr.skip()}

        def act() -> Update:
            if not isinstance(title, str) or len(title) > MAX_TITLE or any("\ud800" <= c <= "\udfff" for c in title):
                raise SentenceError("wrong_value")
            self._chat.kept(shelf).rename(now.id, " ".join(title.split()))
            return {**self._chat.in_browser(shelf), self._parts.notice: gone_notice(shelf)}

        return self._told(act)

    def export_json(self, *values: object) -> Update:
        """Save the conversation in sight with all its versions."""
        return self._exported(values, "json", as_text)

    def export_markdown(self, *values: object) -> Update:
        """Save the messages in sight to read."""
        return self._exported(values, "md", as_markdown)

    def import_file(self, request: gr.Request, event: gr.EventData, wanted: object, *values: object) -> Update:
        """Take in the conversations of a file; the first one is shown."""
        _, shelf, _ = self._chat.seen(values)

        def act() -> Update:
            words = sent(event, "text")
            if words is None:
                raise SentenceError("file_too_large", max=MAX_BYTES // 1_000_000)
            if not isinstance(words, str) or not words:
                raise SentenceError("file_not_text")
            kept, found = self._chat.kept(shelf), read_conversations(words.encode("utf-8", "replace"))
            if shelf is not None and not shelf.has_room(found):
                raise SentenceError("import_no_room", n=len(found))
            made = [kept.save(conversation) for conversation in found]
            self._chat.running.drop(request.session_hash or "")
            return {
                **self._open(made[0]),
                **self._chat.in_browser(shelf),
                **self._listed(made[0], shelf, wanted),
                self._parts.notice: notice_html(text.both("imported_n", n=len(made))),
            }

        return self._told(act)

    def _pick(self, request: gr.Request, value: object, shelf: Shelf | None, wanted: object) -> Update:
        conversation = self._chat.kept(shelf).read(value)
        self._chat.running.drop(request.session_hash or "")
        return {
            **self._open(conversation), **self._listed(conversation, shelf, wanted), self._parts.notice: "",
            self._chat.parts.notice: "", self._chat.parts.cleared: None, self._chat.parts.undo: shown(False),
        }  # fmt: skip

    def _delete(
        self, request: gr.Request, value: object, now: Conversation | None, shelf: Shelf | None, wanted: object
    ) -> Update:
        is_open = now is not None and now.id == value
        if is_open:
            self._chat.running.drop(request.session_hash or "")
        # A reply that ends later would write it anew; only the visitor's own is stopped.
        written = self._chat.written(request, value) if isinstance(value, str) else None
        if written is not None:
            self._chat.running.settle(written, SETTLE_SECONDS)
        self._chat.kept(shelf).delete(value)
        left = Conversation.new() if is_open else begun(now)
        return {
            **(self._chat.shown(left) if is_open else {}),
            **self._chat.in_browser(shelf),
            **self._listed(left, shelf, wanted),
            self._parts.deleted: value,
            self._parts.undo: shown(True),
            self._parts.notice: notice_html(text.both("deleted")),
        }

    def _open(self, conversation: Conversation) -> Update:
        return {**self._chat.shown(conversation), self._system_prompt: conversation.system_prompt}

    def _listed(self, now: Conversation | None, shelf: Shelf | None, wanted: object) -> Update:
        looked_for = wanted.strip()[:MAX_WANTED] if isinstance(wanted, str) else ""
        listing = self._chat.kept(shelf).listing(looked_for)
        is_kept = now is not None and bool(now.turns)
        return {
            self._parts.listing: listing_html(listing, now.id if now else "", looked_for),
            self._parts.current: unfolded(is_kept, "current"),
            self._parts.title: self._titled(now, shelf).name if now and is_kept else "",
        }

    def _titled(self, conversation: Conversation, shelf: Shelf | None) -> Conversation:
        """The conversation in sight under the title that is kept; it may be newer."""
        try:
            return replace(conversation, title=self._chat.kept(shelf).read(conversation.id).title)
        except UserError:
            return conversation  # deleted by another window, or never kept

    def _exported(self, values: Sequence[object], ending: str, write: Callable[[Conversation], str]) -> Update:
        now, shelf, _ = self._chat.seen(values)
        if now is None or not now.turns:
            return {self._parts.notice: notice_html(text.both("nothing_to_export"))}
        words = write(self._titled(now, shelf))
        return {self._parts.saved: download(f"conversation-{now.id}.{ending}", words), self._parts.notice: ""}

    def _told(self, act: Callable[[], Update]) -> Update:
        """What the act changes, or what was wrong."""
        request_id = secrets.token_hex(4)
        try:
            return act()
        except Exception as error:
            note_error(error, request_id)
            return {self._parts.notice: error_notice(error, request_id)}
