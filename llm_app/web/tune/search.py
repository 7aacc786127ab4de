"""A search for good settings: what is tried, how far it is, and the leaderboard."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from llm_app.errors import UserError
from llm_app.jobs.search import Search
from llm_app.jobs.searched import TUNING
from llm_app.jobs.store import RunStore
from llm_app.jobs.train_search import extend_search, resume_search, start_search
from llm_app.services import Services
from llm_app.training.search_config import SearchConfig
from llm_app.web import text
from llm_app.web.benchmark.results_markup import block, folded_command
from llm_app.web.failures import SentenceError, failed
from llm_app.web.html import clicks, html, sent
from llm_app.web.options import Form, build_form
from llm_app.web.runs import panel
from llm_app.web.runs.handlers import BUSY_SECONDS
from llm_app.web.runs.kind import Kind
from llm_app.web.runs.views import ADVICE, Manner
from llm_app.web.tune.command import shown_command
from llm_app.web.tune.search_view import SearchTally
from llm_app.web.tune.settings import SettingsForm
from llm_app.web.tune.start import settled
from llm_app.web.views import notice
from llm_app.web.visitor import runs_of

MANNER = Manner(
    "trials_of", "trials_per_second", "trials_per_minute", ADVICE | {"cancelled": "search_advice_cancelled"}
)
MAX_DIGITS = 6  # of a number from the browser
LINE: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 1}
Update = dict[Any, Any]


@dataclass(frozen=True)
class Maker:
    """What is made of the data, the values of the form of one trial, and what to search.

    `search`: one that is not begun, in the store of whoever asks; `command`: the line that does the same.
    """

    search: Callable[[RunStore, Any, Sequence[object], SearchConfig], Search]
    command: Callable[[Any, Sequence[object], SearchConfig], str]


@dataclass(frozen=True)
class Fold:
    """What is to be searched, the button that begins it, and the command that does."""

    form: Form
    start: gr.Button
    said: gr.HTML
    command: gr.HTML


def build_fold(services: Services, prefix: str, about: str, example: str) -> Fold | None:
    """The form, or on a public page why there is none. `prefix` begins the names of its elements."""
    html(f'<p class="quiet">{text.both(about)}</p>')
    if services.settings.is_public:
        html(notice(text.both("search_public")))
        return None
    with gr.Row(elem_classes="tool-form", equal_height=False):
        form = build_form(SearchConfig, prefix)
    form.controls[0].placeholder = text.label(example)
    with gr.Row(elem_classes="tool-buttons", equal_height=False):
        start = gr.Button(text.label("search_start"), size="sm", scale=0, min_width=0, elem_id=f"{prefix}-start")
    said = html("", elem_id=f"{prefix}-notice", elem_classes="run-notice")
    return Fold(form, start, said, html("", elem_id=f"{prefix}-command"))


def connect_fold(
    services: Services, fold: Fold, make: Maker, inputs: Sequence[Component], *, card: str, watched: gr.State,
    shown: gr.State, timer: gr.Timer,
) -> None:  # fmt: skip
    """What it does. `inputs`: the data (a State), then the form of one trial; `card`: where the leaderboard stands.

    `watched` and `timer` belong to that card; `shown` gets the run of a trial that a person wants to see.
    """
    handlers = SearchHandlers(services, make, fold, watched, shown, timer)
    data, *trial = inputs
    asked: list[Any] = [*trial, *fold.form.controls]
    fold.start.click(handlers.start, [data, *asked], [fold.said, watched], **LINE)
    gr.on(
        [data.change, *(event for control in asked for event in settled(control))],
        handlers.command, [data, *asked], fold.command, queue=False, show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    show = clicks(f"#{card} button.search-show", elem_id=f"{card}-shows")
    more = clicks(f"#{card} button.search-more", elem_id=f"{card}-mores")
    show.click(handlers.show, None, [fold.said, shown], **LINE)
    more.click(handlers.more, None, [fold.said, watched, timer], **LINE)


def build_search(
    page: gr.Blocks, services: Services, settings: SettingsForm, data: gr.State, watched_training: gr.State
) -> None:
    """The search over tunings. `watched_training`: gets the run of a trial that a person wants to see."""

    def search(store: RunStore, data: Any, values: Sequence[object], search: SearchConfig) -> Search:
        if not data:
            raise SentenceError("tune_no_data")
        asked = settings.read(values)
        return start_search(
            asked.model, data, asked.config, search, services.settings, store, name=asked.name
        )

    def command(data: Any, values: Sequence[object], search: SearchConfig) -> str:
        return shown_command(data or (), settings.read(values), services.settings, search)

    with gr.Accordion(text.label("search_title"), open=False, elem_classes=["fold", "tools"], elem_id="tune-search"):
        fold = build_fold(services, "search", "search_about", "search_example")
        if fold is None:
            return
        card = panel.build_card("search")
        history = panel.build_history("search")
    watched, selected = gr.State(()), gr.State("")
    empty = f'<section class="run empty"><p>{text.both("search_none")}</p></section>'
    kind = Kind(
        (TUNING,), SearchTally, lambda folder: resume_search(folder, services.settings), empty, MANNER, keeps_body=True,
        aside=SearchTally.aside,
    )  # fmt: skip
    timer = panel.connect(page, services, kind, card, history, watched=watched, selected=selected)
    connect_fold(
        services, fold, Maker(search, command), [data, *settings.controls], card="search-card", watched=watched,
        shown=watched_training, timer=timer,
    )  # fmt: skip


class SearchHandlers:
    """What the fold does besides what every run can do."""

    def __init__(
        self, services: Services, make: Maker, fold: Fold, watched: gr.State, shown: gr.State, timer: gr.Timer
    ) -> None:
        self._services, self._make, self._form, self._said = services, make, fold.form, fold.said
        self._watched, self._shown, self._timer = watched, shown, timer

    def start(self, request: gr.Request, data: Any, *values: object) -> Update:
        """Put a search in line."""
        try:
            trial, search = self._parted(values)
            store = runs_of(request, self._services)
            work = self._make.search(store, data, trial, search)
            try:
                run_id = self._services.queue.submit(work, owner=store.owner)
            except UserError:
                store.delete(work.folder.id)
                raise
        except Exception as error:
            return {self._said: failed(error)}
        return {self._said: "", self._watched: (run_id,)}

    def command(self, data: Any, *values: object) -> str:
        """The command line that does what the forms say; nothing while they say too little, as Start will tell."""
        try:
            trial, search = self._parted(values)
            return block(folded_command(self._make.command(data, trial, search))) if search.space else ""
        except UserError:
            return ""

    def show(self, request: gr.Request, event: gr.EventData) -> Update:
        """Show the run of a trial in the card of training runs."""
        try:
            run_id = sent(event, "value")
            if not isinstance(run_id, str):
                raise SentenceError("wrong_value")
            runs_of(request, self._services).read(run_id)
        except Exception as error:
            return {self._said: failed(error)}
        return {self._said: "", self._shown: (run_id,)}

    def more(self, request: gr.Request, event: gr.EventData) -> Update:
        """Let a search that is over try more settings."""
        try:
            run_id, n = sent(event, "name"), sent(event, "value")
            if not isinstance(run_id, str) or not isinstance(n, str) or not n.isdecimal():
                raise SentenceError("wrong_value")
            store = runs_of(request, self._services)
            work = extend_search(store.open(run_id), int(n[:MAX_DIGITS]), self._services.settings)
            self._services.queue.submit(work, owner=store.owner)
        except Exception as error:
            return {self._said: failed(error)}
        # The run that is watched may be the same: the next look is to show how it stands now.
        return {self._said: "", self._watched: (run_id,), self._timer: gr.Timer(BUSY_SECONDS)}

    def _parted(self, values: Sequence[object]) -> tuple[Sequence[object], SearchConfig]:
        """The values of the form of one trial, and what is to be searched."""
        n = len(values) - len(self._form.controls)
        return values[:n], self._form.read(values[n:])
