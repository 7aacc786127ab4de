"""Export: a run as a file in every form that others read, and the command that repeats it.

A file is written where this process alone writes, under a name made of the run's id; gradio hands out a copy under a
name that nobody can guess and removes that after an hour.
"""

import secrets
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from eval.compare.changes import answer_text
from eval.report import Format, Reported, comparison_section, export
from eval.report.sheet import Cell, csv_text
from eval.types import EvaluationError
from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.jobs.compare import compare_runs
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.reports import read_reports
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark.preflight import shown_command
from llm_app.web.benchmark.results_cache import Shelf
from llm_app.web.benchmark.results_markup import MAX_TEXT, block, passage
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.handout import new_place
from llm_app.web.html import glance, html, sent, sight
from llm_app.web.views import notice
from llm_app.web.visitor import runs_of

SAMPLE_COLUMNS = ("task", "sample", "kind", "prompt", "target", "answer", "scores", "error")
COMPARING = ("html-en", "html-zh")  # forms that hold what was compared
MAX_CELL = 32_000  # characters; a spreadsheet takes 32,767
Update = dict[Any, Any]


@dataclass(frozen=True)
class Form:
    """A form of export: the name of its sentence, how its file ends, and what writes it."""

    label: str
    ending: str
    written: "Callable[[_Asked], bytes]"


@dataclass(frozen=True)
class _Asked:
    """The run, those compared with it (itself included) or none, and where to read."""

    folder: RunFolder
    compared: Sequence[RunFolder]
    settings: Settings
    shelf: Shelf


class Turns:
    """Numbers what an open page asks for, so that an answer that comes late does not take the place of a newer one."""

    def __init__(self) -> None:
        self._last = 0

    def take(self) -> int:
        """The number of what is asked for now."""
        self._last += 1
        return self._last

    def is_last(self, turn: int) -> bool:
        """Whether nothing was asked for since."""
        return turn == self._last


def build_exports(services: Services, shelf: Shelf, selected: gr.State, compared: gr.State, tab: gr.Tab) -> None:
    """The part and its handlers. `tab`: where it stands."""
    with gr.Row(elem_classes="export-controls", equal_height=False):
        form = gr.Dropdown(
            [(text.label(form.label), name) for name, form in FORMS.items()], label=text.label("export_form"),
            value=None, filterable=False, min_width=0, scale=2, elem_id="export-form",
        )  # fmt: skip
        save = gr.DownloadButton(
            text.label("result_download_file"), size="sm", variant="primary", scale=0, min_width=0, interactive=False,
            elem_id="export-download",
        )  # fmt: skip
    said = html("", elem_id="export-notice")
    preview = html("", elem_id="export-preview")
    command = gr.Textbox(
        label=text.label("result_command_that_repeats"), lines=2, max_lines=6, interactive=False, buttons=["copy"],
        elem_id="repeat-command",
    )  # fmt: skip
    handlers = ExportHandlers(services, shelf, form, save, said, preview)
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    slow: dict[str, Any] = {
        "show_progress": "hidden", "api_visibility": "private", "concurrency_id": "results", "concurrency_limit": 4
    }  # fmt: skip
    turns = gr.State(Turns())
    asked, shown = [form, selected, compared, turns], [form, save, said, preview]
    # What was compared stands in the report.
    changed = gr.on(
        [selected.change, compared.change], handlers.choose, [selected, turns], [*shown, command], **quick
    )
    seen = sight("#export-form", elem_id="export-sight")
    changed.then(glance, None, seen, **quick)
    tab.select(glance, None, seen, **quick)
    seen.load(handlers.begin, asked, shown, **slow)
    form.input(handlers.make, asked, shown, **slow)


class ExportHandlers:
    """Writes files when they are asked for."""

    def __init__(
        self, services: Services, shelf: Shelf, form: gr.Dropdown, save: gr.DownloadButton, said: gr.HTML,
        preview: gr.HTML,
    ) -> None:
        self._services, self._shelf, self._form = services, shelf, form
        self._save, self._said, self._preview = save, said, preview

    def choose(self, request: gr.Request, selected: object, turns: Turns) -> list[Any]:
        """Another run: no file yet, its command."""
        turns.take()
        nothing = [None, gr.update(value=None, interactive=False), "", ""]
        if not selected:
            return [*nothing, ""]
        try:
            folder = runs_of(request, self._services).open(str(selected))
            command = shown_command(folder.spec(), self._services.settings)
        except Exception as error:
            return [None, gr.update(value=None, interactive=False), self._failed(error), "", ""]
        return [*nothing, command]

    def begin(
        self, request: gr.Request, event: gr.EventData, form: object, selected: object, compared: object,
        turns: Turns,
    ) -> Iterator[Update]:
        """Where the part is in sight and no form was chosen, the report in the language of the page is."""
        if form or not selected or not sent(event, "is_seen"):
            yield {self._said: gr.skip()}
            return
        report = "html-zh" if str(sent(event, "language")).startswith("zh") else "html-en"
        yield {self._form: report}
        yield from self.make(request, report, selected, compared, turns)

    def make(
        self, request: gr.Request, form: object, selected: object, compared: object, turns: Turns
    ) -> Iterator[Update]:
        """Write the file, show how it begins, and let it be saved; unless something else is asked for meanwhile."""
        turn = turns.take()
        waiting = notice(text.both("result_writing_file"))
        yield {self._save: gr.update(interactive=False), self._said: waiting, self._preview: ""}
        try:
            update = self._made(request, form, selected, compared)
        except Exception as error:
            update = {self._said: self._failed(error)}
        # gradio sends the last frame of an event once more when it ends, which must not be the one that says to wait.
        yield update if turns.is_last(turn) else {self._said: gr.skip()}

    def _made(self, request: gr.Request, form: object, selected: object, compared: object) -> Update:
        """The file, written."""
        if not isinstance(form, str) or form not in FORMS or not isinstance(selected, str) or not selected:
            raise SentenceError("wrong_value")
        store = runs_of(request, self._services)
        runs = [run for run in compared if isinstance(run, str)] if isinstance(compared, tuple | list) else []
        others = [store.open(run) for run in runs] if selected in runs else []
        asked = _Asked(store.open(selected), others, self._services.settings, self._shelf)
        data = FORMS[form].written(asked)
        compares = f" {text.both('result_file_compares')}" if others and form in COMPARING else ""
        path = new_place(f"proofbench-{asked.folder.id}{FORMS[form].ending}")
        path.write_bytes(data)
        is_text = not FORMS[form].ending.endswith((".zip", ".html"))
        begins = data[: 4 * MAX_TEXT].decode("utf-8", errors="replace")[:MAX_TEXT] if is_text else ""
        return {
            self._form: form,  # what `begin` puts there may reach the browser after the person's own choice
            self._save: gr.update(value=str(path), interactive=True),
            self._said: notice(text.both("result_file_is_ready", file=path.name, size=_size(len(data))) + compares),
            self._preview: block(passage(begins)) if begins else "",
        }

    def _failed(self, error: Exception) -> str:
        request_id = secrets.token_hex(4)
        if isinstance(error, EvaluationError):
            error = UserError(str(error))
        note_error(error, request_id)
        return error_notice(error, request_id)


def _page(language: Any) -> Callable[[_Asked], bytes]:
    """The HTML report; with a comparison, that stands first."""

    def made(asked: _Asked) -> bytes:
        folders = asked.compared or [asked.folder]
        sections = []
        if len(folders) > 1:
            comparisons = compare_runs([str(folder.path) for folder in folders], asked.settings)
            sections = [comparison_section(comparison, language) for comparison in comparisons]
        reports = _reports(folders, asked.settings)
        return export(reports, "html", language=language, sections=sections).encode()

    return made


def _text(form: Format) -> Callable[[_Asked], bytes]:
    return lambda asked: export(_reports([asked.folder], asked.settings), form).encode()


def _reports(folders: Sequence[RunFolder], settings: Settings) -> list[Reported]:
    """Each run with the command that the page shows."""
    folders = list({folder.id: folder for folder in folders}.values())
    reports = read_reports([str(folder.path) for folder in folders], settings)
    return [
        replace(report, command=shown_command(folder.spec(), settings))
        for folder, report in zip(folders, reports, strict=True)
    ]


def _harness_files(asked: _Asked) -> bytes:
    """`results_*.json` and `samples_*.jsonl` as they lie in the run's folder, in one archive.

    Raises: SentenceError if they are not written yet.
    """
    folder = asked.folder.path
    files = sorted([*folder.glob("*/results_*.json"), *folder.glob("*/samples_*.jsonl")])
    if not files:
        raise SentenceError("result_no_harness_files")
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, path.relative_to(folder).as_posix())
        file.seek(0)
        return file.read()


def _samples_csv(asked: _Asked) -> bytes:
    """A line a sample, for a spreadsheet."""
    index = asked.shelf.index(asked.folder)

    def rows() -> Iterator[tuple[Cell, ...]]:
        for task in index.tasks():
            for sample in index.each(task):
                key = next(iter(sample.scores), "")
                scores = "; ".join(f"{name} {value}" for name, value in sample.scores.items())
                prompt = sample.requests[0][0] if sample.requests else ""
                yield (
                    task, sample.sample, index.kind(task, sample.sample), prompt[:MAX_CELL], sample.target[:MAX_CELL],
                    answer_text(sample, key)[:MAX_CELL], scores[:MAX_CELL], sample.error,
                )  # fmt: skip

    return csv_text(SAMPLE_COLUMNS, rows()).encode("utf-8", errors="replace")


FORMS = {
    "html-en": Form("result_export_html_en", ".html", _page("en")),
    "html-zh": Form("result_export_html_zh", ".zh.html", _page("zh")),
    "harness": Form("result_export_harness", ".zip", _harness_files),
    "csv": Form("result_export_csv", ".csv", _text("csv")),
    "samples": Form("result_export_samples", ".samples.csv", _samples_csv),
    "markdown": Form("result_export_markdown", ".md", _text("markdown")),
    "json": Form("result_export_json", ".json", _text("json")),
    "eval-results": Form("result_export_eval_results", ".eval_results.yaml", _text("eval-results")),
    "model-index": Form("result_export_model_index", ".model-index.yaml", _text("model-index")),
}


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{max(1, round(n_bytes / 1e3)):,} KB"
