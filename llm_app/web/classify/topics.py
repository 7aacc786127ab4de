"""Topics of the table that lies on the desk: their key words, and a map of its texts."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from gradio.components import Component

from eval.report.sheet import csv_text
from llm_app.classify.topics.config import TopicsConfig
from llm_app.classify.topics.embedding import SentenceEncoder, open_sentence_encoder
from llm_app.classify.topics.find import find_topics
from llm_app.classify.topics.sheet import COLUMNS, rows_of
from llm_app.classify.topics.types import Embedded, Grouped, TopicMap
from llm_app.engine.catalog import embedded_encoder, find_model
from llm_app.errors import UserError
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark.results_markup import block, folded_command
from llm_app.web.buttons import small_button
from llm_app.web.classify import topics_views as views
from llm_app.web.classify.command import topics_command
from llm_app.web.classify.desk import EXAMPLE, Desk, Known, Laid
from llm_app.web.classify.halting import Halt, Task
from llm_app.web.failures import SentenceError
from llm_app.web.html import GONE, download, html
from llm_app.web.options import Form, build_form
from llm_app.web.tune.start import settled
from llm_app.web.views import notice

MAX_BASE = 500
MAX_TEXTS = 20_000  # a public page reads smaller files
TOLD_EVERY_SECONDS = 0.3
FILE_NAME = "topics.csv"
Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components that change. `shown`: the topics in sight, for the file; `command`: does the same."""

    find: gr.Button
    stop: gr.Button
    save: gr.Button
    notice: gr.HTML
    found: gr.HTML
    shown: gr.State
    command: gr.HTML

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True)
class TopicsForm:
    """The controls, in the order in which handlers get their values."""

    encoder: gr.Textbox
    form: Form

    @property
    def controls(self) -> list[Component]:
        """Every one of them."""
        return [self.encoder, *self.form.controls]

    def read(self, values: Sequence[object]) -> tuple[str, TopicsConfig]:
        """The name of the encoder, empty for the one that comes with the program; and the settings.

        Raises: UserError naming the field.
        """
        encoder, *rest = values
        if not isinstance(encoder, str | None) or len(encoder or "") > MAX_BASE:
            raise SentenceError("wrong_value")
        config: TopicsConfig = self.form.read(rest)
        return (encoder or "").strip(), config


def build_topics_form() -> TopicsForm:
    """The controls, where they are called for."""
    encoder = gr.Textbox(
        label=text.label("topics_encoder"), info=text.label("topics_encoder_help"), max_lines=1, max_length=MAX_BASE,
        elem_classes="option", elem_id="topics-encoder",
    )  # fmt: skip
    return TopicsForm(encoder, build_form(TopicsConfig, "topics"))


def build_topics() -> tuple[Parts, gr.Button]:
    """What changes, and the button of the example, where they are called for."""
    with gr.Row(elem_classes="choose", equal_height=False):
        html(f"<h2>{text.both('topics_title')}</h2>", elem_classes="step-box")
        example = small_button("table_example", "topics-example")
        find = small_button("topics_find", "topics-find", variant="primary")
        stop = small_button("stop", "topics-stop", GONE, variant="stop")
        save = small_button("topics_save", "topics-save", GONE)
    command = html("", elem_id="topics-command")
    said = html("", elem_id="topics-notice", elem_classes="run-notice")
    empty = f'<section class="run empty"><p>{text.both("topics_empty")}</p></section>'
    found = html(empty, elem_id="topics-found", elem_classes="results")
    return Parts(find, stop, save, said, found, gr.State(None), command), example


def connect_topics(
    services: Services, desk: Desk, parts: Parts, example: gr.Button, laid: gr.State, form: TopicsForm, saver: gr.HTML
) -> None:
    """What they do. `laid`: the table on the desk; `saver`: takes what the browser saves as a file."""
    handlers, outputs = TopicsHandlers(services, desk, parts, form), parts.all()
    slow: dict[str, Any] = {
        "show_progress": "hidden", "api_visibility": "private", "concurrency_id": "topics", "concurrency_limit": 1,
        "trigger_mode": "once",
    }  # fmt: skip
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    parts.find.click(handlers.find, [laid, *form.controls], outputs, **slow)
    example.click(handlers.example, form.controls, outputs, **slow)
    parts.stop.click(handlers.stop, None, None, **quick)
    parts.save.click(handlers.save, [parts.shown], [saver], **quick)
    typed = [event for control in form.controls for event in settled(control)]
    gr.on([laid.change, *typed], handlers.command, [laid, *form.controls], parts.command, **quick)


class TopicsHandlers:
    """Finds topics. The table stays on the server: no path from the browser is trusted here."""

    def __init__(self, services: Services, desk: Desk, parts: Parts, form: TopicsForm) -> None:
        self._services, self._settings = services, services.settings
        self._desk, self._parts, self._form = desk, parts, form
        self._task = Task(parts.find, parts.stop, parts.notice)

    def example(self, request: gr.Request, *form: object) -> Iterator[Update]:
        """Those of the example table."""
        yield from self.find(request, Laid(str(EXAMPLE)), *form)

    def find(self, request: gr.Request, laid: Laid | None, *form: object) -> Iterator[Update]:
        """Embed and group the texts, which can be stopped; then words and the map."""

        def work(halt: Halt) -> Generator[Update, None, Update]:
            encoder, config = self._form.read(form)
            if laid is None:
                raise SentenceError("topics_no_table")
            known = self._desk.found(laid)
            texts = [item.text for item in known.rows.items]
            if len(texts) > MAX_TEXTS:
                raise SentenceError("topics_too_many", n=len(texts), most=MAX_TEXTS)
            yield {self._parts.command: self._command(known, encoder, config)}
            events = halt.until(find_topics(texts, self._opened(encoder), config))
            return (yield from self._found(known, texts, events))

        yield from self._task.run(request, "topics_reading", work)

    def stop(self, request: gr.Request) -> None:
        """End what this page has under way."""
        self._task.stop(request)

    def command(self, laid: Laid | None, *form: object) -> str:
        """The command line that finds the same; nothing without a table, or for what Find topics will refuse."""
        try:
            return self._command(self._desk.found(laid), *self._form.read(form))
        except UserError:
            return ""

    def save(self, shown: views.Shown | None) -> str:
        """All texts with their topics as CSV."""
        if shown is None:
            return ""
        return download(FILE_NAME, csv_text(COLUMNS, rows_of(shown.found, shown.lines, shown.texts)))

    def _found(
        self, known: Known, texts: Sequence[str], events: Iterator[Embedded | Grouped | TopicMap]
    ) -> Generator[Update, None, Update]:
        """How far it is, and at last what there is to show."""
        parts, told_at = self._parts, 0.0
        for event in events:
            if isinstance(event, TopicMap):
                shown = views.Shown(event, known.rows.name, known.rows.lines, texts)
                return {
                    parts.found: views.topics(shown), parts.shown: shown, parts.notice: "",
                    parts.save: gr.update(elem_classes=[]),
                }  # fmt: skip
            if event.n_done == event.n or time.monotonic() - told_at > TOLD_EVERY_SECONDS:
                told_at = time.monotonic()
                yield {parts.notice: notice(_progress(event, len(texts)))}
        return {parts.notice: notice(text.both("topics_stopped"))}

    def _command(self, known: Known, encoder: str, config: TopicsConfig) -> str:
        return block(folded_command(topics_command(known, encoder, config, self._settings)))

    def _opened(self, encoder: str) -> SentenceEncoder:
        """Raises: UserError for one that is not there; on a public page, for any but the program's own."""
        if encoder and self._settings.is_public:
            raise SentenceError("topics_encoder_public")
        folder = find_model(encoder, self._settings).path if encoder else embedded_encoder()
        return open_sentence_encoder(folder, self._services.host.turn)


def _progress(event: Embedded | Grouped, n_texts: int) -> str:
    """How far it is, or what is done next."""
    if isinstance(event, Embedded):
        name = "topics_clustering" if event.n_done == event.n else "topics_embedding"
    else:
        name = "topics_placing" if event.n_done == event.n else "topics_trying"
    return text.both(name, done=event.n_done, n=event.n, texts=n_texts)
