"""What happens around a run: it is looked at, stopped, resumed, noted, deleted, another is picked."""

import contextlib
import itertools
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder, RunIsRunning, RunNotFound
from llm_app.jobs.store import Run, RunStore
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.html import unfolded
from llm_app.web.runs import views
from llm_app.web.runs.bring import bring_model, missing_model, wanted_model
from llm_app.web.runs.follow import Followers, Look
from llm_app.web.runs.kind import Kind
from llm_app.web.runs.parts import Parts, Seen
from llm_app.web.views import notice
from llm_app.web.visitor import runs_of

BUSY_SECONDS, IDLE_SECONDS = 1.0, 5.0
PAGE_RUNS = 8
MAX_KINDS = 100_000  # of runs that are remembered; what a run is takes reading a file

Update = dict[Any, Any]


class RunHandlers:
    """The handlers of one kind of run. What they show comes from the run folders alone."""

    def __init__(self, services: Services, kind: Kind, parts: Parts) -> None:
        self._services, self._kind, self._parts = services, kind, parts
        self._followers = Followers(kind.make_tally)
        self._kinds: dict[Path, str] = {}

    def look(self, request: gr.Request, watched: tuple[str, ...], page: int, seen: Seen) -> Update:
        """Card and list as things stand."""
        try:
            return self._look(runs_of(request, self._services), watched, page, seen)
        except Exception as error:
            return self._failed(error)

    def pick(self, request: gr.Request, watched: tuple[str, ...], page: int, seen: Seen, run_id: object) -> Update:
        """Show another run of the list."""
        try:
            store = runs_of(request, self._services)
            if not isinstance(run_id, str):
                raise SentenceError("wrong_value")
            store.read(run_id)
            parts, watched = self._parts, (run_id,)
            return {parts.watched: watched, **self._look(store, watched, page, seen), parts.notice: ""}
        except Exception as error:
            return self._failed(error)

    def stop(self, request: gr.Request, watched: tuple[str, ...], page: int, seen: Seen) -> Update:
        """Stop what was started together. A run that is over stays as it is."""
        try:
            store = runs_of(request, self._services)
            for run_id in watched:
                self._stop(store, run_id)
            return {**self._look(store, watched, page, seen), self._parts.notice: ""}
        except Exception as error:
            return self._failed(error)

    def resume(self, request: gr.Request, watched: tuple[str, ...], page: int, seen: Seen) -> Iterator[Update]:
        """Put what is left of the shown run in line."""
        yield {self._parts.notice: notice(text.both("run_resuming")), self._parts.resume: unfolded(False)}
        try:
            store = runs_of(request, self._services)
            folder = store.open(seen.run_id)
            if self._kind.needs_model and not self._services.settings.is_public:
                spec = folder.spec()
                if missing_model(spec, self._services) is not None:
                    said = notice(text.both("run_needs_model", wanted=wanted_model(spec)), "warning")
                    yield {self._parts.notice: said, self._parts.bring: unfolded(True)}
                    return
            work = self._kind.resume(folder)
            self._services.queue.submit(work, owner=store.owner)
            parts, watched = self._parts, (seen.run_id,)
            yield {parts.watched: watched, **self._look(store, watched, page, seen), parts.notice: ""}
        except RunIsRunning as error:  # a second press
            yield self._failed(error)
        except Exception as error:
            yield {**self._failed(error), self._parts.resume: unfolded(True)}

    def bring(self, request: gr.Request, watched: tuple[str, ...], page: int, seen: Seen) -> Iterator[Update]:
        """Load the model that the shown run needs, then resume it."""
        parts, percent = self._parts, -1
        try:
            spec = runs_of(request, self._services).open(seen.run_id).spec()
            wanted = missing_model(spec, self._services)
            yield {parts.bring: unfolded(False)}
            # A tab that is closed closes this: what is being loaded then is given up, and the model before answers.
            with contextlib.closing(bring_model(wanted, self._services)) as fractions:
                for fraction in fractions:
                    if int(100 * fraction) > percent:
                        percent = int(100 * fraction)
                        said = text.both("run_bringing", wanted=wanted_model(spec), percent=percent)
                        yield {parts.notice: notice(said)}
        except Exception as error:
            yield {**self._failed(error), parts.bring: unfolded(True)}
            return
        yield from self.resume(request, watched, page, seen)

    def ask_delete(self, request: gr.Request, watched: tuple[str, ...], page: int, seen: Seen) -> Update:
        """The one question, with the names of what goes along."""
        try:
            names = ", ".join(self._services.left_by(runs_of(request, self._services), seen.run_id))
            asked = text.both("run_delete_question_with", names=names) if names else text.both("run_delete_question")
            opened = {self._parts.question: unfolded(True, "question"), self._parts.delete: unfolded(False, "quiet")}
            return {**opened, self._parts.asked: f"<span>{asked}</span>"}
        except Exception as error:
            return self._failed(error)

    def keep(self) -> Update:
        """Leave it."""
        return {self._parts.question: unfolded(False, "question"), self._parts.delete: unfolded(True, "quiet")}

    def delete(self, request: gr.Request, watched: tuple[str, ...], page: int, seen: Seen) -> Update:
        """Remove the shown run for good."""
        try:
            store = runs_of(request, self._services)
            with_it = ", ".join(self._services.delete_run(store, seen.run_id))
            said = notice(text.both("run_deleted_with", names=with_it) if with_it else text.both("run_deleted"))
            return {self._parts.watched: (), **self._look(store, (), page, seen), self._parts.notice: said}
        except Exception as error:
            return {**self._failed(error), **self.keep()}

    def note(self, request: gr.Request, watched: tuple[str, ...], page: int, seen: Seen, words: object) -> Update:
        """Keep a remark beside the shown run."""
        try:
            if not isinstance(words, str):
                raise SentenceError("wrong_value")
            store = runs_of(request, self._services)
            if store.read(seen.run_id).note == " ".join(words.split()):
                return {self._parts.notice: ""}
            store.note(seen.run_id, words)
            return {**self._look(store, watched, page, seen), self._parts.notice: notice(text.both("run_note_kept"))}
        except Exception as error:
            return self._failed(error)

    def newer(self, request: gr.Request, watched: tuple[str, ...], page: int, seen: Seen) -> Update:
        """The page of the list before this one."""
        return self._turn(request, watched, max(0, page - 1), seen)

    def older(self, request: gr.Request, watched: tuple[str, ...], page: int, seen: Seen) -> Update:
        """The page of the list after this one."""
        return self._turn(request, watched, page + 1, seen)

    def _turn(self, request: gr.Request, watched: tuple[str, ...], page: int, seen: Seen) -> Update:
        return {self._parts.page: page, **self.look(request, watched, page, seen)}

    def _stop(self, store: RunStore, run_id: str) -> None:
        try:
            self._services.queue.cancel(run_id, owner=store.owner)
        except RunNotFound:
            if store.read(run_id).status == "running":
                raise SentenceError("run_elsewhere") from None

    def _look(self, store: RunStore, watched: tuple[str, ...], asked: int, seen: Seen) -> Update:
        """What has changed. Which run and which page only where they cannot stay: another may be picked meanwhile."""
        parts = self._parts
        runs, has_older, page = self._listed(store, asked)
        run = self._shown(store, watched, runs)
        runs = [run if run and other.id == run.id else other for other in runs]  # it may have begun meanwhile
        turned: Update = {parts.page: page} if page != asked else {}
        if run is None:
            return {**self._nothing(seen), **turned}
        follower = self._followers.of(store.open(run.id)) if run.status != "damaged" else None
        look = follower.look(is_running=run.status == "running") if follower is not None else Look()
        # The results stand below a run that is over; they take the place of what it came to so far.
        body = look.body if run.status in views.LIVE or self._kind.keeps_body else ""
        card = views.card(
            run, look.per_second, body, is_stopping=self._is_stopping(store, run), manner=self._kind.manner
        )
        seconds = BUSY_SECONDS if any(other.status in views.LIVE for other in [run, *runs]) else IDLE_SECONDS
        rows = self._lines(store, runs)
        now = Seen(run.id, run.status, card, look.details, rows, seconds)
        update: Update = {parts.seen: now, **turned}
        if run.id not in watched:
            update[parts.watched] = (run.id,)
        if card != seen.card:
            update[parts.card] = card
        if look.details != seen.details or not seen.run_id:
            update |= {parts.details: look.details, parts.fold: unfolded(bool(look.details), "fold")}
        if (run.id, run.status) != (seen.run_id, seen.status):
            update |= self._acts(run, is_other=run.id != seen.run_id)
        if rows != seen.rows or run.id != seen.run_id:
            update |= self._rows(runs, has_older, page, run.id) | {parts.rows: rows}
        if seconds != seen.seconds:
            update[parts.timer] = gr.Timer(seconds)
        return update

    def _listed(self, store: RunStore, page: int) -> tuple[list[Run], bool, int]:
        """(runs of this page of the list, whether there are older ones, the page, which may be an earlier one)."""
        ids = list(itertools.islice((i for i in store.ids() if self._is_mine(store, i)), (page + 1) * PAGE_RUNS + 1))
        page = min(page, max(0, len(ids) - 1) // PAGE_RUNS)
        runs = []
        for run_id in ids[page * PAGE_RUNS : (page + 1) * PAGE_RUNS]:
            with contextlib.suppress(RunNotFound):  # deleted meanwhile
                runs.append(store.read(run_id))
        return self._services.queue.mark(runs), len(ids) > (page + 1) * PAGE_RUNS, page

    def _lines(self, store: RunStore, runs: list[Run]) -> str:
        """The list. A run that goes on would change its line at every look; its card shows it."""
        aside = self._kind.aside
        if aside is None:
            return views.lines(runs)
        drawn = {}
        for run in runs:
            if run.status not in (*views.LIVE, "damaged"):
                with contextlib.suppress(RunNotFound):
                    follower = self._followers.of(store.open(run.id))
                    drawn[run.id] = follower.ask(aside) if follower else ""
        return views.lines(runs, drawn)

    def _is_mine(self, store: RunStore, run_id: str) -> bool:
        """Whether it stands in the list; what kind a run is never changes. A damaged one is everybody's."""
        path = store.root / run_id
        if path not in self._kinds:
            try:
                kind = str(RunFolder(path).spec().get("kind"))
            except UserError:
                return True
            if len(self._kinds) >= MAX_KINDS:
                self._kinds.clear()
            self._kinds[path] = kind
        is_elsewhere = self._kind.is_elsewhere
        return self._kinds[path] in self._kind.names and not (is_elsewhere and is_elsewhere(RunFolder(path)))

    def _shown(self, store: RunStore, watched: tuple[str, ...], runs: list[Run]) -> Run | None:
        """The first of those watched that is not over, else the last; where none is, what runs, else the newest."""
        last = None
        for run_id in watched:
            try:
                (last,) = self._services.queue.mark([store.read(run_id)])
            except RunNotFound:
                continue
            if last.status in views.LIVE:
                break
        live = next((run for run in runs if run.status == "running"), None)
        return last or live or (runs[0] if runs else None)

    def _is_stopping(self, store: RunStore, run: Run) -> bool:
        try:
            return self._services.queue.status(run.id, owner=store.owner).state == "stopping"
        except RunNotFound:
            return False

    def _acts(self, run: Run, *, is_other: bool) -> Update:
        """What can be done with the run now."""
        parts, is_live = self._parts, run.status in views.LIVE
        update: Update = {
            parts.stop: unfolded(is_live), parts.resume: unfolded(run.status in views.RESUMABLE),
            parts.bring: unfolded(False),
            parts.delete: unfolded(not is_live, "quiet"), parts.question: unfolded(False, "question"),
            parts.told: "" if run.status == "damaged" else run.id,
        }
        if is_other:
            update[parts.note] = gr.update(value=run.note, elem_classes=[])
        return update

    def _rows(self, runs: list[Run], has_older: bool, page: int, run_id: str) -> Update:
        parts, first = self._parts, page * PAGE_RUNS
        ids = [run.id for run in runs]
        choices = [(views.choice(run), run.id) for run in runs]
        place = text.both("run_history_place", first=first + 1, last=first + len(runs)) if page or has_older else ""
        return {
            parts.list: gr.update(choices=choices, value=run_id if run_id in ids else None),
            parts.place: place,
            parts.newer: unfolded(page > 0, "quiet"), parts.older: unfolded(has_older, "quiet"),
        }

    def _nothing(self, seen: Seen) -> Update:
        """There is no run yet."""
        parts = self._parts
        if seen == Seen(card=self._kind.empty, seconds=IDLE_SECONDS):
            return {parts.seen: seen}
        hidden = (
            parts.stop, parts.resume, parts.bring, parts.delete, parts.note, parts.fold, parts.newer, parts.older
        )  # fmt: skip
        return {
            **{part: unfolded(False) for part in hidden}, parts.question: unfolded(False, "question"),
            parts.card: self._kind.empty, parts.details: "", parts.rows: "", parts.place: "", parts.told: "",
            parts.list: gr.update(choices=[], value=None), parts.timer: gr.Timer(IDLE_SECONDS),
            parts.seen: Seen(card=self._kind.empty, seconds=IDLE_SECONDS),
        }  # fmt: skip

    def _failed(self, error: Exception) -> Update:
        request_id = secrets.token_hex(4)
        if isinstance(error, RunNotFound):
            error = SentenceError("run_is_gone")
        note_error(error, request_id)
        return {self._parts.notice: error_notice(error, request_id)}
