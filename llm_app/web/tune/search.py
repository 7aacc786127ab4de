"""A search for good settings: what is tried, how far it is, and the leaderboard."""

from typing import Any

import gradio as gr

from llm_app.errors import UserError
from llm_app.jobs.train_search import KIND, extend_search, resume_search, start_search
from llm_app.services import Services
from llm_app.training.search_config import SearchConfig
from llm_app.web import text
from llm_app.web.failures import SentenceError, failed
from llm_app.web.html import clicks, html, sent
from llm_app.web.options import Form, build_form
from llm_app.web.runs import panel
from llm_app.web.runs.handlers import BUSY_SECONDS
from llm_app.web.runs.kind import Kind
from llm_app.web.runs.views import ADVICE, Manner
from llm_app.web.tune.search_view import SearchTally
from llm_app.web.tune.settings import SettingsForm
from llm_app.web.views import notice
from llm_app.web.visitor import runs_of

MANNER = Manner(
    "trials_of", "trials_per_second", "trials_per_minute", ADVICE | {"cancelled": "search_advice_cancelled"}
)
MAX_DIGITS = 6  # of a number from the browser
LINE: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 1}
Update = dict[Any, Any]


def build_search(
    page: gr.Blocks, services: Services, settings: SettingsForm, data: gr.State, watched_training: gr.State
) -> None:
    """The fold and its handlers. `watched_training`: gets the run of a trial that a person wants to see."""
    with gr.Accordion(text.label("search_title"), open=False, elem_classes=["fold", "tools"], elem_id="tune-search"):
        html(f'<p class="quiet">{text.both("search_about")}</p>')
        if services.settings.is_public:
            html(notice(text.both("search_public")))
            return
        with gr.Row(elem_classes="tool-form", equal_height=False):
            form = build_form(SearchConfig, "search")
        form.controls[0].placeholder = text.label("search_example")
        with gr.Row(elem_classes="tool-buttons", equal_height=False):
            start = gr.Button(text.label("search_start"), size="sm", scale=0, min_width=0, elem_id="search-start")
        said = html("", elem_id="search-notice", elem_classes="run-notice")
        card = panel.build_card("search")
        history = panel.build_history("search")
    watched, selected = gr.State(()), gr.State("")
    show = clicks("button.search-show", elem_id="search-shows")
    more = clicks("button.search-more", elem_id="search-mores")
    empty = f'<section class="run empty"><p>{text.both("search_none")}</p></section>'
    kind = Kind(
        (KIND,), SearchTally, lambda folder: resume_search(folder, services.settings), empty, MANNER, keeps_body=True,
        aside=SearchTally.aside,
    )  # fmt: skip
    timer = panel.connect(page, services, kind, card, history, watched=watched, selected=selected)
    handlers = SearchHandlers(services, settings, form, said, watched, watched_training, timer)
    start.click(handlers.start, [data, *settings.controls, *form.controls], [said, watched], **LINE)
    show.click(handlers.show, None, [said, watched_training], **LINE)
    more.click(handlers.more, None, [said, watched, timer], **LINE)


class SearchHandlers:
    """What the fold does besides what every run can do."""

    def __init__(
        self, services: Services, settings: SettingsForm, form: Form, said: gr.HTML, watched: gr.State,
        watched_training: gr.State, timer: gr.Timer,
    ) -> None:
        self._services, self._settings, self._form = services, settings, form
        self._said, self._watched, self._watched_training, self._timer = said, watched, watched_training, timer

    def start(self, request: gr.Request, data: Any, *values: object) -> Update:
        """Put a search in line."""
        try:
            if not data:
                raise SentenceError("tune_no_data")
            n = len(self._settings.controls)
            asked, search = self._settings.read(values[:n]), self._form.read(values[n:])
            store = runs_of(request, self._services)
            work = start_search(
                asked.model, data, asked.config, search, self._services.settings, store, name=asked.name
            )
            try:
                run_id = self._services.queue.submit(work, owner=store.owner)
            except UserError:
                store.delete(work.folder.id)
                raise
        except Exception as error:
            return {self._said: failed(error)}
        return {self._said: "", self._watched: (run_id,)}

    def show(self, request: gr.Request, event: gr.EventData) -> Update:
        """Show the run of a trial in the card of training runs."""
        try:
            run_id = sent(event, "value")
            if not isinstance(run_id, str):
                raise SentenceError("wrong_value")
            runs_of(request, self._services).read(run_id)
        except Exception as error:
            return {self._said: failed(error)}
        return {self._said: "", self._watched_training: (run_id,)}

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
