"""The components of the conversation, by name."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr


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
    history: gr.State  # the Conversation in sight, None before the first
    first: gr.State  # the number of its messages that are not drawn, at its beginning
    cleared: gr.State  # the one that was in sight before it, None if it cannot come back
    shelf: gr.State  # what a public page's visitor keeps in the browser; None on a private page
    open: gr.HTML  # remembers over a reload which conversation is in sight
    browser: Any  # on a public page the rows that the browser keeps of the shelf; else a State that stays None

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]

    def sight(self) -> list[Any]:
        """What tells a handler what is in sight and where it is kept; `ChatHandlers.seen` reads it."""
        return [self.history, self.shelf, self.browser, self.open]
