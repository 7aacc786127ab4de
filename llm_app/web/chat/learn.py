"""A good answer becomes an example to train on."""

from dataclasses import replace

import gradio as gr

from llm_app.config import Settings
from llm_app.conversations.tree import Conversation
from llm_app.web.chat.asking import turn_of
from llm_app.web.chat.compare_ballots import Ballots
from llm_app.web.failures import SentenceError, failed
from llm_app.web.gathered import Gathered
from llm_app.web.text import both
from llm_app.web.views import notice
from llm_app.web.visitor import visitor_of

ACTS = ("learn", "unlearn")
CUT = ("cancelled", "length", "time", "failed")  # endings of a reply that has no end of its own


class Learning:
    """Answers put into the data set that Tune can take, and out of it again."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._gathered = settings, Gathered(settings)

    def act(self, request: gr.Request, name: str, conversation: Conversation, value: object) -> str:
        """What a button asks for, and what is said of it. `value`: the id of the answer, or its key in the data set."""
        try:
            visitor = visitor_of(request, self._settings)
            return self._add(visitor, conversation, value) if name == "learn" else self._take_out(visitor, value)
        except Exception as error:
            return failed(error)

    def votes(self, request: gr.Request, kept: object) -> str:
        """What is said of the votes as pairs for preference tuning; `kept` are those of a public page's visitor."""
        try:
            found, _ = Ballots(self._settings).read(kept)
            n = self._gathered.give_votes(visitor_of(request, self._settings), found)
        except Exception as error:
            return failed(error)
        if not n:
            return notice(both("export_preferences_none"))
        where = f" {both('learn_public')}" if self._settings.is_public else ""
        return notice(f"{both('votes_ready', n=n)}{where} {open_tune()}")

    def _add(self, visitor: str | None, conversation: Conversation, turn_id: object) -> str:
        turn = turn_of(conversation, turn_id)
        if turn.role != "assistant":
            raise SentenceError("learn_no_dialogue")
        if turn.details is not None and turn.details.ending in CUT:
            raise SentenceError("learn_cut")
        key, n = self._gathered.add(visitor, replace(conversation, tip=turn.id).messages())
        where = f" {both('learn_public')}" if self._settings.is_public else ""
        undo = f'<button type="button" class="act" name="unlearn" value="{key}">{both("learn_undo")}</button>'
        return notice(f"{both('learn_added', n=n)}{where} {open_tune()} {undo}")

    def _take_out(self, visitor: str | None, key: object) -> str:
        return notice(both("learn_out", n=self._gathered.take_out(visitor, key)))


def open_tune() -> str:
    """A button that opens the tab of this name."""
    return f'<button type="button" class="act" data-opens="tab_tune">{both("learn_open")}</button>'
