"""One ruler for precisions, on the page: what is measured, how far it is, the table."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from llm_app.config import PRECISIONS
from llm_app.errors import UserError
from llm_app.jobs import ruler_run
from llm_app.jobs.ruler import Ask, own_text
from llm_app.jobs.store import RunStore
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark import ruler_view
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.html import html, shown
from llm_app.web.views import notice
from llm_app.web.visitor import runs_of

ALL = tuple(precision for precision in PRECISIONS if precision != "auto")
DEFAULT = ("fp32", "bf16", "int8", "nf4")
MAX_TEXT, MAX_TOKENS, MAX_LIMIT = 200_000, 8_192, 10_000
DEFAULT_TOKENS, DEFAULT_LIMIT = 1_024, 50
N_LOOKED_AT = 50  # newest runs among which the last measurement is looked for
RUNNING_SECONDS, IDLE_SECONDS = 1.0, 10.0
SOURCES = {"bundled": "tool_text_bundled", "own": "tool_text_own"}
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components that change."""

    start: gr.Button
    stop: gr.Button
    said: gr.HTML
    table: gr.HTML
    timer: gr.Timer
    run: gr.State


def build_ruler(
    page: gr.Blocks, services: Services, offered: Sequence[str], find: Callable[[object], str]
) -> None:
    """The form, the progress and the table."""
    html(f'<p class="quiet">{text.both("tool_ruler_about")}</p>')
    if services.settings.is_public:
        html(notice(text.both("public_mode")))
        return
    with gr.Row(elem_classes="tool-form", equal_height=False):
        precisions = gr.CheckboxGroup(
            list(ALL), value=list(DEFAULT), label=text.label("tool_precisions"), min_width=0, elem_id="ruler-precisions"
        )  # fmt: skip
        source = gr.Radio(
            [(text.label(label), value) for value, label in SOURCES.items()], value="bundled",
            label=text.label("tool_text"), min_width=0, elem_id="ruler-source", elem_classes="segments",
        )  # fmt: skip
        own = gr.Textbox(
            label=text.label("tool_text_own"), lines=4, max_lines=10, max_length=MAX_TEXT, visible="hidden",
            min_width=0, elem_id="ruler-text",
        )  # fmt: skip
        tokens = gr.Number(
            DEFAULT_TOKENS, label=text.label("tool_tokens"), minimum=1, maximum=MAX_TOKENS, precision=0, min_width=0,
            elem_id="ruler-tokens",
        )  # fmt: skip
        task = gr.Dropdown(
            [(text.label("tool_task_none"), ""), *((name, name) for name in offered)], value="",
            label=text.label("tool_task"), allow_custom_value=True, min_width=0, elem_id="ruler-task",
        )  # fmt: skip
        limit = gr.Number(
            DEFAULT_LIMIT, label=text.label("tool_limit"), minimum=1, maximum=MAX_LIMIT, precision=0, min_width=0,
            elem_id="ruler-limit",
        )  # fmt: skip
    with gr.Row(elem_classes="tool-buttons", equal_height=False):
        start = gr.Button(text.label("tool_measure"), variant="primary", size="sm", scale=0, elem_id="ruler-start")
        stop = gr.Button(
            text.label("stop"), variant="stop", size="sm", visible="hidden", scale=0, elem_id="ruler-stop"
        )  # fmt: skip
    said, table = html("", elem_id="ruler-notice"), html("", elem_id="ruler-table", elem_classes="results")
    parts = Parts(start, stop, said, table, gr.Timer(IDLE_SECONDS), gr.State(""))
    handlers = RulerHandlers(services, parts, find)
    outputs = [parts.start, parts.stop, parts.said, parts.table, parts.timer, parts.run]
    source.input(lambda chosen: shown(chosen == "own"), [source], [own], **QUICK)
    start.click(handlers.start, [precisions, source, own, tokens, task, limit], outputs, **QUICK)
    stop.click(handlers.stop, [parts.run], outputs, **QUICK)
    parts.timer.tick(handlers.look, [parts.run], outputs, **QUICK)
    page.load(handlers.last, None, outputs, **QUICK)


class RulerHandlers:
    """Puts a measurement in line and shows its folder."""

    def __init__(self, services: Services, parts: Parts, find: Callable[[object], str]) -> None:
        self._services, self._parts, self._find = services, parts, find

    def start(self, request: gr.Request, *values: object) -> Update:
        """Measure what was chosen of the loaded model."""
        p = self._parts
        try:
            precisions, ask = _read(values, self._find)
            store, host = runs_of(request, self._services), self._services.host
            run = ruler_run.start(host, host.config, precisions, ask, store)
            self._services.queue.submit(run, owner=store.owner)
        except Exception as error:
            return {p.said: self._failed(error)}
        return {**self.look(request, run.folder.id), p.run: run.folder.id}

    def stop(self, request: gr.Request, run: object) -> Update:
        """Stop it; the rows that it has stay."""
        try:
            store = runs_of(request, self._services)
            self._services.queue.cancel(store.open(str(run)).id, owner=store.owner)
        except Exception as error:
            return {self._parts.said: self._failed(error)}
        return self.look(request, run)

    def last(self, request: gr.Request) -> Update:
        """The newest measurement, whoever's tab it was started in: a reload shows where it is."""
        try:
            found = _newest(runs_of(request, self._services))
        except UserError:
            found = ""
        return {**self.look(request, found), self._parts.run: found}

    def look(self, request: gr.Request, run: object) -> Update:
        """The measurement as its folder stands."""
        p = self._parts
        if not isinstance(run, str) or not run:
            return {p.table: gr.skip()}
        try:
            store = runs_of(request, self._services)
            item = self._services.queue.mark([store.read(run)])[0]
            spec = store.open(run).spec()
            rows, refused, working = ruler_run.read(store.open(run))
        except Exception as error:
            return {p.said: self._failed(error), p.run: ""}
        is_open = item.status in ("running", "queued")
        return {
            p.start: gr.update(interactive=not is_open), p.stop: shown(is_open),
            p.said: ruler_view.progress(item, len(spec["precisions"]), working),
            p.table: ruler_view.table(rows, refused, str(spec["model"]["name"])),
            p.timer: gr.Timer(RUNNING_SECONDS if is_open else IDLE_SECONDS),
        }  # fmt: skip

    def _failed(self, error: Exception) -> str:
        request_id = secrets.token_hex(4)
        note_error(error, request_id)
        return error_notice(error, request_id)


def _newest(store: RunStore) -> str:
    return next((run.id for run in store.page(0, N_LOOKED_AT) if run.kind == ruler_run.KIND), "")


def _read(values: Sequence[object], find: Callable[[object], str]) -> tuple[list[str], Ask]:
    """Precisions and what each is asked, of the form as a browser sent it.

    Raises: UserError.
    """
    precisions, source, own, tokens, task, limit = values
    if not isinstance(precisions, list) or not all(isinstance(one, str) and one in ALL for one in precisions):
        raise SentenceError("wrong_value")
    if not precisions:
        raise SentenceError("tool_no_precision")
    if not isinstance(source, str) or source not in SOURCES:
        raise SentenceError("wrong_value")
    if not isinstance(own, str | None) or not isinstance(task, str | None):
        raise SentenceError("wrong_value")
    if len(own or "") > MAX_TEXT:
        raise SentenceError("tool_long_text", max=MAX_TEXT)
    if source == "own" and not (own or "").strip():
        raise SentenceError("tool_empty_text")
    words = (own or "") if source == "own" else own_text()
    name = find(task) if task else None
    return list(dict.fromkeys(precisions)), Ask(
        words, _whole(tokens, MAX_TOKENS), name, _whole(limit, MAX_LIMIT) if name else None
    )


def _whole(value: object, most: int) -> int:
    if not isinstance(value, int | float) or isinstance(value, bool) or value not in range(1, most + 1):
        raise SentenceError("tool_number", max=most)
    return int(value)
