"""Before the start: how many rows, how long; then a table is classified, or a classifier is trained on it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from llm_app.classify.config import ClassifierConfig
from llm_app.errors import UserError
from llm_app.jobs import train_public
from llm_app.jobs.classify_open import Asked, Opened
from llm_app.jobs.classify_public import check_work
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark.chooser import waiting
from llm_app.web.classify import plan_views as views
from llm_app.web.classify.choice import Choice
from llm_app.web.classify.classifiers import ZERO_SHOT, named, resolved
from llm_app.web.classify.command import table_command, training_command
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


def build_train(services: Services) -> tuple[gr.HTML, gr.Button, gr.HTML]:
    """What is known of the training, and its button."""
    with gr.Column(elem_classes="before", min_width=0):
        if services.settings.is_public:
            minutes = round(train_public.SECONDS / 60)
            html(notice(text.both("classify_public_trains", minutes=minutes)), elem_id="classify-train-public")
        with gr.Row(elem_classes="ready", equal_height=False):
            about = html(views.training(None), elem_id="classify-train-about")
            train = _button("classify_train_start", "classify-train")
        said = html("", elem_id="classify-train-notice", elem_classes="run-notice")
    return about, train, said


def connect_start(
    services: Services, desk: Desk, runs: Runs, parts: Parts, laid: gr.State, choice: Choice,
    training: TrainingForm[ClassifierConfig],
) -> None:  # fmt: skip
    """What they do."""
    handlers = StartHandlers(services, desk, runs, parts, choice, training)
    asked, trained, outputs = [laid, *choice.controls], [laid, *training.controls], parts.all()
    typed = [event for control in choice.controls if control is not choice.model for event in settled(control)]
    gr.on(
        # The classifier is also chosen by a button, below the training that it came of.
        [laid.change, choice.model.change, *typed], handlers.look, asked, outputs, trigger_mode="always_last",
        concurrency_id="classify-look", concurrency_limit=2, **QUIET,
    )  # fmt: skip
    gr.on(
        [laid.change, *(event for control in training.controls for event in settled(control))], handlers.about,
        trained, outputs, queue=False, **QUIET,
    )  # fmt: skip
    lane: dict[str, Any] = {"concurrency_id": "classify-start", "concurrency_limit": 1, "trigger_mode": "once", **QUIET}
    parts.start.click(handlers.start, asked, outputs, **lane)
    parts.train.click(handlers.train, trained, outputs, **lane)


class StartHandlers:
    """What happens up to the start. The table stays on the server: no path from the browser is trusted here."""

    def __init__(
        self, services: Services, desk: Desk, runs: Runs, parts: Parts, choice: Choice,
        training: TrainingForm[ClassifierConfig],
    ) -> None:  # fmt: skip
        self._services, self._desk, self._runs = services, desk, runs
        self._parts, self._choice, self._training = parts, choice, training

    def look(self, laid: Laid | None, *form: object) -> Iterator[Update]:
        """What the run will do: counted first, then measured on a few rows unless the machine is at work."""
        parts = self._parts
        try:
            known = self._known(laid)
            if known is None:
                yield {parts.facts: "", parts.start: gr.update(variant="secondary")}
                return
            yield {parts.facts: waiting(text.both("plan_reading")), parts.notice: ""}
            asked = self._asked(known, form)
            with self._services.classifiers.lent_for(asked, known.rows) as opened:
                for shown in self._facts(known, asked, opened):
                    yield {parts.facts: shown, parts.start: gr.update(variant="primary")}
        except SentenceError as error:  # most often labels that are still to be given: no alarm before Start is pressed
            yield {parts.facts: notice(text.pair(error.text)), parts.start: gr.update(variant="secondary")}
        except Exception as error:
            yield {parts.facts: "", parts.notice: failed(error), parts.start: gr.update(variant="secondary")}

    def about(self, laid: Laid | None, *form: object) -> Update:
        """What the training will learn from, and its command; what is wrong with the form is told at its start."""
        known, command = None, ""
        with suppress(UserError):
            known = self._known(laid)
            if known is not None:
                command = training_command(known, self._training.read(form), self._services.settings)
        return {self._parts.about: views.training(known, command), self._parts.train_notice: ""}

    def start(self, request: gr.Request, laid: Laid | None, *form: object) -> Iterator[Update]:
        """Put the run over the table in line."""
        parts = self._parts
        yield {parts.notice: notice(text.both("tune_starting")), parts.start: gr.update(interactive=False)}
        try:
            known = self._desk.found(laid)
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
            known, asked = self._desk.found(laid), self._training.read(form)
            run_id = self._runs.train(known, asked, runs_of(request, self._services))
            yield {parts.watched: (run_id,), parts.train_notice: "", parts.train: gr.update(interactive=True)}
        except Exception as error:
            yield {parts.train_notice: failed(error), parts.train: gr.update(interactive=True)}

    def _known(self, laid: Laid | None) -> Known | None:
        return self._desk.read(laid) if laid is not None and laid.columns is not None else None

    def _facts(self, known: Known, asked: Asked, opened: Opened) -> Iterator[str]:
        """Before and after the time is measured; on a public demo it is not, since others wait for the machine."""
        services = self._services
        check_work(opened.classifier, len(opened.table.items), services.settings)
        identity = opened.classifier.identity()
        name = named(asked.model, identity).text
        chat = services.host.config if identity["method"] == ZERO_SHOT else None
        command = table_command(known, asked, chat, services.settings)
        is_of_table = identity["method"] == ZERO_SHOT and not asked.labels
        plan = views.Plan(opened, name, command, len(known.rows.notes), is_of_table)
        if services.settings.is_public or services.queue.jobs():
            why = "classify_plan_public" if services.settings.is_public else "classify_plan_unmeasured"
            yield views.facts(plan, why)
            return
        yield views.facts(plan, "classify_plan_measuring")
        yield views.facts(plan, _measured(opened) or "classify_plan_no_rows")

    def _asked(self, known: Known, form: Sequence[object]) -> Asked:
        """Labels of a prompt may also be those of the table's truth column."""
        asked = self._choice.read(form)
        if asked.model == ZERO_SHOT and not asked.labels and len(known.rows.labels) < MIN_LABELS:
            raise SentenceError("classify_no_labels")
        return resolved(asked, self._services.host)


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
