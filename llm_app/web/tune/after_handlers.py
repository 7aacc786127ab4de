"""What is done with what a training run learned. All long work is a run of its own, and is shown from its folder."""

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gradio as gr

from llm_app.errors import UserError
from llm_app.jobs import export_run, helped
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.store import Run, RunStore
from llm_app.jobs.train_log import Written, read_log
from llm_app.jobs.train_result import ADAPTER
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark.changes import Changes
from llm_app.web.benchmark.samples_controls import Browser
from llm_app.web.failures import SentenceError, failed
from llm_app.web.handout import new_place
from llm_app.web.html import opened, unfolded
from llm_app.web.model.adapters import let_answer
from llm_app.web.runs.views import LIVE
from llm_app.web.tune import after_views
from llm_app.web.tune.after_views import ADAPTER_FORM
from llm_app.web.tune.side_runs import SideRuns, is_live, progress
from llm_app.web.views import notice
from llm_app.web.visitor import runs_of

Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components that change. `seen`: what stands in the browser already; `compared`: both sides of the verdict."""

    box: gr.Column
    chat: gr.Button
    helped: gr.Button
    form: gr.Dropdown
    export: gr.Button
    stop: gr.Button
    fetch: gr.Button
    save: gr.DownloadButton
    notice: gr.HTML
    exported: gr.HTML
    asking: gr.HTML
    result: gr.Column
    verdict: gr.HTML
    tab: gr.HTML
    compared: gr.State
    seen: gr.State
    browser: Browser

    def all(self) -> list[Any]:
        """Every one of them."""
        return [*(getattr(self, field.name) for field in fields(self)[:-1]), *self.browser.all()]


@dataclass(frozen=True)
class _Shown:
    """A training run with what was made of it."""

    run: Run
    folder: RunFolder
    written: Written | None
    export: Run | None
    helped: Run | None


class AfterHandlers:
    """The handlers. Runs are named by ids of the visitor's own store."""

    def __init__(self, services: Services, parts: Parts, changes: Changes) -> None:
        self._services, self._parts, self._changes = services, parts, changes
        self._side = SideRuns(services)

    def look(self, request: gr.Request, selected: object, seen: object) -> Update:
        """What can be done with the run, and how far it is; nothing where that has not changed."""
        parts = self._parts
        if not isinstance(selected, str) or not selected:
            return {parts.box: unfolded(False, "after"), parts.seen: ""}
        try:
            store = runs_of(request, self._services)
            found = self._found(store, selected)
            state = f"{selected} {(found.run.status, found.written, found.export, found.helped)!r}"
            if state == seen:
                return {parts.seen: seen}
            # A file that is ready, and what was said of it, belong to the run that was shown.
            is_other = not (isinstance(seen, str) and seen.startswith(f"{selected} "))
            cleared: Update = {parts.save: unfolded(False), parts.notice: ""} if is_other else {}
            return {parts.seen: state, **cleared, **self._drawn(request, store, found)}
        except Exception as error:
            return {parts.notice: failed(error)}

    def chat(self, request: gr.Request, selected: object) -> Update:
        """Put the adapter into the loaded base, and open the chat."""

        def act(store: RunStore, folder: RunFolder) -> Update:
            written = _result(folder)
            if self._services.settings.is_public or written.name is None:
                raise SentenceError("tune_chat_public")
            if written.place != ADAPTER:
                raise SentenceError("tune_chat_full", title=written.name)
            model, loaded = folder.spec()["model"]["name"], self._services.host.loaded.entry.name
            if model != loaded:
                raise SentenceError("tune_chat_model", model=model)
            let_answer(self._services.host, written.name)
            said = notice(text.both("tune_chat_ready", title=written.name))
            return {self._parts.notice: said, self._parts.tab: opened("tab_chat")}

        return self._try(request, selected, act)

    def ask(self, request: gr.Request, selected: object, seen: object) -> Iterator[Update]:
        """Did it help? Put the question in line."""
        parts = self._parts
        yield {parts.notice: notice(text.both("tune_helped_reading")), parts.helped: gr.update(interactive=False)}

        def act(store: RunStore, folder: RunFolder) -> Update:
            side = self._side.newest(store, helped.KIND, folder.id, _result(folder).digest)
            services = self._services
            if side is not None and side.status not in (*LIVE, "done", "damaged"):
                work = helped.resume_helped(services.host, store.open(side.id), services.settings)
                services.queue.submit(work, owner=store.owner)
            else:
                work = helped.start_helped(services.host, folder.id, services.settings, store=store)
                try:
                    services.queue.submit(work, owner=store.owner)
                except UserError:
                    helped.delete_helped(work.folder, store)
                    raise
            return {parts.notice: "", **self.look(request, selected, seen)}

        yield {parts.helped: gr.update(interactive=True), **self._try(request, selected, act)}

    def export(self, request: gr.Request, selected: object, form: object, seen: object) -> Update:
        """Write it in another form; the adapter itself is ready at once."""
        parts = self._parts

        def act(store: RunStore, folder: RunFolder) -> Update:
            if not isinstance(form, str) or form not in (ADAPTER_FORM, *export_run.FORMS):
                raise SentenceError("wrong_value")
            if form == ADAPTER_FORM:
                return self._ready(folder.path / _result(folder).place, f"proofbench-{folder.id}")
            work = export_run.start_export(store, folder.id, form, self._services.settings)
            try:
                self._services.queue.submit(work, owner=store.owner)
            except UserError:
                store.delete(work.folder.id)
                raise
            return {parts.notice: "", parts.save: unfolded(False), **self.look(request, selected, seen)}

        return self._try(request, selected, act)

    def fetch(self, request: gr.Request, selected: object) -> Update:
        """Let the newest export be downloaded."""

        def act(store: RunStore, folder: RunFolder) -> Update:
            side = self._side.newest(store, export_run.KIND, folder.id, _result(folder).digest)
            if side is None or side.status != "done":
                raise SentenceError("tune_nothing_exported")
            output = export_run.output_of(store.open(side.id), self._services.settings)
            if not output.exists():
                raise SentenceError("tune_export_gone", title=output.name)
            return self._ready(output, output.name)

        return self._try(request, selected, act)

    def stop(self, request: gr.Request, selected: object, seen: object) -> Update:
        """Stop what is under way."""

        def act(store: RunStore, folder: RunFolder) -> Update:
            for kind in (export_run.KIND, helped.KIND):
                side = self._side.newest(store, kind, folder.id)
                if side is not None and is_live(side):
                    self._side.stop(store, side)
            return {self._parts.notice: "", **self.look(request, selected, seen)}

        return self._try(request, selected, act)

    def _found(self, store: RunStore, selected: str) -> _Shown:
        folder = store.open(selected)
        (run,) = self._services.queue.mark([store.read(selected)])
        written = None if run.status in LIVE else read_log(folder).written
        digest = written.digest if written else ""  # a training that was resumed may have written other weights
        newest = (self._side.newest(store, kind, selected, digest) for kind in (export_run.KIND, helped.KIND))
        return _Shown(run, folder, written, *newest)

    def _drawn(self, request: gr.Request, store: RunStore, found: _Shown) -> Update:
        parts, written = self._parts, found.written
        if written is None:
            return {parts.box: unfolded(False, "after"), parts.notice: ""}
        is_adapter, is_public = written.place == ADAPTER, self._services.settings.is_public
        is_asked, is_exporting = is_live(found.helped), is_live(found.export)
        forms = export_run.forms_for(found.folder, self._services.settings)
        update: Update = {
            parts.box: unfolded(True, "after"), parts.chat: unfolded(not is_public),
            parts.helped: gr.update(interactive=is_adapter and not is_asked),
            parts.form: gr.update(choices=after_views.form_choices(forms)),
            parts.export: gr.update(interactive=not is_exporting), parts.stop: unfolded(is_asked or is_exporting),
            parts.fetch: unfolded(found.export is not None and found.export.status == "done"),
            parts.exported: self._exported(store, found.export) or after_views.not_offered(forms),
            parts.asking: progress(found.helped, "tune_helped_running") if found.helped else "",
        }  # fmt: skip
        if found.helped is None or is_asked or not found.helped.n_done:
            return update | {parts.result: unfolded(False, "results", "helped"), parts.compared: ()}
        return update | self._verdict(request, store, found.helped)

    def _exported(self, store: RunStore, run: Run | None) -> str:
        if run is None:
            return ""
        if run.status != "done":
            return progress(run, "tune_exporting")
        output = export_run.output_of(store.open(run.id), self._services.settings)
        return after_views.exported(output, is_public=self._services.settings.is_public)

    def _verdict(self, request: gr.Request, store: RunStore, run: Run) -> Update:
        parts = self._parts
        try:
            found = helped.read_helped(store.open(run.id), self._services.settings)
        except UserError as error:
            hidden: Update = {parts.result: unfolded(False, "results", "helped"), parts.compared: ()}
            # One that did not end has nothing to compare yet, and says so already.
            return hidden | {parts.asking: failed(error)} if run.status == "done" else hidden
        runs = tuple(Path(path).name for path in found.paths)
        samples = self._changes.samples(request, runs, [None, "all", "", False, 0])
        return {
            parts.result: unfolded(True, "results", "helped"), parts.verdict: after_views.verdict(found),
            parts.compared: runs, **samples,
        }  # fmt: skip

    def _ready(self, source: Path, name: str) -> Update:
        """A file for the download button: the file itself, or a folder as an archive."""
        if source.is_dir():
            path = new_place(f"{name}.zip")
            with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
                for file in sorted(source.rglob("*")):
                    if file.is_file():
                        archive.write(file, file.relative_to(source.parent).as_posix())
        else:
            path = new_place(name)
            try:
                os.link(source, path)
            except OSError:  # another file system
                shutil.copyfile(source, path)
        said = notice(text.both("result_file_is_ready", file=path.name, size=after_views.size(path.stat().st_size)))
        return {self._parts.save: gr.update(value=str(path), elem_classes=[]), self._parts.notice: said}

    def _try(self, request: gr.Request, selected: object, act: Callable[[RunStore, RunFolder], Update]) -> Update:
        try:
            if not isinstance(selected, str) or not selected:
                raise SentenceError("wrong_value")
            store = runs_of(request, self._services)
            return act(store, store.open(selected))
        except Exception as error:
            return {self._parts.notice: failed(error)}


def _result(folder: RunFolder) -> Written:
    written = read_log(folder).written
    if written is None or not (folder.path / written.place).is_dir():
        raise SentenceError("tune_no_result")
    return written
