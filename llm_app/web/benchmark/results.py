"""Results of the chosen run: table, plots, samples, comparison, export.

While it runs, its card above has the scores so far; here stand its plots and samples.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from eval.report import Row
from eval.report.estimate import finite
from eval.report.plots import Bar
from eval.report.rows import NORMAL
from llm_app.errors import UserError
from llm_app.jobs.files import read_results
from llm_app.jobs.folder import RunFolder, RunNotFound
from llm_app.jobs.store import Run, RunStore
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark import plots, table
from llm_app.web.benchmark.baselines import is_asked_alike, title_of
from llm_app.web.benchmark.comparison import build_comparison
from llm_app.web.benchmark.exports import build_exports
from llm_app.web.benchmark.results_cache import Figures, Shelf, Stamp, stamp_of
from llm_app.web.benchmark.results_markup import block, said
from llm_app.web.benchmark.samples import build_samples
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.html import GONE, html, unfolded
from llm_app.web.runs.views import when
from llm_app.web.visitor import runs_of

RUNNING_SECONDS, IDLE_SECONDS = 2.0, 10.0
N_HISTORY = 8  # runs of a task that are drawn
N_LOOKED_AT = 100  # newest runs among which they are looked for
Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components that a run's figures change."""

    empty: gr.HTML
    all: gr.Column
    head: gr.HTML
    table: gr.HTML
    plots: gr.HTML
    history: gr.HTML
    timer: gr.Timer
    seen: gr.State


def build_results(page: gr.Blocks, services: Services, selected: gr.State) -> None:
    """The part and its handlers. `selected`: the id of the run that is shown, "" for none."""
    shelf = Shelf(services.settings)
    compared = gr.State(())
    empty = html(block(said("result_no_run_chosen")), elem_id="results-empty", elem_classes="empty")
    with gr.Column(elem_id="results", elem_classes=["results", GONE], min_width=0) as everything:
        head, rows = html("", elem_id="results-head"), html("", elem_id="results-table")
        # Their children are there from the start: a button that is shown before its tab is opened would stay hidden.
        with gr.Tabs(elem_classes="views"):
            with gr.Tab(text.label("result_view_plots"), id="result_view_plots"):
                drawn = html("", elem_id="results-plots")
                with gr.Accordion(text.label("result_view_history"), open=False, elem_classes="fold"):
                    past = html("", elem_id="results-history")
            with gr.Tab(text.label("result_view_samples"), id="result_view_samples", render_children=True):
                build_samples(services, shelf, selected, compared)
            with gr.Tab(text.label("result_view_compare"), id="result_view_compare", render_children=True) as compare:
                build_comparison(services, shelf, selected, compared, head=head, tab=compare)
            with gr.Tab(text.label("result_view_export"), id="result_view_export", render_children=True) as export:
                build_exports(services, shelf, selected, compared, export)
    parts = Parts(empty, everything, head, rows, drawn, past, gr.Timer(IDLE_SECONDS), gr.State(()))
    handlers = ResultHandlers(services, shelf, parts)
    outputs = [
        parts.empty, parts.all, parts.head, parts.table, parts.plots, parts.history, parts.timer, parts.seen
    ]  # fmt: skip
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    selected.change(handlers.show, [selected], outputs, **quick)
    parts.timer.tick(handlers.look, [selected, parts.seen], outputs, **quick)
    page.load(handlers.show, [selected], outputs, **quick)


class ResultHandlers:
    """Shows a run as its folder stands; draws anew only when something was written to it."""

    def __init__(self, services: Services, shelf: Shelf, parts: Parts) -> None:
        self._services, self._shelf, self._parts = services, shelf, parts

    def show(self, request: gr.Request, selected: object) -> Update:
        """A run, or that none is chosen."""
        p = self._parts
        if not isinstance(selected, str) or not selected:
            return {p.empty: block(said("result_no_run_chosen")), p.all: unfolded(False, "results"), p.seen: ()}
        try:
            store = runs_of(request, self._services)
            folder, run = store.open(selected), self._run(store, selected)
            if run.kind != "benchmark":
                raise SentenceError("result_no_benchmark")
            return self._drawn(store, folder, run)
        except Exception as error:
            request_id = secrets.token_hex(4)
            note_error(error, request_id)
            return {p.empty: error_notice(error, request_id), p.all: unfolded(False, "results"), p.seen: (selected,)}

    def look(self, request: gr.Request, selected: object, seen: Stamp) -> Update:
        """The same run a moment later; nothing is sent where nothing has changed."""
        p = self._parts
        if not isinstance(selected, str) or not selected:
            return {p.timer: gr.skip()}
        try:
            store = runs_of(request, self._services)
            run = self._run(store, selected)
            if (*stamp_of(store.open(selected)), run.status, self._is_filing(store, run)) == seen:
                return {p.timer: gr.skip()}
        except UserError:
            if seen == (selected,):
                return {p.timer: gr.skip()}  # said already
        return self.show(request, selected)

    def _run(self, store: RunStore, selected: str) -> Run:
        return self._services.queue.mark([store.read(selected)])[0]

    def _is_filing(self, store: RunStore, run: Run) -> bool:
        """Whether all is answered, and what is made of all answers together is still being computed."""
        try:
            return run.status == "done" and self._services.queue.status(run.id, owner=store.owner).state != "over"
        except RunNotFound:
            return False

    def _drawn(self, store: RunStore, folder: RunFolder, run: Run) -> Update:
        p, is_running, is_filing = self._parts, run.status == "running", self._is_filing(store, run)
        # Before it is read: what comes meanwhile is drawn next time.
        stamp = (*stamp_of(folder), run.status, is_filing)
        is_open = run.status in ("running", "queued")
        pace = gr.Timer(RUNNING_SECONDS if is_open or is_filing else IDLE_SECONDS)
        if run.n_done == 0:
            nothing = block(said("result_run_has_nothing_yet" if is_open else "result_run_is_empty"))
            return {p.empty: nothing, p.all: unfolded(False, "results"), p.timer: pace, p.seen: stamp}
        figures = self._shelf.figures(folder, is_running=is_running or is_filing)
        return {
            p.empty: "", p.all: unfolded(True, "results"),
            p.head: "" if is_open else table.head(run, figures, is_filing=is_filing),
            p.table: "" if is_open else table.table(figures.rows),
            p.plots: plots.overview(figures.rows),
            p.history: gr.skip() if is_running else plots.history(self._history(store, run, figures)),
            p.timer: pace, p.seen: stamp,
        }  # fmt: skip

    def _history(self, store: RunStore, run: Run, figures: Figures) -> dict[str, list[Bar]]:
        """The first metric of each task in this run and in those before that were asked the same, to the end."""
        mine, spec = first_of(figures.rows), store.open(run.id).spec()
        found: dict[str, list[Bar]] = {
            task: [Bar(f"{when(run.created)[5:]} · {figures.reported.label}", 0, row)]
            for task, row in mine.items() if row.value is not None
        }
        for other in store.page(0, N_LOOKED_AT):
            wanted = [task for task in found if len(found[task]) < N_HISTORY]
            is_earlier = other.created < run.created and other.status == "done" and other.kind == "benchmark"
            if not wanted or not is_earlier or not set(other.tasks) & set(run.tasks):
                continue
            try:
                before = store.open(other.id)
                results, theirs = read_results(before), before.spec()
                wanted = [task for task in wanted if is_asked_alike(spec, theirs, [task])]
            except (UserError, KeyError):
                continue  # damaged, deleted or of an earlier version; its own line in the list says so
            for task in wanted:
                past = _past(mine[task], other, results)
                if past is not None:
                    found[task].append(Bar(f"{when(other.created)[5:]} · {title_of(other)}", 5, past))
        return found


def first_of(rows: tuple[Row, ...]) -> dict[str, Row]:
    """The first score of each task."""
    return {row.task: row for row in reversed(rows)}


def _past(row: Row, run: Run, results: Mapping[str, Any]) -> Row | None:
    """The same score in an earlier run, from its table alone: its samples are not read. None if it has none."""
    scores = results.get("results", {}).get(row.task, {})
    value = finite(scores.get(f"{row.metric},{row.filter}"))
    if value is None:
        metric, ended = run.scores.get(row.task, ("", None))
        value = finite(ended) if metric == row.metric else None
    if value is None:
        return None
    stderr = finite(scores.get(f"{row.metric}_stderr,{row.filter}"))
    half = None if stderr is None else NORMAL * stderr
    ends = (None, None) if half is None else (value - half, value + half)
    n = results.get("n-samples", {}).get(row.task, {}).get("effective", row.n_asked)
    return replace(
        row, value=value, stderr=stderr, low=ends[0], high=ends[1], n=n, n_answered=row.n_asked,
        n_unscored=row.n_asked - n, chance=None if row.is_partial else row.chance, n_cut=0,
    )  # fmt: skip
