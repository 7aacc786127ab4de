"""Before the start: how many rows, how long; then a table is classified, or a classifier is trained on it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gradio as gr

from llm_app.jobs.classify_open import Asked, Classifiers, Opened
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark.chooser import waiting
from llm_app.web.classify import plan_views as views
from llm_app.web.classify.choice import Choice
from llm_app.web.classify.classifiers import ZERO_SHOT, resolved, title
from llm_app.web.classify.desk import Desk, Known, Laid
from llm_app.web.classify.runs import Runs
from llm_app.web.classify.training import TrainingForm
from llm_app.web.failures import SentenceError, failed
from llm_app.web.html import html
from llm_app.web.tune.start import settled
from llm_app.web.views import notice
from llm_app.web.visitor import runs_of

N_MEASURED = 8  # rows, spread over the table, on which the time is measured
MIN_LABELS = 2
WARM_ROWS = 1  # classified before, so that nothing is still being read
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components that change. `watched`: runs that were just started."""

    facts: gr.HTML
    start: gr.Button
    notice: gr.HTML
    about: gr.HTML
    train: gr.Button
    train_notice: gr.HTML
    watched: gr.State

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]


def build_start() -> tuple[gr.HTML, gr.Button, gr.HTML]:
    """What is known of the run over the table, and its button."""
    with gr.Column(elem_classes="before", min_width=0):
        with gr.Row(elem_classes="ready", equal_height=False):
            facts = html("", elem_id="classify-plan")
            start = _button("classify_start", "classify-start")
        said = html("", elem_id="classify-notice", elem_classes="run-notice")
    return facts, start, said


def build_train() -> tuple[gr.HTML, gr.Button, gr.HTML]:
    """What is known of the training, and its button."""
    with gr.Column(elem_classes="before", min_width=0):
        with gr.Row(elem_classes="ready", equal_height=False):
            about = html(views.training(None, is_public=False), elem_id="classify-train-about")
            train = _button("classify_train_start", "classify-train")
        said = html("", elem_id="classify-train-notice", elem_classes="run-notice")
    return about, train, said


def connect_start(
    services: Services, desk: Desk, classifiers: Classifiers, runs: Runs, parts: Parts, laid: gr.State, choice: Choice,
    training: TrainingForm,
) -> None:  # fmt: skip
    """What they do."""
    handlers = StartHandlers(services, desk, classifiers, runs, parts, choice, training)
    asked, outputs = [laid, *choice.controls], parts.all()
    changes = [laid.change, *(event for control in choice.controls for event in settled(control))]
    gr.on(
        changes, handlers.look, asked, outputs, trigger_mode="always_last", concurrency_id="classify-look",
        concurrency_limit=2, **QUIET,
    )  # fmt: skip
    lane: dict[str, Any] = {"concurrency_id": "classify-start", "concurrency_limit": 1, "trigger_mode": "once", **QUIET}
    parts.start.click(handlers.start, asked, outputs, **lane)
    parts.train.click(handlers.train, [laid, *training.controls], outputs, **lane)


class StartHandlers:
    """What happens up to the start. The table stays on the server: no path from the browser is trusted here."""

    def __init__(
        self, services: Services, desk: Desk, classifiers: Classifiers, runs: Runs, parts: Parts, choice: Choice,
        training: TrainingForm,
    ) -> None:  # fmt: skip
        self._services, self._desk, self._classifiers, self._runs = services, desk, classifiers, runs
        self._parts, self._choice, self._training = parts, choice, training

    def look(self, laid: Laid | None, *form: object) -> Iterator[Update]:
        """What the run will do: counted first, then measured on a few rows unless the machine is at work."""
        parts = self._parts
        try:
            known = self._desk.read(laid) if laid is not None and laid.columns is not None else None
            about = views.training(known, is_public=self._services.settings.is_public)
            if known is None:
                yield {parts.facts: "", parts.about: about, parts.start: gr.update(variant="secondary")}
                return
            yield {parts.facts: waiting(text.both("plan_reading")), parts.about: about, parts.notice: ""}
            asked = self._asked(known, form)
            opened = self._classifiers.open_for(asked, known.rows)
            name = title(asked.model, opened.classifier.identity())
            is_idle = not self._services.queue.jobs()
            primary = {parts.start: gr.update(variant="primary")}
            shown = views.facts(opened, name, time=None, is_measuring=is_idle)
            yield {parts.facts: shown, **primary}
            if is_idle:
                found = _measured(opened)
                yield {parts.facts: views.facts(opened, name, time=found, is_measuring=False)}
        except SentenceError as error:  # most often labels that are still to be given: no alarm before Start is pressed
            yield {parts.facts: notice(text.pair(error.text)), parts.start: gr.update(variant="secondary")}
        except Exception as error:
            yield {parts.facts: "", parts.notice: failed(error), parts.start: gr.update(variant="secondary")}

    def start(self, request: gr.Request, laid: Laid | None, *form: object) -> Iterator[Update]:
        """Put the run over the table in line."""
        parts = self._parts
        yield {parts.notice: notice(text.both("tune_starting")), parts.start: gr.update(interactive=False)}
        try:
            known = self._known(laid)
            asked = self._asked(known, form)
            run_id = self._runs.classify(known, asked, runs_of(request, self._services))
            yield {parts.watched: (run_id,), parts.notice: "", parts.start: gr.update(interactive=True)}
        except Exception as error:
            yield {parts.notice: failed(error), parts.start: gr.update(interactive=True)}

    def train(self, request: gr.Request, laid: Laid | None, *form: object) -> Iterator[Update]:
        """Put a training on the table in line."""
        parts = self._parts
        yield {parts.train_notice: notice(text.both("tune_starting")), parts.train: gr.update(interactive=False)}
        try:
            if self._services.settings.is_public:
                raise SentenceError("classify_train_public")
            known, asked = self._known(laid), self._training.read(form)
            if known.rows.columns.truth is None:
                raise SentenceError("table_no_truth")
            run_id = self._runs.train(known, asked, runs_of(request, self._services))
            yield {parts.watched: (run_id,), parts.train_notice: "", parts.train: gr.update(interactive=True)}
        except Exception as error:
            yield {parts.train_notice: failed(error), parts.train: gr.update(interactive=True)}

    def _asked(self, known: Known, form: Sequence[object]) -> Asked:
        """Labels of a prompt may also be those of the table's truth column."""
        asked = self._choice.read(form)
        if asked.model == ZERO_SHOT and not asked.labels and len(known.rows.labels) < MIN_LABELS:
            raise SentenceError("classify_no_labels")
        return resolved(asked, self._services.host)

    def _known(self, laid: Laid | None) -> Known:
        if laid is None:
            raise SentenceError("table_none")
        if not Path(laid.path).is_file():
            raise SentenceError("table_gone")
        return self._desk.read(laid)


def _measured(opened: Opened) -> tuple[float, int] | None:
    """(seconds for the whole table, on how many rows that was measured); None for an empty one."""
    items, classifier = opened.table.items, opened.classifier
    if not items:
        return None
    sample = items[:: max(1, len(items) // N_MEASURED)][:N_MEASURED]
    for _ in classifier.predict(sample[:WARM_ROWS]):
        pass
    started = time.perf_counter()
    n = sum(1 for _ in classifier.predict(sample))
    return (time.perf_counter() - started) / n * len(items), n


def _button(name: str, elem_id: str) -> gr.Button:
    return gr.Button(
        text.label(name), elem_id=elem_id, elem_classes="go", scale=0, min_width=0, variant="secondary"
    )
