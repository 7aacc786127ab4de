"""The selector of sampling presets: choose, save under a name, delete."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from llm_app.config import SamplingConfig
from llm_app.conversations.presets import (
    BALANCED,
    BUILT_IN,
    EXACT,
    MAX_NAME,
    NEUTRAL,
    PresetStore,
    as_json,
    presets_of,
    with_preset,
)
from llm_app.errors import UserError
from llm_app.options import options_of
from llm_app.web import text
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.html import html
from llm_app.web.options import Form
from llm_app.web.views import notice as notice_html

NAMES = {BALANCED: "preset_balanced", NEUTRAL: "preset_neutral", EXACT: "preset_exact"}
OWN = ""  # stands for options that are like no preset
Update = dict[Any, Any]
Presets = Mapping[str, SamplingConfig]


@dataclass(frozen=True)
class PresetParts:
    """The components of the selector."""

    chosen: gr.Dropdown
    name: gr.Textbox
    save: gr.Button
    delete: gr.Button
    notice: gr.HTML
    browser: gr.BrowserState | None  # a public page's visitors keep presets in their browsers


def build_presets(*, is_public: bool, browser_key: str) -> PresetParts:
    """The selector, to stand above the options."""
    chosen = gr.Dropdown(
        choices=choices({}), value=BALANCED, label=text.label("preset"), info=text.label("preset_help"),
        elem_id="preset", elem_classes="option",
        allow_custom_value=True,  # else gradio itself refuses a preset that another window deleted, without a word
    )  # fmt: skip
    with gr.Accordion(text.label("preset_edit"), open=False, elem_classes="fold", elem_id="preset-edit"):
        name = gr.Textbox(
            label=text.label("preset_name"), max_lines=1, max_length=MAX_NAME, elem_id="preset-name",
            elem_classes="option",
        )  # fmt: skip
        with gr.Row(elem_classes="exports"):
            save = gr.Button(text.label("preset_save"), size="sm", elem_id="preset-save", min_width=0)
            delete = gr.Button(text.label("preset_delete"), size="sm", elem_id="preset-delete", min_width=0)
    notice = html("", elem_id="preset-notice")
    browser = gr.BrowserState({}, storage_key="proofbench.presets", secret=browser_key) if is_public else None
    return PresetParts(chosen, name, save, delete, notice, browser)


class PresetHandlers:
    """The handlers of the selector."""

    def __init__(self, parts: PresetParts, form: Form, store: PresetStore | None) -> None:
        self._parts = parts
        self._form = form
        self._store = store  # None: they are in the browser, and come with each event

    def connect(self, page: gr.Blocks) -> None:
        """Which event is answered by which handler."""
        parts, controls = self._parts, list(self._form.controls)
        kept = [parts.browser] if parts.browser is not None else []
        selector = [parts.chosen, parts.name, parts.notice, *kept]
        at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        page.load(self.loaded, kept, [parts.chosen, parts.notice], **at_once)
        form = [*controls, parts.notice, parts.name]
        parts.chosen.input(self.choose, [parts.chosen, *kept, *controls], form, **at_once)
        parts.save.click(self.save, [parts.name, *kept, *controls], selector, **at_once)
        parts.delete.click(self.delete, [parts.chosen, *kept], selector, **at_once)
        # Not the release of a slider: a key moves it, too.
        events = [control.input for control in controls]
        gr.on(events, self.compare, [*kept, *controls], parts.chosen, trigger_mode="always_last", **at_once)

    def loaded(self, *kept: object) -> Update:
        """The page stands: the presets that were saved before."""
        try:
            return {self._parts.chosen: gr.update(choices=choices(self._presets(kept)))}
        except UserError as error:
            return {self._parts.notice: error_notice(error, secrets.token_hex(4))}

    def choose(self, name: object, *values: object) -> Update:
        """Put a preset's options into the form. Seed and beginning of the reply stay, they are not part of it."""

        def act() -> Update:
            kept, _ = self._split(values)
            if name == OWN:
                return {self._parts.notice: "", self._parts.name: ""}
            found = {**BUILT_IN, **self._presets(kept)}.get(name) if isinstance(name, str) else None
            if found is None:
                raise SentenceError("preset_gone")
            is_own = name not in BUILT_IN
            return {
                **self._controls(found),
                self._parts.notice: "", self._parts.name: name if is_own else "",
            }  # fmt: skip

        return self._told(act)

    def _controls(self, sampling: SamplingConfig) -> Update:
        """What a preset holds, by control. The others are left alone: somebody may be typing there meanwhile."""
        kept = as_json(sampling)
        controls = zip(options_of(SamplingConfig), self._form.controls, strict=True)
        return {control: kept[item.name] for (item, _), control in controls if item.name in kept}

    def compare(self, *values: object) -> Any:
        """The preset that the form is like, or the choice that stands for none."""
        kept, form = self._split(values)
        try:
            now = as_json(self._form.read(form))
            known = {**BUILT_IN, **self._presets(kept)}
        except UserError:
            return OWN
        return next((name for name, sampling in known.items() if as_json(sampling) == now), OWN)

    def save(self, name: object, *values: object) -> Update:
        """Keep the form's options under a name."""

        def act() -> Update:
            kept, form = self._split(values)
            sampling = self._form.read(form)
            presets = (
                self._store.save(name, sampling) if self._store else with_preset(self._presets(kept), name, sampling)
            )
            return self._changed(presets, " ".join(str(name).split()), "preset_saved")

        return self._told(act)

    def delete(self, name: object, *kept: object) -> Update:
        """Forget a saved preset; the form stays as it is."""

        def act() -> Update:
            presets = self._presets(kept)
            if not isinstance(name, str) or name not in presets:
                raise SentenceError("preset_built_in" if name in tuple(BUILT_IN) else "preset_gone")
            left = self._store.delete(name) if self._store else {n: s for n, s in presets.items() if n != name}
            return self._changed(left, OWN, "preset_deleted")

        return self._told(act)

    def _changed(self, presets: Presets, chosen: str, said: str) -> Update:
        update: Update = {
            self._parts.chosen: gr.update(choices=choices(presets), value=chosen),
            self._parts.name: chosen,
            self._parts.notice: notice_html(text.both(said)),
        }
        if self._parts.browser is not None:
            update[self._parts.browser] = {name: as_json(sampling) for name, sampling in presets.items()}
        return update

    def _presets(self, kept: tuple[object, ...] | list[object]) -> dict[str, SamplingConfig]:
        return self._store.read() if self._store is not None else presets_of(kept[0] if kept else None)

    def _split(self, values: tuple[object, ...]) -> tuple[tuple[object, ...], tuple[object, ...]]:
        n_kept = 0 if self._store is not None else 1
        return values[:n_kept], values[n_kept:]

    def _told(self, act: Any) -> Update:
        try:
            done: Update = act()
            return done
        except UserError as error:
            request_id = secrets.token_hex(4)
            note_error(error, request_id)
            return {self._parts.notice: error_notice(error, request_id)}


def choices(presets: Presets) -> list[tuple[str, str]]:
    """Names as the selector shows them, the built-in ones in both languages, and what they stand for."""
    built_in = [(" · ".join(text.filled(NAMES[name])), name) for name in BUILT_IN]
    own = (" · ".join(text.filled("preset_own")), OWN)
    return [*built_in, *((name, name) for name in sorted(presets, key=str.casefold)), own]
