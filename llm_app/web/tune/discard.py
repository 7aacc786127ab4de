"""Stop and discard: beside the other buttons of a run's card, after one question."""

from typing import Any

import gradio as gr

from llm_app.services import Services
from llm_app.web import text
from llm_app.web.buttons import small_button
from llm_app.web.failures import SentenceError, failed
from llm_app.web.html import GONE, html, unfolded
from llm_app.web.runs.panel import Card
from llm_app.web.tune.trainings import Trainings
from llm_app.web.views import notice
from llm_app.web.visitor import runs_of

QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
Update = dict[Any, Any]


def build_discard(services: Services, trainings: Trainings, card: Card, selected: gr.State) -> None:
    """The button, its question and what they do. The style sheet shows them while a run waits or runs."""
    with card.acts:
        discard = small_button("tune_discard", "tune-discard", "quiet")
        with gr.Row(elem_classes=["question", "discarding", GONE], equal_height=False) as question:
            html(text.both("tune_discard_question"), elem_classes="ask-box")
            yes = small_button("tune_discard_yes", "tune-discard-yes", variant="stop")
            keep = small_button("run_keep", "tune-discard-keep")

    def ask() -> Update:
        return {question: unfolded(True, "question", "discarding"), discard: unfolded(False, "quiet")}

    def back() -> Update:
        return {question: unfolded(False, "question", "discarding"), discard: unfolded(True, "quiet")}

    def throw_away(request: gr.Request, run_id: object) -> Update:
        try:
            if not isinstance(run_id, str) or not run_id:
                raise SentenceError("wrong_value")
            trainings.discard(run_id, runs_of(request, services))
            return {**back(), card.notice: notice(text.both("tune_discarding"))}
        except Exception as error:
            return {**back(), card.notice: failed(error)}

    outputs = [question, discard, card.notice]
    discard.click(ask, None, outputs, **QUICK)
    keep.click(back, None, outputs, **QUICK)
    yes.click(throw_away, [selected], outputs, **QUICK)
    selected.change(back, None, outputs, **QUICK)
