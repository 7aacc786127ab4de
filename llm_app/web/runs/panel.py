"""Where the run card and the list of runs stand, and which handler answers which event.

A tab calls `build_card`, puts what shows results below it, then `build_history`, then `connect`.
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from llm_app.jobs.store import MAX_NOTE
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.html import GONE, html
from llm_app.web.runs.handlers import RunHandlers
from llm_app.web.runs.kind import Kind
from llm_app.web.runs.parts import Parts, Seen

KEEP_SECONDS = 3_600  # that a public page remembers what a tab looked at


@dataclass(frozen=True)
class Card:
    """The card and its buttons, built where they stand."""

    card: gr.HTML
    acts: gr.Row
    stop: gr.Button
    resume: gr.Button
    bring: gr.Button
    delete: gr.Button
    question: gr.Row
    asked: gr.HTML
    yes: gr.Button
    keep: gr.Button
    note: gr.Textbox
    notice: gr.HTML
    fold: gr.Accordion
    details: gr.HTML


@dataclass(frozen=True)
class History:
    """The list of runs."""

    tab: str
    list: gr.Radio
    rows: gr.HTML
    place: gr.HTML
    newer: gr.Button
    older: gr.Button


def build_card(tab: str, stop_label: str = "stop") -> Card:
    """The card of the run that is watched; `tab` begins the names of its elements."""
    with gr.Column(elem_classes="run-box", min_width=0):
        card = html("", elem_id=f"{tab}-card")
        with gr.Row(elem_classes="run-acts", equal_height=False) as acts:
            stop = _button(stop_label, f"{tab}-stop", variant="stop")
            resume = _button("run_resume", f"{tab}-resume", variant="primary")
            bring = _button("run_bring", f"{tab}-bring", variant="primary")
            note = gr.Textbox(
                label=text.label("run_note"), show_label=False, placeholder=text.label("run_note_hint"), lines=1,
                max_lines=1, container=False, elem_classes=GONE, max_length=MAX_NOTE, elem_id=f"{tab}-note",
                min_width=0,
            )  # fmt: skip
            delete = _button("run_delete", f"{tab}-delete", "quiet")
            with gr.Row(elem_classes=["question", GONE], equal_height=False) as question:
                asked = html("", elem_classes="ask-box")
                yes = _button("run_delete_yes", f"{tab}-delete-yes", variant="stop", is_shown=True)
                keep = _button("run_keep", f"{tab}-keep", is_shown=True)
        notice = html("", elem_id=f"{tab}-run-notice", elem_classes="run-notice")
        with gr.Accordion(text.label("run_details"), open=False, elem_classes=["fold", GONE]) as fold:
            details = html("", elem_id=f"{tab}-details")
    return Card(card, acts, stop, resume, bring, delete, question, asked, yes, keep, note, notice, fold, details)


def build_history(tab: str) -> History:
    """The list of runs, newest first: radio buttons that cover the lines they stand for."""
    with gr.Accordion(text.label("run_history"), open=True, elem_classes="fold history"):
        with gr.Column(elem_classes="pick-rows", min_width=0):
            rows = html("", elem_id=f"{tab}-rows")
            radio = gr.Radio(
                [], label=text.label("run_history"), show_label=False, container=False, elem_id=f"{tab}-list"
            )  # fmt: skip
        with gr.Row(elem_classes="pager", equal_height=False):
            newer = _button("run_newer", f"{tab}-newer", "quiet")
            older = _button("run_older", f"{tab}-older", "quiet")
            place = html("", elem_id=f"{tab}-place")
    return History(tab, radio, rows, place, newer, older)


def connect(
    page: gr.Blocks, services: Services, kind: Kind, card: Card, history: History, *, watched: gr.State,
    selected: gr.State,
) -> gr.Timer:
    """Bring both to life; gives the timer on which they are brought up to date.

    `watched` takes the ids of runs that were just started together; `selected` gets the id of the run that is shown.
    """
    keep = KEEP_SECONDS if services.settings.is_public else None
    parts = Parts(
        card.card, card.stop, card.resume, card.bring, card.delete, card.question, card.asked, card.note, card.notice,
        card.fold, card.details, history.list, history.rows, history.place, history.newer, history.older, gr.Timer(1.0),
        watched=watched, page=gr.State(0, time_to_live=keep),
        seen=gr.State(Seen(), time_to_live=keep),
        told=gr.Textbox(visible="hidden", container=False, elem_id=f"{history.tab}-told"),
    )  # fmt: skip
    handlers = RunHandlers(services, kind, parts)
    at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    states, outputs = parts.state(), parts.all()
    gr.on([page.load, parts.timer.tick], handlers.look, states, outputs, **at_once)
    # A state that is set outside the queue tells nobody that it has changed: neither does what hangs on it.
    parts.told.change(
        told, parts.told, selected, show_progress="hidden", api_visibility="private", concurrency_limit=None
    )
    # Started elsewhere on the page: the card must not wait for the timer.
    parts.watched.change(handlers.look, states, outputs, **at_once)
    parts.list.input(handlers.pick, [*states, parts.list], outputs, **at_once)
    parts.stop.click(handlers.stop, states, outputs, **at_once)
    parts.delete.click(handlers.ask_delete, states, outputs, **at_once)
    card.keep.click(handlers.keep, None, outputs, **at_once)
    card.yes.click(handlers.delete, states, outputs, **at_once)
    gr.on([parts.note.submit, parts.note.blur], handlers.note, [*states, parts.note], outputs, **at_once)
    parts.newer.click(handlers.newer, states, outputs, **at_once)
    parts.older.click(handlers.older, states, outputs, **at_once)
    # Loading takes minutes: whoever starts or resumes something else meanwhile does not wait behind it.
    for button, act, lane in ((parts.resume, handlers.resume, "tasks"), (parts.bring, handlers.bring, "bring")):
        button.click(
            act, states, outputs, show_progress="hidden", api_visibility="private", concurrency_id=lane,
            concurrency_limit=1,
        )  # fmt: skip
    return parts.timer


def told(run_id: object) -> str:
    """The id, if it can be one; whoever reads it asks the visitor's own store."""
    return run_id if isinstance(run_id, str) else ""


def _button(name: str, elem_id: str, *classes: str, is_shown: bool = False, variant: Any = "secondary") -> gr.Button:
    # By its class: gradio forgets that something was shown while its tab was not open yet.
    return gr.Button(
        text.label(name), elem_id=elem_id, elem_classes=[*classes, *([] if is_shown else [GONE])], variant=variant,
        size="sm", scale=0, min_width=0,
    )  # fmt: skip
