"""What the data part does. Which files lie there is kept on the server: no name from the browser is trusted."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from llm_app.data import dataset_info
from llm_app.data.formats import Mapping as Columns
from llm_app.data.formats import detect
from llm_app.data.mix import DatasetSpec
from llm_app.data.table import Table
from llm_app.data.types import Note
from llm_app.errors import UserError
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.failures import SentenceError, failed, tried
from llm_app.web.gathered import ANSWERS, PAIRS, Gathered
from llm_app.web.html import GONE, sent, shown, unfolded
from llm_app.web.tune import data_draft as draft
from llm_app.web.tune import data_views as views
from llm_app.web.tune.data_desk import USED, Desk, Known, added
from llm_app.web.tune.data_parts import Parts
from llm_app.web.tune.data_shelf import DataShelf
from llm_app.web.views import notice
from llm_app.web.visitor import visitor_of

CHATS = ("prompt_completion", "preference", "alpaca")  # layouts that can do without the chat template
MAX_CHOICES, MAX_PATH = 200, 1_000
Update = dict[Any, Any]
Data = tuple[DatasetSpec, ...]


class DataHandlers:
    """The handlers. Whoever asks gets to files of their own only; paths are for the owner of this machine."""

    def __init__(self, services: Services, parts: Parts) -> None:
        self._settings, self._parts = services.settings, parts
        self._desk, self._gathered = Desk(services.settings), Gathered(services.settings)

    def example(self, data: Data) -> Update:
        """Put the example data on the desk."""
        return self._try(lambda: self._add(data, [DatasetSpec(str(draft.EXAMPLE))]))

    def answers(self, request: gr.Request, data: Data) -> Update:
        """Put the answers that were added in the Chat tab on the desk, as they are now."""
        return self._try(lambda: self._from_chat(request, data, ANSWERS))

    def votes(self, objective: Any) -> Callable[..., Update]:
        """A handler that puts the votes of the Chat tab on the desk as pairs, and chooses preference tuning."""

        def votes(request: gr.Request, data: Data) -> Update:
            return self._try(lambda: {**self._from_chat(request, data, PAIRS), objective: "dpo"})

        return votes

    def arrive(self, request: gr.Request) -> Update:
        """The tab was opened: what the Chat tab has for it, with how much."""
        parts = self._parts
        try:
            visitor = visitor_of(request, self._settings)
            counts = [self._gathered.text(visitor, name).count("\n") for name in (ANSWERS, PAIRS)]
        except UserError:  # no cookie: nothing was gathered either
            counts = [0, 0]
        return dict(zip((parts.answers, parts.votes), (shown(n > 0) for n in counts), strict=True))

    def restore(self, request: gr.Request, event: gr.EventData) -> Update:
        """What lay on the desk before a reload."""

        def restore() -> Update:
            kept = sent(event, "value")
            if not kept:
                return {}
            found, n_gone = draft.read(kept, self._settings, self._shelf(request))
            self._desk.check_number(found)
            data = tuple(self._as_now(spec) for spec in found)
            said = notice(text.both("tune_gone", n=n_gone), "warning") if n_gone else ""
            return {self._parts.data: data, **self._shown(data, 0), self._parts.notice: said}

        return self._try(restore)

    def bring(self, is_open: bool) -> Update:
        """Show or hide the place where files come in."""
        return {self._parts.is_open: not is_open, self._parts.bring: unfolded(not is_open, "own-panel", "bring")}

    def upload(self, request: gr.Request, data: Data, files: object) -> Update:
        """Keep what was uploaded, and put it on the desk."""

        def take() -> Update:
            uploads = [Path(file) for file in files if isinstance(file, str)] if isinstance(files, list) else []
            if not uploads or not all(upload.is_file() for upload in uploads):
                raise SentenceError("own_no_file")  # gradio has made sure that they are this visitor's
            try:
                kept = self._shelf(request).keep(uploads)
            finally:
                for upload in uploads:
                    upload.unlink(missing_ok=True)  # gradio would keep its copy for an hour
            return self._bring_in(data, kept)

        return {self._parts.file: None, **self._try(take)}

    def take(self, data: Data, path: object) -> Update:
        """Put a file of this machine on the desk."""

        def take() -> Update:
            if self._settings.is_public:
                raise SentenceError("public_mode")
            if not isinstance(path, str) or len(path) > MAX_PATH:
                raise SentenceError("wrong_value")
            if not path.strip():
                raise SentenceError("tune_no_path")
            with contextlib.suppress(RuntimeError):  # of a home folder that nobody has
                return {**self._bring_in(data, [Path(path.strip()).expanduser().absolute()]), self._parts.path: ""}
            raise SentenceError("tune_no_path")

        return self._try(take)

    def pick(self, data: Data, place: object) -> Update:
        """Show another data set."""
        return self._try(lambda: self._shown(data, _place(data, place)))

    def remove(self, data: Data, place: object) -> Update:
        """Take a data set from the desk; its file stays where it is."""

        def remove() -> Update:
            n = _place(data, place)
            rest = (*data[:n], *data[n + 1 :])
            return {self._parts.data: rest, **self._shown(rest, min(n, len(rest) - 1))}

        return self._try(remove)

    def change(self, data: Data, place: object, *form: object) -> Update:
        """Read the data set as the form says now."""

        def change() -> Update:
            n = _place(data, place)
            spec = self._desk.corrected(data[n], form)
            changed = (*data[:n], spec, *data[n + 1 :])
            if changed == data:
                return {}
            return {self._parts.data: changed, **self._shown(changed, n)}

        return self._try(change)

    def _from_chat(self, request: gr.Request, data: Data, name: str) -> Update:
        """A copy as things stand, in place of an older one."""
        words = self._gathered.text(visitor_of(request, self._settings), name)
        if not words:
            raise SentenceError("tune_nothing_from_chat")
        shelf = self._shelf(request)
        older = [spec for spec in data if Path(spec.path).name == name and shelf.holds(Path(spec.path))]
        if self._settings.is_public:  # where few uploads are kept; on this machine a run finds its copy again
            for spec in older:
                shelf.drop(Path(spec.path))
        others = tuple(spec for spec in data if spec not in older)
        return self._add(others, [DatasetSpec(str(shelf.keep_text(name, words)))])

    def _shelf(self, request: gr.Request) -> DataShelf:
        return DataShelf.of(self._settings, visitor_of(request, self._settings))

    def _bring_in(self, data: Data, paths: Sequence[Path]) -> Update:
        """The files themselves, or the data sets that a dataset_info.json among them describes."""
        specs, notes = list[DatasetSpec](), list[Note]()
        infos = [path / dataset_info.FILE_NAME if path.is_dir() else path for path in paths]
        described = [path for path in infos if path.name == dataset_info.FILE_NAME]
        for path in described:
            found, said = dataset_info.read_specs(path)
            specs += found
            notes += said
        if not described:
            specs = [DatasetSpec(str(path)) for path in paths]
        if not specs:
            raise SentenceError("tune_describes_nothing")
        return self._add(data, specs, notes)

    def _add(self, data: Data, specs: Sequence[DatasetSpec], notes: Sequence[Note] = ()) -> Update:
        """Read and show them. What was read now says what it is, so that it must stay so until it is trained on."""
        self._desk.check_number(added(data, specs))
        read = [replace(spec, sha256=self._desk.read(spec).table.digest) for spec in specs]
        found = added(data, read)
        place = next(n for n, spec in enumerate(found) if spec.path == read[-1].path)
        said = "".join(notice(text.pair((note.text, note.text_zh))) for note in notes)
        return {
            self._parts.data: found, **self._shown(found, place), self._parts.notice: said,
            self._parts.is_open: False, self._parts.bring: unfolded(False, "own-panel", "bring"),
        }  # fmt: skip

    def _shown(self, data: Data, place: int) -> Update:
        parts, panel = self._parts, self._parts.chosen
        known = [self._read(spec) for spec in data]
        choices = [(views.choice(spec, one), str(n)) for n, (spec, one) in enumerate(zip(data, known, strict=True))]
        update: Update = {
            parts.rows: views.rows(data, known), parts.notice: "", parts.kept: draft.written(data, self._settings),
            parts.radio: gr.update(choices=choices, value=str(place) if data else None),
        }  # fmt: skip
        if not data:
            return update | {panel.box: unfolded(False, "own-panel", "data-set")}
        one = known[place]
        update |= {panel.box: unfolded(True, "own-panel", "data-set"), panel.weight: data[place].weight}
        if isinstance(one, UserError):
            # Most often a column is still to be named: the form for that stands open.
            said: Update = {panel.about: failed(one), panel.preview: "", panel.bad: ""}
            with contextlib.suppress(UserError):
                table = self._desk.table(data[place])
                said |= self._form(data[place], table, data[place].mapping or detect(table))
                said[panel.fold] = gr.update(open=True)
            return update | said
        return update | self._form(data[place], one.table, one.mapping) | {
            panel.about: views.about(one), panel.preview: views.preview(one), panel.bad: views.bad_rows(one),
        }  # fmt: skip

    def _read(self, spec: DatasetSpec) -> Known | UserError:
        try:
            return self._desk.read(spec)
        except UserError as error:
            return error

    def _as_now(self, spec: DatasetSpec) -> DatasetSpec:
        known = self._read(spec)
        return spec if isinstance(known, UserError) else replace(spec, sha256=known.table.digest)

    def _form(self, spec: DatasetSpec, table: Table, mapping: Columns) -> Update:
        """The controls for one data set."""
        panel = self._parts.chosen
        names = [("–", ""), *((name[:60], name) for name in table.columns[:MAX_CHOICES])]
        update: Update = {
            panel.layout: mapping.layout, panel.encoding: spec.reading.encoding or "auto",
            panel.is_chat: gr.update(value=mapping.is_chat, elem_classes=_classes(mapping.layout in CHATS)),
            panel.split_at: gr.update(
                value=mapping.split_at or "", elem_classes=_classes(mapping.layout == "text", "option")
            ),
        }  # fmt: skip
        for name, dropdown in panel.columns.items():
            classes = _classes(name in USED[mapping.layout], "option")
            update[dropdown] = gr.update(choices=names, value=getattr(mapping, name) or "", elem_classes=classes)
        return update

    def _try(self, act: Callable[[], Update]) -> Update:
        return tried(self._parts.notice, act)


def _place(data: Data, place: object) -> int:
    if place not in [str(n) for n in range(len(data))]:
        raise SentenceError("wrong_value")
    return int(str(place))


def _classes(is_shown: bool, *others: str) -> list[str]:
    # By a class: gradio forgets that something was shown while its fold was not open yet.
    return [*others, *([] if is_shown else [GONE])]
