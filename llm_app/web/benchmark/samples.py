"""The sample browser of one run: any of its samples, a page at a time, read by their place in the run's files."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from eval.compare import Answered
from llm_app.jobs.folder import RunFolder
from llm_app.services import Services
from llm_app.web.benchmark import samples_view
from llm_app.web.benchmark.results_cache import Shelf
from llm_app.web.benchmark.samples_controls import (
    PAGE,
    QUICK,
    Browser,
    Update,
    Wanted,
    build_browser,
    cut,
    paged,
    wanted,
)  # fmt: skip
from llm_app.web.benchmark.samples_index import SampleIndex
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.visitor import runs_of

KINDS = {
    "all": "result_show_all", "right": "kind_right", "wrong": "kind_wrong", "changed": "kind_changed",
    "unscored": "kind_unscored",
}  # fmt: skip
COUNTED = ("right", "wrong", "unscored")
CHANGED = ("fixed", "broken", "better", "worse", "changed")


def build_samples(services: Services, shelf: Shelf, selected: gr.State, compared: gr.State) -> None:
    """The browser and its handlers. `compared`: runs that were compared last, baseline first; empty for none."""
    browser = build_browser("samples", KINDS)
    handlers = SampleHandlers(services, shelf, browser)
    selected.change(handlers.choose, [selected, compared], browser.all(), **QUICK)
    browser.connect(handlers, selected, compared)


class SampleHandlers:
    """What the controls do; all of them end in one page of samples."""

    def __init__(self, services: Services, shelf: Shelf, browser: Browser) -> None:
        self._services, self._shelf, self._browser = services, shelf, browser

    def choose(self, request: gr.Request, selected: object, compared: object) -> Update:
        """Another run: from its beginning."""
        b = self._browser
        shown = self._show(request, selected, compared, [None, "all", "", False, 0])
        return {b.kind: "all", b.search: "", **shown}

    def begin(self, request: gr.Request, selected: object, compared: object, *values: object) -> Update:
        """Other samples of this run: from their beginning."""
        return self._show(request, selected, compared, [*values[:4], 0])

    def stay(self, request: gr.Request, selected: object, compared: object, *values: object) -> Update:
        """The same samples, shown otherwise."""
        return self._show(request, selected, compared, values)

    def back(self, request: gr.Request, selected: object, compared: object, *values: object) -> Update:
        """The page before."""
        return self._show(request, selected, compared, values, step=-PAGE)

    def on(self, request: gr.Request, selected: object, compared: object, *values: object) -> Update:
        """The next page."""
        return self._show(request, selected, compared, values, step=PAGE)

    def _show(
        self, request: gr.Request, selected: object, compared: object, values: Sequence[object], *, step: int = 0
    ) -> Update:
        b = self._browser
        if not selected:
            return {b.samples: "", b.count: ""}
        try:
            folder = runs_of(request, self._services).open(str(selected))
            index = self._shelf.index(folder)
            asked = wanted(values, index.tasks(), tuple(KINDS))
            numbers = self._numbers(request, folder, index, asked, compared)
            page, start = cut(numbers, max(0, asked.place + step))
            samples = index.read(asked.task, page)
            shown = samples_view.sample_list(
                [(sample, index.kind(asked.task, sample.sample)) for sample in samples],
                self._extracted(folder, asked.task, samples), shows_spaces=asked.shows_spaces,
            )  # fmt: skip
        except Exception as error:
            request_id = secrets.token_hex(4)
            note_error(error, request_id)
            return {b.samples: error_notice(error, request_id), b.count: ""}
        choices = gr.update(choices=index.tasks(), value=asked.task or None)
        found = index.counts(asked.task)
        counts = {KINDS[kind]: found[kind] for kind in COUNTED if found[kind] or not found["scored"]}
        return {b.task: choices, b.samples: shown, **paged(b, start, len(page), len(numbers), counts)}

    def _numbers(
        self, request: gr.Request, folder: RunFolder, index: SampleIndex, asked: Wanted, compared: object
    ) -> Sequence[int]:
        if asked.kind == "changed":
            numbers = self._changed(request, folder, index, asked.task, compared)
        else:
            numbers = index.samples(asked.task, asked.kind)
        return index.matching(asked.task, numbers, asked.words)

    def _extracted(
        self, folder: RunFolder, task: str, samples: Sequence[Answered]
    ) -> Mapping[int, Mapping[str, Any]]:
        """What was taken as the answer, where the model wrote text; its file is not opened for choices."""
        is_text = any(isinstance(answer, str) for sample in samples for answer in sample.answers)
        return self._shelf.extracted(folder, task) if is_text else {}

    def _changed(
        self, request: gr.Request, folder: RunFolder, index: SampleIndex, task: str, compared: object
    ) -> list[int]:
        """Samples of which the score, or the answer where it has none, is not that of the other run."""
        runs = list(compared) if isinstance(compared, tuple | list) else []
        if folder.id not in runs:
            raise SentenceError("result_nothing_compared")
        store = runs_of(request, self._services)
        changed: set[int] = set()
        for found in self._shelf.compared([store.open(run_id) for run_id in runs]):
            if folder.id in (found.comparison.baseline_id, found.comparison.candidate_id):
                changed.update(*(found.kinds.get(task, {}).get(kind, ()) for kind in CHANGED))
        return [number for number in index.samples(task) if number in changed]
