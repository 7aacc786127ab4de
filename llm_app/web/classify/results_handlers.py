"""What happens around what a run came to. All of it is read from the run's folder; pages of rows, never all."""

import hashlib
import zipfile
from collections.abc import Callable
from typing import Any

import gradio as gr

from llm_app.jobs.classify_open import listed
from llm_app.jobs.classify_sheet import csv_of
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.store import RunStore
from llm_app.jobs.train_log import read_log
from llm_app.jobs.train_outcome import CLASSIFIER_KIND
from llm_app.jobs.train_result import offered
from llm_app.jobs.trial_runs import found_by
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark.results_cache import stamp_of
from llm_app.web.classify import calibration_views, confusion_views, rows_views, scores_views, versus_views
from llm_app.web.classify.answers import Answers
from llm_app.web.classify.calibration import calibration_of
from llm_app.web.classify.choice import choices
from llm_app.web.classify.results_parts import Parts
from llm_app.web.classify.results_shelf import ResultShelf
from llm_app.web.failures import SentenceError, failed
from llm_app.web.handout import new_place
from llm_app.web.html import GONE, opened, sent, unfolded
from llm_app.web.runs.views import LIVE
from llm_app.web.tune.after_views import size
from llm_app.web.views import notice
from llm_app.web.visitor import runs_of

BUSY_SECONDS, IDLE_SECONDS = 2.0, 5.0
Update = dict[Any, Any]
Cell = tuple[str, str] | None


class ResultHandlers:
    """Shows the run that is selected; draws anew only when something was written to it."""

    def __init__(self, services: Services, shelf: ResultShelf, parts: Parts) -> None:
        self._services, self._shelf, self._parts = services, shelf, parts

    def show(self, request: gr.Request, selected: object) -> Update:
        """A run from its beginning, or that none is selected."""
        return self._try(
            request, selected,
            # Nothing of the run before stays, also where this one has no rows yet.
            lambda store, folder: self._from_the_first() | self._drawn(store, folder, ("all", None, 0)),
        )  # fmt: skip

    def figures(self, request: gr.Request, selected: object) -> Update:
        """Its scores and all that is made of them, which takes a moment: baselines are learned, intervals drawn."""
        return self._try(request, selected, self._all_figures)

    def look(
        self, request: gr.Request, selected: object, order: object, cell: Cell, place: int, seen: tuple[object, ...]
    ) -> Update:
        """The same run a moment later; nothing is sent where nothing has changed."""
        unchanged: Update = {self._parts.timer: gr.skip()}
        if not isinstance(selected, str) or not selected:
            return unchanged

        def look(store: RunStore, folder: RunFolder) -> Update:
            if (*stamp_of(folder), self._status(store, folder)) == seen:
                return unchanged
            return self._drawn(store, folder, (order, cell, place))

        return self._try(request, selected, look)

    def order(self, request: gr.Request, selected: object, order: object, cell: Cell, place: int) -> Update:
        """Rows in another order, from the first."""
        return self._page(request, selected, order, cell, 0)

    def back(self, request: gr.Request, selected: object, order: object, cell: Cell, place: int) -> Update:
        """The page before."""
        return self._page(request, selected, order, cell, place - rows_views.PAGE)

    def on(self, request: gr.Request, selected: object, order: object, cell: Cell, place: int) -> Update:
        """The next page."""
        return self._page(request, selected, order, cell, place + rows_views.PAGE)

    def open_cell(
        self, request: gr.Request, event: gr.EventData, selected: object, order: object, cell: Cell, place: int
    ) -> Update:
        """The rows of a cell of the confusion matrix."""

        def open_cell(store: RunStore, folder: RunFolder) -> Update:
            shown = self._shown(folder)
            matrix = confusion_views.matrix_of(shown)
            found = confusion_views.named(matrix, sent(event, "value")) if matrix else None
            if found is None:
                raise SentenceError("wrong_value")
            rows = self._rows(shown, ("all", found, 0))
            return {**rows, self._parts.order: "all", self._parts.opener: opened("result_view_rows")}

        return self._try(request, selected, open_cell)

    def close_cell(self, request: gr.Request, selected: object, order: object, cell: Cell, place: int) -> Update:
        """All rows again."""
        return self._page(request, selected, order, None, 0)

    def set_threshold(self, request: gr.Request, selected: object, at: object) -> Update:
        """What another threshold would do."""

        def set_threshold(store: RunStore, folder: RunFolder) -> Update:
            if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at <= 1:
                raise SentenceError("wrong_value")
            shown = self._shown(folder)
            if not calibration_views.has_threshold(shown):
                raise SentenceError("wrong_value")
            return {self._parts.at_threshold: calibration_views.threshold(shown, float(at))}

        return self._try(request, selected, set_threshold)

    def compare(self, request: gr.Request, selected: object, other: object) -> Update:
        """The verdict against another classifier on the same rows."""

        def compare(store: RunStore, folder: RunFolder) -> Update:
            if not other:  # a menu that is left sends what stands in it, also where that is nothing
                return {self._parts.versus: _unchosen(), self._parts.notice: ""}
            found = self._shelf.results(store, folder)
            if found is None:
                raise SentenceError("scores_nothing_yet")
            chosen = next((one for one in found.others if one.key == other), None)
            if chosen is None:
                raise SentenceError("versus_gone")
            return {self._parts.versus: versus_views.verdict(found.shown, chosen), self._parts.notice: ""}

        return self._try(request, selected, compare)

    def csv(self, request: gr.Request, selected: object) -> Update:
        """The table with what was found, as a file."""

        def csv(store: RunStore, folder: RunFolder) -> Update:
            shown = self._shown(folder)
            path = new_place(f"{shown.table.name.rsplit('.', 1)[0]}-{folder.id}.csv")
            path.write_text(csv_of(shown.table, shown.judged), encoding="utf-8", newline="")
            return self._ready(path)

        return self._try(request, selected, csv)

    def export(self, request: gr.Request, selected: object) -> Update:
        """The trained classifier, as an archive."""

        def export(store: RunStore, folder: RunFolder) -> Update:
            written = read_log(folder).written
            if written is None or not (folder.path / written.place).is_dir():
                raise SentenceError("train_no_result")
            source = folder.path / written.place
            path = new_place(f"{written.name or folder.id}.zip")
            with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
                for file in sorted(source.rglob("*")):
                    if file.is_file():
                        archive.write(file, file.relative_to(source).as_posix())
            return self._ready(path)

        return self._try(request, selected, export)

    def use(self, request: gr.Request, selected: object) -> Update:
        """Choose the trained classifier."""

        def use(store: RunStore, folder: RunFolder) -> Update:
            listed_names = listed(self._services.settings)
            made = [path.name for path in offered(folder, self._services.settings)]
            name = next((name for name in made if name in listed_names), None)
            if name is None:
                raise SentenceError("train_no_result")
            menu = gr.update(choices=choices(self._services), value=name)
            said = notice(text.both("train_used", title=name))
            return {self._parts.model: menu, self._parts.notice: said}

        return self._try(request, selected, use)

    def _drawn(self, store: RunStore, folder: RunFolder, asked: tuple[object, Cell, int]) -> Update:
        parts, status = self._parts, self._status(store, folder)
        stamp = (*stamp_of(folder), status)  # before it is read: what comes meanwhile is drawn next time
        is_training = folder.spec().get("kind") == CLASSIFIER_KIND
        update: Update = {
            parts.timer: gr.Timer(BUSY_SECONDS if status in LIVE else IDLE_SECONDS), parts.seen: stamp,
            parts.notice: "", **(self._waiting() | {parts.due: ""} if status in LIVE else {parts.due: _word(stamp)}),
            parts.csv: unfolded(not is_training), parts.export: unfolded(is_training),
            # What a public page trains stays in its run, to be downloaded.
            parts.use: unfolded(is_training and not self._services.settings.is_public), parts.save: unfolded(False),
        }  # fmt: skip
        shown = self._shelf.shown(folder)
        if shown is None or not shown.n_done:
            return update | {parts.box: unfolded(False, "results")}
        return update | {parts.box: unfolded(True, "results")} | self._rows(shown, asked)

    def _all_figures(self, store: RunStore, folder: RunFolder) -> Update:
        parts = self._parts
        found = None if self._status(store, folder) in LIVE else self._shelf.results(store, folder)
        if found is None:
            return self._waiting()
        shown = found.shown
        others = [(other.name.label, other.key) for other in found.others]
        has_threshold = calibration_views.has_threshold(shown)
        return {
            parts.scores: scores_views.board(shown, found.others, found.why_no_bars),
            parts.confusion: confusion_views.matrix(shown),
            parts.calibration: calibration_views.diagram(calibration_of(shown)),
            parts.threshold: gr.update(value=0.5, elem_classes=["option", *([] if has_threshold else [GONE])]),
            parts.at_threshold: calibration_views.threshold(shown, 0.5) if has_threshold else "",
            parts.other: gr.update(choices=others, value=None),
            parts.versus: _unchosen() if others else notice(text.both("versus_none")),
        }  # fmt: skip

    def _waiting(self) -> Update:
        """Figures are of all rows: only once the last one is there."""
        parts, waiting = self._parts, notice(text.both("scores_when_over"))
        return dict.fromkeys((parts.scores, parts.confusion, parts.calibration, parts.versus), waiting) | {
            parts.threshold: unfolded(False, "option"), parts.at_threshold: "",
        }  # fmt: skip

    def _rows(self, shown: Answers, asked: tuple[object, Cell, int]) -> Update:
        parts, (order, cell, place) = self._parts, asked
        if order not in rows_views.ORDER_NAMES:
            raise SentenceError("wrong_value")
        places = rows_views.places_of(shown, order, cell)
        page, first = rows_views.cut(places, place)
        return {
            parts.rows: rows_views.page(shown, page), parts.cell: cell, parts.place: first,
            parts.chip: rows_views.cell_chip(cell),
            parts.position: rows_views.position(first, len(page), len(places)),
            parts.back: gr.update(interactive=first > 0),
            parts.on: gr.update(interactive=first + len(page) < len(places)),
        }  # fmt: skip

    def _page(self, request: gr.Request, selected: object, order: object, cell: Cell, place: int) -> Update:
        return self._try(
            request, selected,
            lambda store, folder: self._rows(self._shown(folder), (order, cell, place)),
        )  # fmt: skip

    def _from_the_first(self) -> Update:
        parts = self._parts
        return {parts.order: "all", parts.cell: None, parts.chip: "", parts.place: 0}

    def _nothing(self) -> Update:
        return {self._parts.box: unfolded(False, "results"), self._parts.seen: (), self._parts.due: ""}

    def _shown(self, folder: RunFolder) -> Answers:
        found = self._shelf.shown(folder)
        if found is None:
            raise SentenceError("scores_nothing_yet")
        return found

    def _status(self, store: RunStore, folder: RunFolder) -> str:
        return self._services.queue.mark([store.read(folder.id)])[0].status

    def _ready(self, path: Any) -> Update:
        said = text.both("result_file_is_ready", file=path.name, size=size(path.stat().st_size))
        return {
            self._parts.save: gr.update(value=str(path), elem_classes=[]), self._parts.notice: notice(said)
        }

    def _try(self, request: gr.Request, selected: object, act: Callable[[RunStore, RunFolder], Update]) -> Update:
        try:
            if not isinstance(selected, str) or not selected:
                return self._nothing()
            store = runs_of(request, self._services)
            folder = found_by(store, store.open(selected))  # of a search, what it found
            if folder is None:
                return self._nothing()
            return act(store, folder)
        except Exception as error:
            return {self._parts.notice: failed(error), self._parts.box: unfolded(True, "results")}


def _unchosen() -> str:
    """What stands in the comparison until it is said with what."""
    return notice(text.both("versus_choose"))


def _word(stamp: tuple[object, ...]) -> str:
    """A state of a run, without its path."""
    return hashlib.sha256(repr(stamp).encode()).hexdigest()
