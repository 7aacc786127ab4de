"""A file of rows for the scores alone, beside the table that a classifier learns from."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from llm_app.data.read import KINDS
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.buttons import small_button
from llm_app.web.classify import table_parts
from llm_app.web.classify.desk import Desk, Laid, written
from llm_app.web.failures import SentenceError, failed, tried
from llm_app.web.html import GONE, html
from llm_app.web.tune.data_shelf import DataShelf
from llm_app.web.views import notice
from llm_app.web.visitor import visitor_of

QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}
Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components that change."""

    file: gr.File
    about: gr.HTML
    drop: gr.Button


def build_scored_rows() -> Parts:
    """The components, in the place where it is called."""
    with gr.Accordion(text.label("scored_rows_fold"), open=False, elem_classes="fold", elem_id="scored-rows"):
        file = gr.File(
            label=text.label("scored_rows_file"), file_count="single", file_types=list(KINDS), height=96,
            elem_id="scored-rows-file",
        )  # fmt: skip
        about = html("", elem_id="scored-rows-about")
        drop = small_button("scored_rows_drop", "scored-rows-drop", GONE)
    return Parts(file, about, drop)


def connect_scored_rows(services: Services, desk: Desk, parts: Parts, table: table_parts.Parts) -> None:
    """What they do. The file belongs to the table on the desk: with another table it is gone."""
    handlers = ScoredRowsHandlers(services, desk, parts, table)
    laid, outputs = table.laid, [parts.file, parts.about, parts.drop, table.laid, table.kept]
    parts.file.upload(handlers.upload, [parts.file, laid], outputs, **QUICK)
    parts.drop.click(handlers.drop, [laid], outputs, **QUICK)
    laid.change(handlers.show, [laid], outputs, **QUICK)


class ScoredRowsHandlers:
    """The handlers. Whoever asks gets to files of their own only."""

    def __init__(self, services: Services, desk: Desk, parts: Parts, table: table_parts.Parts) -> None:
        self._settings, self._desk, self._parts, self._table = services.settings, desk, parts, table

    def upload(self, request: gr.Request, file: object, laid: Laid | None) -> Update:
        """Keep what was uploaded, and lay it beside the table. What it says of it comes with the change of the desk."""

        def take() -> Update:
            if laid is None:
                raise SentenceError("table_none")
            if not isinstance(file, str) or not Path(file).is_file():
                raise SentenceError("own_no_file")  # gradio has made sure that it is this visitor's
            upload = Path(file)
            try:
                (kept,) = DataShelf.of(self._settings, visitor_of(request, self._settings)).keep([upload])
            finally:
                upload.unlink(missing_ok=True)  # gradio would keep its copy for an hour
            beside = replace(laid, scored_on=str(kept))
            self._desk.scored_rows(beside)  # what cannot be read is told now, and not laid
            return {self._table.laid: beside, self._table.kept: written(beside)}

        return {self._parts.file: None, **tried(self._parts.about, take)}

    def drop(self, laid: Laid | None) -> Update:
        """The table alone again."""
        if laid is None:
            return {}
        alone = replace(laid, scored_on=None)
        return {self._table.laid: alone, self._table.kept: written(alone)}

    def show(self, laid: Laid | None) -> Update:
        """Which rows are scored, if a file of them lies beside the table."""
        if laid is None or laid.scored_on is None:
            return {self._parts.about: "", self._parts.drop: gr.update(elem_classes=[GONE])}
        try:
            rows = self._desk.scored_rows(laid)
            n = sum(truth is not None for truth in rows.truths)
            about = notice(text.both("scored_rows_about", title=rows.name, n=n))
        except Exception as error:
            about = failed(error)
        return {self._parts.about: about, self._parts.drop: gr.update(elem_classes=[])}
