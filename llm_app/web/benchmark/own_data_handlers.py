"""What the part for a person's own data does: a file becomes a draft, the draft a task that is kept."""

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from eval.tasks.book import names as benchmark_names
from eval.tasks.own_file import KINDS, Kind
from eval.types import EvaluationError
from llm_app.errors import ModelIsRemote, ModelLoading, ShuttingDown, UserError
from llm_app.jobs.answers import EngineModel
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark import own_data_views as views
from llm_app.web.benchmark.own_data_guess import ROLES, guess_columns, guess_kind, guess_language
from llm_app.web.benchmark.own_data_shelf import NAME, Draft, Kept, TaskShelf
from llm_app.web.benchmark.own_data_trial import Asked, Trial, attempt, checked, default_prompt
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.html import shown
from llm_app.web.views import notice
from llm_app.web.visitor import visitor_of

Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components that change. `columns`: by role; `draft` and `task` stay on the server."""

    file: gr.File
    notice: gr.HTML
    head: gr.HTML
    kind: gr.Radio
    columns: Mapping[str, gr.Dropdown]
    answers: gr.Dropdown
    prompt: gr.Textbox
    name: gr.Textbox
    language: gr.Textbox
    skip: gr.Checkbox
    trial: gr.HTML
    draft: gr.State
    task: gr.State
    kept: gr.Dropdown
    link: gr.HTML
    bring_back: gr.Button

    @property
    def inputs(self) -> list[Any]:
        """What the form sends, after the draft."""
        return [
            self.kind, *self.columns.values(), self.answers, self.prompt, self.name, self.language, self.skip,
        ]  # fmt: skip

    def all(self) -> list[Any]:
        """Every one of them."""
        return [
            self.file, self.notice, self.head, *self.inputs, self.trial, self.draft, self.task, self.kept,
            self.link, self.bring_back,
        ]  # fmt: skip


class OwnDataHandlers:
    """The handlers. Whoever asks gets to their own shelf only."""

    def __init__(self, services: Services, parts: Parts) -> None:
        self._services, self._parts = services, parts

    def open(self, request: gr.Request) -> Update:
        """The tasks that were kept before."""
        return self._try(lambda: self._listed(self._shelf(request)))

    def upload(self, request: gr.Request, file: object) -> Update:
        """Read a data file, and guess what it is."""

        def read() -> Update:
            if not isinstance(file, str) or not Path(file).is_file():
                raise SentenceError("own_no_file")
            upload = Path(file)  # in gradio's own folder for uploads, which gradio has made sure of
            try:
                draft = self._shelf(request).draft(upload.name, upload)
            finally:
                upload.unlink(missing_ok=True)  # gradio would keep its copy for an hour
            return self._begun(draft)

        return {self._parts.file: None, **self._try(read)}

    def choose_kind(self, draft: Draft | None, kind: object, *form: object) -> Update:
        """Another kind: other columns, another prompt."""

        def chosen() -> Update:
            if draft is None or kind not in KINDS:
                raise SentenceError("wrong_value")
            return self._of_kind(draft, kind, self._raw((kind, *form)))

        return self._try(chosen)

    def change(self, draft: Draft | None, *form: object) -> Update:
        """Show what the form, as it stands now, would ask."""
        update = self._try(lambda: self._tried(draft, self._raw(form)))
        # Keep, pressed at the same moment, has said all there is to say.
        is_gone = draft is None or not draft.folder.is_dir()
        return {self._parts.trial: gr.skip()} if is_gone else update

    def keep(self, request: gr.Request, draft: Draft | None, *form: object) -> Update:
        """Make the draft a task, and choose it."""

        def keep() -> Update:
            raw = self._raw(form)
            tried, asked = self._attempt(draft, raw)
            assert draft is not None
            if not tried.n_usable:
                raise SentenceError("own_none_usable", total=tried.n_rows)
            if tried.dropped and not asked.skips_bad_rows:
                raise SentenceError("own_bad_rows_left", n=tried.n_dropped, total=tried.n_rows)
            if asked.name in benchmark_names():
                raise SentenceError("own_name_taken", task=asked.name)
            shelf = self._shelf(request)
            path = shelf.keep(draft, asked.name, tried.text)
            parts = self._parts
            said = notice(text.both("own_made", task=asked.name))
            return {
                **self._listed(shelf, chosen=asked.name), parts.notice: said, parts.task: _picked(path),
                parts.draft: None, parts.head: "", parts.trial: "",
            }  # fmt: skip

        return self._try(keep)

    def look_at(self, request: gr.Request, name: object) -> Update:
        """The task file of a kept task, to be saved."""
        return self._try(lambda: {self._parts.link: self._link(self._chosen(request, name))})

    def use(self, request: gr.Request, name: object) -> Update:
        """Choose a kept task for the next run."""

        def use() -> Update:
            kept = self._chosen(request, name)
            said = notice(text.both("own_chosen", task=kept.name))
            return {self._parts.task: _picked(kept.path), self._parts.notice: said}

        return self._try(use)

    def delete(self, request: gr.Request, name: object) -> Update:
        """Take a kept task away; it can be brought back."""

        def delete() -> Update:
            shelf, kept = self._shelf(request), self._chosen(request, name)
            shelf.delete(kept.name)
            said = notice(text.both("own_deleted", task=kept.name))
            parts = self._parts
            return {**self._listed(shelf), parts.notice: said, parts.task: None, parts.bring_back: shown(True)}

        return self._try(delete)

    def restore(self, request: gr.Request) -> Update:
        """Bring the last deleted task back."""

        def restore() -> Update:
            shelf = self._shelf(request)
            name = shelf.restore()
            said = notice(text.both("own_restored", task=name))
            return {**self._listed(shelf, chosen=name), self._parts.notice: said, self._parts.bring_back: shown(False)}

        return self._try(restore)

    def _try(self, act: Callable[[], Update]) -> Update:
        """What came of it, or what went wrong; the form stays as it is then."""
        try:
            return {self._parts.notice: "", **act()}
        except Exception as error:
            request_id = secrets.token_hex(4)
            told = UserError(str(error)) if isinstance(error, EvaluationError) else error
            note_error(told, request_id)
            return {self._parts.notice: error_notice(told, request_id)}

    def _shelf(self, request: gr.Request) -> TaskShelf:
        settings = self._services.settings
        return TaskShelf.of(settings, visitor_of(request, settings))

    def _begun(self, draft: Draft) -> Update:
        parts, rows = self._parts, draft.head
        kind, language = guess_kind(draft.columns, rows), guess_language(rows)
        stem = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in Path(draft.data).stem)
        name = stem.strip("._-")[:64] or "own_data"
        raw = {"name": name, "language": language, "answers": "auto", "skips_bad_rows": False}
        shared = {
            parts.draft: draft, parts.head: views.head(draft), parts.kind: kind,
            parts.name: name, parts.language: language, parts.answers: "auto", parts.skip: False,
        }  # fmt: skip
        return {**shared, **self._of_kind(draft, kind, raw)}

    def _of_kind(self, draft: Draft, kind: Kind, raw: Mapping[str, Any]) -> Update:
        """The form for this kind, filled with guesses, and what it would ask."""
        parts, guessed = self._parts, guess_columns(kind, draft.columns, draft.head)
        prompt = default_prompt(kind, str(raw["language"]))
        update: Update = {parts.prompt: gr.update(value=prompt, visible=_seen(kind != "perplexity"))}
        update[parts.answers] = gr.update(visible=_seen(kind == "multiple_choice"))
        for role, dropdown in parts.columns.items():
            if role in ROLES[kind]:
                value = guessed[role] or ([] if role == "choices" else None)
                update[dropdown] = gr.update(choices=list(draft.columns), value=value, visible=True)
            else:
                update[dropdown] = gr.update(visible="hidden")
        asked = {**raw, "kind": kind, "columns": guessed, "prompt": prompt}
        return {**update, **self._try(lambda: self._tried(draft, asked))}

    def _tried(self, draft: Draft | None, raw: Mapping[str, Any]) -> Update:
        tried, asked = self._attempt(draft, raw)
        return {self._parts.trial: views.trial(tried, skips=asked.skips_bad_rows)}

    def _attempt(self, draft: Draft | None, raw: Mapping[str, Any]) -> tuple[Trial, Asked]:
        if draft is None:
            raise SentenceError("own_no_file")
        asked, model, has_template = checked(draft, raw), None, False
        if not NAME.fullmatch(asked.name):
            raise UserError("A name has 1 to 64 letters, digits, dots, dashes and underscores.", param="name")
        with suppress(ModelIsRemote, ModelLoading, ShuttingDown):
            model = EngineModel(self._services.host)
            has_template = self._services.host.loaded.template is not None
        return attempt(draft, asked, model, uses_template=has_template), asked

    def _raw(self, form: tuple[object, ...]) -> dict[str, Any]:
        """The values of the form by name, in the order of `Parts.inputs`."""
        kind, *rest = form
        roles = list(self._parts.columns)
        columns, (answers, prompt, name, language, skips) = rest[: len(roles)], rest[len(roles) :]
        return {
            "kind": kind, "columns": dict(zip(roles, columns, strict=True)), "answers": answers, "prompt": prompt,
            "name": name, "language": language, "skips_bad_rows": skips,
        }  # fmt: skip

    def _chosen(self, request: gr.Request, name: object) -> Kept:
        if not name:
            raise SentenceError("own_choose_kept")
        return self._shelf(request).find(name)

    def _listed(self, shelf: TaskShelf, chosen: str | None = None) -> Update:
        kept = shelf.kept()
        choices = [(f"{task.name} · {task.data} · {max(task.n_bytes // 1024, 1):,} KB", task.name) for task in kept]
        shown_one = next((task for task in kept if task.name == chosen), None)
        link = self._link(shown_one) if shown_one else ""
        return {self._parts.kept: gr.update(choices=choices, value=chosen), self._parts.link: link}

    def _link(self, kept: Kept) -> str:
        link = views.download_link(kept.name, kept.path.read_text(encoding="utf-8"))
        return link if self._services.settings.is_public else link + views.command(str(kept.path))


def _picked(path: Path) -> tuple[str, str]:
    # With a word by chance: a state tells of a change only, and the same task may be chosen twice.
    return str(path), secrets.token_hex(4)


def _seen(is_visible: bool) -> bool | str:
    return True if is_visible else "hidden"
