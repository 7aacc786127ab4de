"""The components around a run, and what of it stands in the browser already."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class Seen:
    """What stands in the browser already, so that a look sends only what has changed."""

    run_id: str = ""
    status: str = ""
    card: str = ""
    details: str = ""
    rows: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Parts:
    """The components that a look changes. `watched`: the runs that were started together, of which one is shown.

    `told`: an unseen box with the id of that one.
    """

    card: gr.HTML
    stop: gr.Button
    resume: gr.Button
    bring: gr.Button
    delete: gr.Button
    question: gr.Row
    asked: gr.HTML
    note: gr.Textbox
    notice: gr.HTML
    fold: gr.Accordion
    details: gr.HTML
    list: gr.Radio
    rows: gr.HTML
    place: gr.HTML
    newer: gr.Button
    older: gr.Button
    timer: gr.Timer
    watched: gr.State
    page: gr.State
    seen: gr.State
    told: gr.Textbox

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]

    def state(self) -> list[Any]:
        """What every handler is told first: the inputs that the server itself keeps."""
        return [self.watched, self.page, self.seen]
