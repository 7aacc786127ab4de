"""The strip above all tabs: which model answers, in which numbers, in how much memory."""

import secrets
from dataclasses import dataclass
from typing import Any

import gradio as gr

from llm_app.config import PRECISIONS, ModelConfig
from llm_app.engine import catalog, fit
from llm_app.engine.loading import LoadedModel
from llm_app.errors import Cancelled, ModelLoading, UserError
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.failures import SentenceError, error_html, error_notice, note_error, request_html
from llm_app.web.html import html, shown
from llm_app.web.model import views
from llm_app.web.model.loader import Loader
from llm_app.web.views import notice

NO_ADAPTER = ""
WATCH_SECONDS, IDLE_SECONDS = 1.0, 5.0

Update = dict[Any, Any]


@dataclass(frozen=True)
class Strip:
    """The parts that change."""

    memory: gr.HTML
    status: gr.HTML
    fit: gr.HTML
    timer: gr.Timer
    load: gr.Button
    cancel: gr.Button
    unload: gr.Button


def build_model_bar(page: gr.Blocks, services: Services) -> None:
    """The strip and its handlers. A public page shows the model and offers no choice."""
    is_public = services.settings.is_public
    with gr.Row(elem_classes="strip", equal_height=False):
        html('<h1 class="brand">Proofbench</h1>', elem_classes="brand-box")
        model, adapter, precision = _choices(services)
        load = gr.Button(text.label("load"), size="sm", visible=not is_public, scale=0, min_width=0, elem_id="load")
        cancel = gr.Button(
            text.label("cancel"), size="sm", visible="hidden", scale=0, min_width=0, elem_id="cancel-load"
        )
        unload = gr.Button(text.label("unload"), size="sm", visible="hidden", scale=0, min_width=0, elem_id="unload")
        memory = html("", elem_id="memory")
        html(views.SWITCHES, elem_classes="switches-box")
    with gr.Row(elem_classes="status", equal_height=False):
        status, fit_line = html("", elem_id="model-status"), html("", elem_id="fit")
    strip = Strip(memory, status, fit_line, gr.Timer(WATCH_SECONDS), load, cancel, unload)
    handlers = StripHandlers(services, strip)
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    outputs = [strip.memory, strip.status, strip.fit, strip.timer, strip.load, strip.cancel, strip.unload]
    page.load(handlers.look, None, outputs, **quick)
    strip.timer.tick(handlers.look, None, outputs, **quick)
    if not is_public:
        load.click(handlers.load, [model, adapter, precision], outputs, **quick)
        cancel.click(handlers.cancel, None, outputs, **quick)
        unload.click(handlers.unload, None, outputs, **quick)
        adapter.input(handlers.switch_adapter, [adapter], outputs, **quick)
        gr.on([model.change, precision.change], handlers.estimate, [model, precision], [strip.fit, strip.load], **quick)
        page.load(handlers.choices, None, [model, adapter, precision], **quick)


def _choices(services: Services) -> tuple[gr.Dropdown, gr.Dropdown, gr.Dropdown]:
    visible = not services.settings.is_public
    model = gr.Dropdown(
        label=text.label("model"), allow_custom_value=True, visible=visible, scale=2, min_width=0, elem_id="model"
    )
    adapter = gr.Dropdown(
        label=text.label("adapter"), allow_custom_value=True, value=NO_ADAPTER, choices=[("—", NO_ADAPTER)],
        visible=visible, scale=1, min_width=0, elem_id="adapter",
    )  # fmt: skip
    precision = gr.Dropdown(
        list(PRECISIONS), value="auto", label=text.label("precision"), visible=visible, scale=0, min_width=0,
        filterable=False, elem_id="precision",
    )  # fmt: skip
    return model, adapter, precision


class StripHandlers:
    """What the strip does. Loading runs behind it; the timer shows how far it is."""

    def __init__(self, services: Services, strip: Strip) -> None:
        self._settings = services.settings
        self._host = services.host
        self._strip = strip
        self._loader = Loader(services.host)

    def choices(self) -> list[Any]:
        """Models and adapters of this machine, and what is loaded now."""
        status = self._host.status()
        models = [(entry.title, entry.name) for entry in catalog.list_models(self._settings)]
        adapters = [(entry.name, entry.name) for entry in catalog.list_adapters(self._settings)]
        known = {name for _, name in models}
        chosen = status.model or next(iter(name for _, name in models), catalog.EMBEDDED)
        if chosen not in known:
            models.append((chosen, chosen))
        return [
            gr.update(choices=models, value=chosen),
            gr.update(choices=[("—", NO_ADAPTER), *adapters], value=status.adapter or NO_ADAPTER),
            gr.update(value=self._precision()),
        ]

    def look(self) -> Update:
        """The strip as things stand."""
        status, strip = self._host.status(), self._strip
        is_loading = status.phase is not None or self._loader.is_loading
        is_private = not self._settings.is_public
        try:
            loaded = self._host.loaded
        except UserError:
            loaded = None
        return {
            strip.memory: _memory(loaded),
            strip.status: self._status(loaded),
            strip.timer: gr.Timer(WATCH_SECONDS if is_loading or loaded is None else IDLE_SECONDS),
            strip.load: shown(is_private and not is_loading),
            strip.cancel: shown(is_private and self._loader.is_loading),
            strip.unload: shown(is_private and loaded is not None and not is_loading),
        }

    def estimate(self, model: object, precision: object) -> Update:
        """Will it fit? Said before anything is read."""
        strip = self._strip
        try:
            config = _config(model, NO_ADAPTER, precision)
            if self._is_loaded(config):
                return {strip.fit: "", strip.load: gr.update(variant="secondary")}
            estimate = fit.estimate(catalog.find_model(config.model, self._settings), config)
        except Exception as error:
            return {strip.fit: self._failed(error)}
        sentence = notice(text.pair(fit.sentence(estimate)), "info" if estimate.fits else "warning")
        return {strip.fit: sentence, strip.load: gr.update(variant="primary")}

    def load(self, model: object, adapter: object, precision: object) -> Update:
        """Start to load what was chosen."""
        request_id = secrets.token_hex(4)
        try:
            self._refuse_in_public()
            self._loader.start(_config(model, adapter, precision), request_id)
        except Exception as error:
            return {**self.look(), self._strip.fit: self._failed(error, request_id)}
        return {**self.look(), self._strip.fit: "", self._strip.load: gr.update(visible="hidden", variant="secondary")}

    def cancel(self) -> Update:
        """Stop loading."""
        self._loader.cancel()
        return self.look()

    def unload(self) -> Update:
        """Give the model's memory back."""
        try:
            self._refuse_in_public()
            self._host.unload()
        except Exception as error:
            return {**self.look(), self._strip.fit: self._failed(error)}
        return {**self.look(), self._strip.fit: notice(text.both("unloaded"))}

    def switch_adapter(self, adapter: object) -> Update:
        """Put the adapter into the loaded base, or take it out; the base is not loaded again."""
        try:
            self._refuse_in_public()
            said = self._switch(_string(adapter))
        except ModelLoading:
            return {self._strip.fit: ""}  # it is attached together with the model
        except Exception as error:
            return {**self.look(), self._strip.fit: self._failed(error)}
        return {**self.look(), self._strip.fit: said}

    def _switch(self, adapter: str) -> str:
        before = self._host.loaded and self._host.adapter
        if adapter == (before or NO_ADAPTER):
            return ""
        report = self._host.attach(adapter) if adapter else None
        if before:
            self._host.detach(before)
        if report is None:
            return notice(text.both("adapter_off"))
        name = "adapter_on" if report.has_effect else "adapter_no_effect"
        return notice(text.both(name, adapter=adapter), "info" if report.has_effect else "warning")

    def _precision(self) -> str:
        try:
            return self._host.loaded.config.precision
        except UserError:
            return "auto"

    def _is_loaded(self, config: ModelConfig) -> bool:
        try:
            loaded = self._host.loaded
        except UserError:
            return False
        return loaded.entry.name == config.model and config.precision in (loaded.precision, loaded.config.precision)

    def _refuse_in_public(self) -> None:
        if self._settings.is_public:
            raise SentenceError("public_mode")

    def _status(self, loaded: LoadedModel | None) -> str:
        status, loader = self._host.status(), self._loader
        if status.phase is not None or loader.is_loading:
            return views.progress(loader.model if loader.is_loading else "", status.phase, status.fraction)
        if status.state == "stopping":
            return notice(text.both("stopping"), "warning")
        lines = []
        if loader.failure is not None:
            kind = "info" if isinstance(loader.failure, Cancelled) else "error"
            lines.append(notice(_failure_html(loader), kind))
        elif status.reason and loaded is None:
            lines.append(notice(text.pair((status.reason, status.reason)), "error"))
        if loaded is not None:
            lines.append(
                notice(views.model_facts(loaded.entry.title, loaded.precision, status.adapter, loaded.n_context))
            )
            if loaded.template is None:
                lines.append(notice(text.both("no_template"), "warning"))
            lines += [notice(text.pair((note, note)), "warning") for note in loaded.notes]
        elif not lines:
            lines.append(notice(text.both("nothing_loaded"), "warning"))
        return "".join(lines)

    def _failed(self, error: Exception, request_id: str | None = None) -> str:
        request_id = request_id or secrets.token_hex(4)
        note_error(error, request_id)
        return error_notice(error, request_id)


def _memory(loaded: LoadedModel | None) -> str:
    if loaded is None:
        return ""
    return views.memory_meter(loaded.n_bytes, loaded.n_bytes + fit.free_bytes(loaded.device))


def _failure_html(loader: Loader) -> str:
    assert loader.failure is not None
    if isinstance(loader.failure, Cancelled):
        return text.both("load_cancelled")
    return f"{text.both('load_failed')} {error_html(loader.failure)} {request_html(loader.request_id)}"


def _config(model: object, adapter: object, precision: object) -> ModelConfig:
    return ModelConfig(model=_string(model).strip(), adapter=_string(adapter) or None, precision=_string(precision))


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise SentenceError("wrong_value")
    return value
