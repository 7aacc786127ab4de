"""The first step of a benchmark: a suite or tasks, what is known of them before the start, and Start."""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from eval.tasks.listing import is_listed
from eval.tasks.suites import SUITES
from llm_app.errors import UserError
from llm_app.jobs.files import Filed
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark import preflight
from llm_app.web.benchmark.picker import PickerHandlers
from llm_app.web.benchmark.preflight import Elsewhere, Found, Tasks
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.html import GONE, unfolded
from llm_app.web.options import Form
from llm_app.web.runs.views import short
from llm_app.web.views import notice
from llm_app.web.visitor import runs_of

MAX_CHOSEN = 100
MAX_SESSIONS = 200  # of which the choice is remembered, to leave off looking at one that is no more
SUITE_NAMES = tuple(suite.name for suite in SUITES)

Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components of the first step that change. `choice`: names in the order in which they were chosen.

    `suites`: a button for each, by name.
    """

    suites: Mapping[str, gr.Button]
    choice: gr.State
    chosen: gr.CheckboxGroup
    about: gr.HTML
    facts: gr.HTML
    fold: gr.Accordion
    prompts: gr.HTML
    start: gr.Button
    notice: gr.HTML
    command: gr.Textbox
    watched: gr.State

    def all(self) -> list[Any]:
        """Every one of them."""
        return [*self.suites.values(), *(getattr(self, field.name) for field in fields(self)[1:])]


class ChooseHandlers:
    """What happens up to the start. What is chosen stays on the server: no name from the browser is trusted."""

    def __init__(self, services: Services, tasks: Tasks, parts: Parts, form: Form, picker: PickerHandlers) -> None:
        self._services, self._tasks, self._parts, self._form = services, tasks, parts, form
        self._picker = picker
        self._latest: OrderedDict[str, tuple[str, ...]] = OrderedDict()  # session -> what is chosen now

    def suite(self, name: str) -> Callable[[], Update]:
        """Choose one suite in place of all else."""
        return lambda: {self._parts.choice: (name,)}

    def tick(self, choice: tuple[str, ...], names: tuple[str, ...], ticks: object) -> Update:
        """Choose what is ticked on a page of the list."""
        try:
            chosen = self._picker.ticked(ticks, names, choice)
            if len(chosen) > MAX_CHOSEN:
                raise SentenceError("too_many_tasks", n=MAX_CHOSEN)
            return {self._parts.choice: chosen}
        except Exception as error:
            return self._failed(error)

    def leave_out(self, choice: tuple[str, ...], kept: object) -> Update:
        """Take away what was unticked among the chosen."""
        try:
            places = [str(place) for place in range(len(choice))]
            if not isinstance(kept, list) or any(place not in places for place in kept):
                raise SentenceError("wrong_value")
            return {self._parts.choice: tuple(choice[int(place)] for place in places if place in kept)}
        except Exception as error:
            return self._failed(error)

    def add(self, choice: tuple[str, ...], picked: tuple[str, str] | None) -> Update:
        """Choose a task file that was made on this page; beside its path stands a word by chance."""
        path = picked[0] if picked else ""
        return {self._parts.choice: (*choice, path)} if path and path not in choice else {self._parts.notice: ""}

    def show(self, request: gr.Request, choice: tuple[str, ...]) -> Update:
        """What is chosen, at once; what is known of it follows."""
        parts = self._parts
        self._remember(request, choice)
        suite = next((suite for suite in SUITES if choice == (suite.name,)), None)
        places = [str(place) for place in range(len(choice))]  # a name may be a path, which no browser is told
        return {
            **{
                button: gr.update(elem_classes=["suite", *(["chosen"] if choice == (name,) else [])])
                for name, button in parts.suites.items()
            },
            parts.chosen: gr.update(
                choices=[(short(name), place) for name, place in zip(choice, places, strict=True)], value=places,
                elem_classes=["chips", *([] if choice and suite is None else [GONE])],
            ),
            parts.about: f'<p class="about">{text.pair(suite.about)}</p>' if suite is not None else "",
            parts.facts: waiting(text.both("phase_tasks")) if choice else "", parts.notice: "",
            parts.start: gr.update(variant="primary" if choice else "secondary"),
            **({} if choice else self._nothing()),
        }  # fmt: skip

    def look(self, request: gr.Request, choice: tuple[str, ...], *form: object) -> Iterator[Update]:
        """The card before the start, filled as it becomes known, until something else is chosen."""
        parts = self._parts
        if not choice:
            yield self._nothing()
            return
        try:
            config = self._form.read(form)
            services = self._services
            yield {parts.command: preflight.command(choice, config, services.host, services.settings)}
            for found in self._tasks.look(choice, config):
                if self._latest.get(request.session_hash or "", choice) != choice:
                    return
                if isinstance(found, Found | Elsewhere):
                    yield {
                        parts.facts: preflight.facts(found), parts.prompts: preflight.prompts(found),
                        parts.fold: unfolded(isinstance(found, Found), "fold"), parts.notice: "",
                    }  # fmt: skip
                else:
                    yield {parts.facts: waiting(text.both(found)), parts.notice: ""}
        except Exception as error:
            yield {**self._failed(error), parts.facts: "", parts.fold: unfolded(False, "fold")}

    def start(self, request: gr.Request, choice: tuple[str, ...], *form: object) -> Iterator[Update]:
        """Put the run in line. A second press finds nothing chosen any more, and starts nothing."""
        parts = self._parts
        try:
            if not choice:
                raise SentenceError("nothing_chosen")
            config = self._form.read(form)
            check_names(choice)
            store = runs_of(request, self._services)
            yield {parts.notice: notice(text.both("phase_tasks")), parts.start: gr.update(interactive=False)}
            made = self._tasks.start(choice, config, store)
            ids: list[str] = []
            try:
                for benchmark in made:
                    ids.append(self._services.queue.submit(Filed(benchmark), owner=store.owner))
            except UserError:
                for run_id in ids:
                    self._services.queue.cancel(run_id, owner=store.owner)
                for benchmark in made:
                    store.delete(benchmark.folder.id)
                raise
            yield {parts.choice: (), parts.watched: tuple(ids), parts.notice: "",
                   parts.start: gr.update(interactive=True)}  # fmt: skip
        except Exception as error:
            yield {**self._failed(error), parts.start: gr.update(interactive=True)}

    def _nothing(self) -> Update:
        """What is known where nothing is chosen."""
        parts = self._parts
        return {parts.facts: "", parts.prompts: "", parts.fold: unfolded(False, "fold"), parts.command: ""}

    def _remember(self, request: gr.Request, choice: tuple[str, ...]) -> None:
        self._latest[request.session_hash or ""] = choice
        while len(self._latest) > MAX_SESSIONS:
            self._latest.popitem(last=False)

    def _failed(self, error: Exception) -> Update:
        request_id = secrets.token_hex(4)
        note_error(error, request_id)
        return {self._parts.notice: error_notice(error, request_id)}


def check_names(names: Sequence[str]) -> None:
    """Whether there are still such tasks.

    Raises: UserError.
    """
    for name in names:
        if not (name in SUITE_NAMES or name.endswith(".yaml") or is_listed(name)):
            raise SentenceError("unknown_task", task=name)


def waiting(words: str) -> str:
    """A line that says what is being done."""
    return f'<p class="waiting" role="status"><span class="dot">●</span> {words}…</p>'
