"""What the table's part does. Which file lies there is kept on the server: no name from the browser is trusted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import gradio as gr

from llm_app.classify.table import SEPARATOR, Columns
from llm_app.classify.types import Kind
from llm_app.data.table import Table
from llm_app.errors import UserError
from llm_app.services import Services
from llm_app.web.classify import table_views as views
from llm_app.web.classify.desk import EXAMPLE, MAX_PASTED, PASTED, Desk, Laid, reading_of, remembered, text_of, written
from llm_app.web.classify.table_parts import Parts
from llm_app.web.failures import SentenceError, failed, tried
from llm_app.web.html import GONE, sent, unfolded
from llm_app.web.tune.data_shelf import DataShelf
from llm_app.web.visitor import visitor_of

KIND_NAMES: dict[Kind, str] = {"single": "kind_single", "multi": "kind_multi", "regression": "kind_regression"}
MAX_CHOICES = 200
Update = dict[Any, Any]


class TableHandlers:
    """The handlers. Whoever asks gets to files of their own only."""

    def __init__(self, services: Services, desk: Desk, parts: Parts) -> None:
        self._settings, self._desk, self._parts = services.settings, desk, parts

    def example(self) -> Update:
        """Lay the example table."""
        return self._try(lambda: self._laid(Laid(str(EXAMPLE))))

    def bring(self, is_open: bool) -> Update:
        """Show or hide the place where a table comes in and is mended."""
        return self._opened(not is_open)

    def upload(self, request: gr.Request, file: object) -> Update:
        """Keep what was uploaded, and lay it."""

        def take() -> Update:
            if not isinstance(file, str) or not Path(file).is_file():
                raise SentenceError("own_no_file")  # gradio has made sure that it is this visitor's
            upload = Path(file)
            try:
                (kept,) = self._shelf(request).keep([upload])
            finally:
                upload.unlink(missing_ok=True)  # gradio would keep its copy for an hour
            return self._laid(Laid(str(kept)))

        return {self._parts.file: None, **self._try(take)}

    def read(
        self, request: gr.Request, laid: Laid | None, words: object, encoding: object, separator: object, header: object
    ) -> Update:
        """Read the text as it was pasted or mended; where it was not, the file as the form says."""

        def read() -> Update:
            if not isinstance(words, str | None) or len(words or "") > MAX_PASTED:
                raise SentenceError("wrong_value")
            reading = reading_of(encoding, separator, header)
            is_as_it_was = laid is not None and (not words or words == text_of(laid))
            if laid is not None and is_as_it_was:
                return self._laid(Laid(laid.path, reading, scored_on=laid.scored_on))
            if not words or not words.strip():
                raise SentenceError("table_none")
            name = PASTED if laid is None or Path(laid.path) == EXAMPLE else laid.name
            path = self._shelf(request).keep_text(name, words)
            # What a browser sends is UTF-8, whatever the file was before.
            before = laid or Laid("")
            return self._laid(replace(before, path=str(path), reading=replace(reading, encoding=None)))

        return self._try(read)

    def change(self, laid: Laid | None, *form: object) -> Update:
        """Take the columns as the form says now."""

        def change() -> Update:
            if laid is None:
                raise SentenceError("table_none")
            changed = replace(laid, columns=_columns(form[:-1]), drops=form[-1] is True)
            return {} if changed == laid else self._laid(changed)

        return self._try(change)

    def restore(self, request: gr.Request, event: gr.EventData) -> Update:
        """The table that lay here before a reload."""

        def restore() -> Update:
            kept = sent(event, "value")
            return self._laid(remembered(kept, self._shelf(request))) if kept else {}

        return self._try(restore)

    def _laid(self, laid: Laid) -> Update:
        """Read and show it. A table whose columns are wrong lies there all the same, so that they can be corrected."""
        parts = self._parts
        table = self._desk.table(laid)
        update: Update = {parts.paste: text_of(laid) or "", parts.encoding: laid.reading.encoding or "auto"}
        try:
            known = self._desk.read(laid)
        except UserError as error:
            return update | self._opened(False) | {
                parts.laid: replace(laid, columns=None), parts.notice: failed(error), parts.bad: "", parts.brought: "",
                **self._form(table, laid), parts.about: "", parts.preview: "",
            }  # fmt: skip
        # Bad rows are mended where they stand.
        update |= self._opened(bool(known.rows.problems))
        return update | self._form(table, known.laid) | {
            parts.laid: known.laid, parts.kept: written(known.laid),
            parts.brought: views.brought(known), parts.about: views.about(known),
            parts.preview: views.preview(known), parts.bad: views.bad_rows(known, can_mend=text_of(laid) is not None),
            parts.drops: gr.update(
                value=known.laid.drops,
                elem_classes=_classes(bool(known.rows.columns.truth and known.rows.unlabelled)),
            ),
        }  # fmt: skip

    def _form(self, table: Table, laid: Laid) -> Update:
        parts, columns = self._parts, laid.columns
        names = [(name[:60], name) for name in table.columns[:MAX_CHOICES]]
        optional = [("–", ""), *names]
        kind = columns.kind if columns else "single"
        return {
            parts.box: unfolded(True, "own-panel", "data-set"),
            parts.text: gr.update(choices=names, value=columns.text if columns else None),
            parts.pair: gr.update(choices=optional, value=(columns and columns.pair) or ""),
            parts.truth: gr.update(choices=optional, value=(columns and columns.truth) or ""),
            parts.kind: kind,
            parts.split: gr.update(
                value=columns.separator if columns else SEPARATOR, elem_classes=_classes(kind == "multi", "option")
            ),
        }  # fmt: skip

    def _opened(self, is_open: bool) -> Update:
        return {self._parts.is_open: is_open, self._parts.bring: unfolded(is_open, "own-panel", "bring")}

    def _shelf(self, request: gr.Request) -> DataShelf:
        return DataShelf.of(self._settings, visitor_of(request, self._settings))

    def _try(self, act: Callable[[], Update]) -> Update:
        return tried(self._parts.notice, act)


def _columns(form: tuple[object, ...]) -> Columns:
    """Raises: SentenceError for what no form of ours sends."""
    text, pair, truth, kind, split = form
    if not isinstance(text, str) or not all(isinstance(one, str | None) for one in (pair, truth, split)):
        raise SentenceError("wrong_value")
    if kind not in get_args(Kind):
        raise SentenceError("wrong_value")
    columns = Columns(text, str(pair) if pair else None, str(truth) if truth else None)
    return replace(columns, kind=cast(Kind, kind), separator=str(split or SEPARATOR))


def _classes(is_shown: bool, *others: str) -> list[str]:
    return [*others, *([] if is_shown else [GONE])]
