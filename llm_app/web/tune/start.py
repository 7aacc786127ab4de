"""Before the start: what the run will do, the command that does the same, and Start."""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import gradio as gr

from llm_app.data.mix import DatasetSpec
from llm_app.engine.catalog import find_model
from llm_app.jobs import train_public
from llm_app.jobs.train_plan import TrainPlan, plan
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark.chooser import waiting
from llm_app.web.failures import SentenceError, failed
from llm_app.web.html import GONE, html, unfolded
from llm_app.web.tune import plan_view
from llm_app.web.tune.command import shown_command
from llm_app.web.tune.settings import Asked, SettingsForm
from llm_app.web.tune.trainings import Trainings
from llm_app.web.views import notice
from llm_app.web.visitor import runs_of, visitor_of

MAX_SESSIONS = 200  # of which the latest wish is remembered, to leave off looking at one that is no more
SETTLE_SECONDS = 1.0  # nothing is measured while somebody is still choosing
PLANS_AT_ONCE = 4  # of all visitors together, each of whom has one
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
Value = TypeVar("Value")
Update = dict[Any, Any]
Data = tuple[DatasetSpec, ...]


@dataclass(frozen=True)
class Parts:
    """The components that change. `data` holds the data sets; `watched`: runs that were just started."""

    data: gr.State
    facts: gr.HTML
    fold: gr.Accordion
    examples: gr.HTML
    start: gr.Button
    notice: gr.HTML
    command: gr.Textbox
    watched: gr.State

    def all(self) -> list[Any]:
        """Every one of them but the data."""
        return [getattr(self, field.name) for field in fields(self)[1:]]


def build_start(services: Services, data: gr.State, watched: gr.State) -> Parts:
    """The components; the command is placed by whoever has the room for it."""
    with gr.Column(elem_classes="before", min_width=0):
        if services.settings.is_public:
            minutes = round(train_public.SECONDS / 60)
            html(notice(text.both("tune_public", n=train_public.STEPS, minutes=minutes)), elem_id="tune-public")
        with gr.Row(elem_classes="ready", equal_height=False):
            facts = html("", elem_id="tune-plan")
            start = gr.Button(text.label("start"), elem_id="tune-start", scale=0, min_width=0)
        said = html("", elem_id="tune-notice", elem_classes="run-notice")
        with gr.Accordion(text.label("plan_examples_shown"), open=False, elem_classes=["fold", GONE]) as fold:
            examples = html("", elem_id="tune-examples")
    command = gr.Textbox(
        label=text.label("command"), show_label=False, lines=2, max_lines=8, interactive=False, buttons=["copy"],
        elem_id="tune-command", elem_classes="command", render=False,
    )  # fmt: skip
    return Parts(data, facts, fold, examples, start, said, command, watched)


def connect_start(services: Services, trainings: Trainings, parts: Parts, settings: SettingsForm) -> None:
    """What they do, once the settings stand."""
    handlers = StartHandlers(services, trainings, parts, settings)
    asked, outputs = [parts.data, *settings.controls], parts.all()
    changes = [parts.data.change, *(event for control in settings.controls for event in settled(control))]
    looked = gr.on(
        changes, handlers.look, asked, outputs, trigger_mode="always_last", concurrency_id="tune-look",
        concurrency_limit=PLANS_AT_ONCE, **QUIET,
    )  # fmt: skip
    looked.then(
        handlers.measure, asked, outputs, trigger_mode="always_last", concurrency_id="tune-measure",
        concurrency_limit=1, **QUIET,
    )  # fmt: skip
    parts.start.click(handlers.start, asked, outputs, concurrency_id="tune-start", concurrency_limit=1, **QUIET)


def settled(control: Any) -> list[Any]:
    """The events at which the person is done with a control: a text is not read while it is being typed."""
    return [control.submit, control.blur] if isinstance(control, gr.Textbox) else [control.input]


class StartHandlers:
    """What happens up to the start. The data sets stay on the server: no path from the browser is trusted here."""

    def __init__(self, services: Services, trainings: Trainings, parts: Parts, settings: SettingsForm) -> None:
        self._services, self._trainings, self._parts, self._settings = services, trainings, parts, settings
        self._latest: OrderedDict[str, tuple[Data, Asked]] = OrderedDict()  # session -> what is wished for now
        self._started: OrderedDict[str, tuple[tuple[Data, Asked], str]] = OrderedDict()  # session -> wish, run
        self._planning: set[str] = set()  # visitors whose plan is being made
        self._lock = threading.Lock()

    def look(self, request: gr.Request, data: Data, *form: object) -> Iterator[Update]:
        """The plan, as far as counting goes."""
        parts = self._parts
        if not data:
            self._latest.pop(request.session_hash or "", None)
            yield self._nothing()
            return
        try:
            asked = self._settings.read(form)
            _keep(self._latest, request.session_hash or "", (data, asked))
            yield {
                parts.facts: waiting(text.both("plan_reading")), parts.notice: "",
                parts.command: shown_command(data, asked, self._services.settings),
            }  # fmt: skip
            with self._alone(visitor_of(request, self._services.settings)):
                found = self._plan(data, asked)
            yield self._shown(found, is_measuring=self._can_measure(found))
        except Exception as error:
            self._latest.pop(request.session_hash or "", None)
            yield {
                parts.facts: "", parts.fold: unfolded(False, "fold"), parts.notice: failed(error),
                parts.start: gr.update(variant="secondary"),
            }  # fmt: skip

    def measure(self, request: gr.Request, data: Data, *form: object) -> Update:
        """Time and memory of a short trial, unless somebody has changed their mind or the machine is at work."""
        parts = self._parts
        wish = self._latest.get(request.session_hash or "")
        if self._services.settings.is_public or wish is None or wish[0] != data:
            return {parts.watched: gr.skip()}
        time.sleep(SETTLE_SECONDS)
        try:
            found = self._plan(*wish)
            if self._latest.get(request.session_hash or "") != wish or not self._can_measure(found):
                return {parts.watched: gr.skip()}
            measured = self._plan(*wish, has_trial=True)
        except Exception as error:
            return {parts.notice: failed(error)}
        if self._latest.get(request.session_hash or "") != wish:
            return {parts.watched: gr.skip()}
        return self._shown(measured, is_measuring=False)

    def start(self, request: gr.Request, data: Data, *form: object) -> Iterator[Update]:
        """Put the run in line. A second press starts nothing while the same run waits or goes on."""
        parts = self._parts
        yield {parts.notice: notice(text.both("tune_starting")), parts.start: gr.update(interactive=False)}
        try:
            if not data:
                raise SentenceError("tune_no_data")
            asked = self._settings.read(form)
            store, session = runs_of(request, self._services), request.session_hash or ""
            wish, run_id = self._started.get(session, (None, ""))
            if wish != (data, asked) or all(job.run_id != run_id for job in self._services.queue.jobs()):
                run_id = self._trainings.start(asked.model, data, asked.config, asked.name, store)
                _keep(self._started, session, ((data, asked), run_id))
            yield {
                parts.watched: (run_id,), parts.notice: "",
                parts.start: gr.update(interactive=True, variant="secondary"),
            }  # fmt: skip
        except Exception as error:
            yield {parts.notice: failed(error), parts.start: gr.update(interactive=True)}

    def _plan(self, data: Data, asked: Asked, *, has_trial: bool = False) -> TrainPlan:
        settings, config = self._services.settings, asked.config
        if settings.is_public:
            config = train_public.public_config(config)
            train_public.check_public_data(data, config.seed)
        return plan(find_model(asked.model, settings), data, config, settings, has_trial=has_trial)

    @contextlib.contextmanager
    def _alone(self, visitor: str | None) -> Iterator[None]:
        """One plan of a visitor at a time: nobody keeps the others from theirs.

        Raises: SentenceError.
        """
        if visitor is None:
            yield
            return
        with self._lock:
            if visitor in self._planning:
                raise SentenceError("plan_busy")
            self._planning.add(visitor)
        try:
            yield
        finally:
            with self._lock:
                self._planning.discard(visitor)

    def _can_measure(self, found: TrainPlan) -> bool:
        """Whether a trial would tell something, and takes nothing from others."""
        is_public = self._services.settings.is_public
        return found.forecast.seconds is None and not is_public and not self._services.queue.jobs()

    def _shown(self, found: TrainPlan, *, is_measuring: bool) -> Update:
        parts = self._parts
        return {
            parts.facts: plan_view.facts(found, is_measuring=is_measuring),
            parts.examples: plan_view.examples(found), parts.fold: unfolded(bool(found.shown), "fold"),
            parts.notice: "", parts.start: gr.update(variant="primary"),
        }  # fmt: skip

    def _nothing(self) -> Update:
        parts = self._parts
        return {
            parts.facts: "", parts.examples: "", parts.fold: unfolded(False, "fold"), parts.command: "",
            parts.notice: "", parts.start: gr.update(variant="secondary"),
        }  # fmt: skip


def _keep(kept: OrderedDict[str, Value], session: str, value: Value) -> None:
    """As the newest of so many."""
    kept.pop(session, None)
    kept[session] = value
    if len(kept) > MAX_SESSIONS:
        kept.popitem(last=False)
