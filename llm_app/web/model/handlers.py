"""What the strip does. Loading runs behind it; the timer shows how far it is."""

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import gradio as gr

from llm_app.config import PRECISIONS, ModelConfig
from llm_app.engine import catalog, fit
from llm_app.engine.hub import NotFetched
from llm_app.errors import DoesNotFit, ModelIsRemote, UserError
from llm_app.remote.address import is_address
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.html import sent, shown
from llm_app.web.model import views
from llm_app.web.model.adapters import pressed, switched
from llm_app.web.model.details import AdapterShelf, is_loaded, loaded_or_none, sample_prompt, server_line
from llm_app.web.model.loader import Loader
from llm_app.web.model.status import status_html
from llm_app.web.options import Form
from llm_app.web.views import notice

NO_ADAPTER = ""
WATCH_SECONDS, IDLE_SECONDS = 1.0, 5.0

Update = dict[Any, Any]


@dataclass(frozen=True)
class Strip:
    """The parts that change. `seen`: which state of things the page shows, so that it is told only what is new."""

    memory: gr.HTML
    status: gr.HTML
    fit: gr.HTML
    timer: gr.Timer
    seen: gr.State
    model: gr.Dropdown
    adapter: gr.Dropdown
    precision: gr.Dropdown
    load: gr.Button
    cancel: gr.Button
    unload: gr.Button
    download: gr.Button
    not_now: gr.Button
    template: gr.HTML
    prompt: gr.HTML
    adapters: gr.HTML

    def watched(self) -> list[Any]:
        """What a look at the state of things may change."""
        return [
            self.memory, self.status, self.fit, self.timer, self.seen, self.model, self.adapter, self.load,
            self.cancel, self.unload, self.download, self.not_now, self.template, self.prompt, self.adapters,
        ]  # fmt: skip


class StripHandlers:
    """The handlers of the strip and its fold."""

    def __init__(self, services: Services, strip: Strip, form: Form) -> None:
        self._settings = services.settings
        self._host, self._give_back, self._queue = services.host, services.give_back, services.queue
        self._strip = strip
        self._form = form
        self._loader = Loader(services.host, services.give_back, services.settings)
        self._shelf = AdapterShelf(services.host)

    def choices(self) -> list[Any]:
        """What it would take to load, if nothing is; then what can be chosen, in the order of the form."""
        loaded, status = loaded_or_none(self._host), self._host.status()
        config = loaded.config if loaded else ModelConfig()
        models = self._models()
        chosen = status.model or models[0][1]
        if chosen not in {name for _, name in models}:
            models.append((chosen, chosen))
        is_idle = status.model is None and status.phase is None and not self._loader.is_busy
        needs = self.estimate(chosen, None, "auto", config.device, config.context_length) if is_idle else {}
        return [
            needs.get(self._strip.fit, gr.update()),
            gr.update(choices=models, value=chosen),
            gr.update(choices=self._adapters(), value=status.adapter or NO_ADAPTER),
            self._precisions(chosen, config.precision),
            gr.update(value=config.device),
            gr.update(value=config.context_length),
        ]

    def look(self, seen: str) -> Update:
        """The strip as things stand; choices are told anew only when something came or went."""
        strip, stage, state = self._strip, self._loader.stage, self._state()
        loaded, status = loaded_or_none(self._host), self._host.status()
        is_private = not self._settings.is_public
        is_busy = status.phase is not None or self._loader.is_busy
        update = {
            strip.memory: views.memory_meter(fit.memory(loaded)),
            strip.status: status_html(status, self._loader, loaded),
            strip.timer: gr.Timer(WATCH_SECONDS if is_busy or status.model is None else IDLE_SECONDS),
            strip.load: shown(is_private and not is_busy and stage != "offered"),
            strip.cancel: shown(is_private and self._loader.is_busy),
            strip.unload: shown(is_private and status.model is not None and not is_busy and stage != "offered"),
            strip.download: shown(is_private and stage == "offered"),
            strip.not_now: shown(is_private and stage == "offered"),
        }
        if state == seen:
            return update
        update[strip.seen] = state
        if seen:
            update |= self.details()
            is_other = seen.partition("\n")[0] != state.partition("\n")[0]
            if is_other and (status.model is not None or self._loader.failure is not None):
                # What was said about memory before this load is no longer true; what was just said of another adapter,
                # or that the model is unloaded, is.
                update[strip.fit] = self._would_fit()
        if seen and is_private:
            # After a load that failed, what was chosen stays chosen, and Load stands ready.
            chosen = {} if self._loader.failure else {"value": status.adapter or NO_ADAPTER}
            variant = "primary" if self._loader.failure else "secondary"
            update |= {
                strip.model: gr.update(choices=self._models()),
                strip.adapter: gr.update(choices=self._adapters(), **chosen),
                strip.load: gr.update(visible=update[strip.load]["visible"], variant=variant),
            }
        return update

    def details(self) -> Update:
        """The fold: template and adapters of the model that answers now."""
        strip, loaded = self._strip, loaded_or_none(self._host)
        source = loaded.template.source if loaded and loaded.template else None
        lines = [] if self._settings.is_public else self._shelf.lines()
        return {
            strip.template: views.template_card(source, is_loaded=loaded is not None),
            strip.prompt: "",
            strip.adapters: views.adapter_table(lines),
        }

    def show_prompt(self) -> str:
        """A short conversation as the model gets it."""
        try:
            return sample_prompt(self._host.loaded)
        except Exception as error:
            return _failed(error)

    def estimate(self, *form: object) -> Update:
        """Will it fit? Said before anything is read."""
        strip = self._strip
        try:
            config = self._config(form)
            if is_address(config.model) and not self._settings.is_public:
                said, precision = server_line(config, self._host), self._precisions(config.model, "auto")
                load = gr.update(variant="primary" if said else "secondary")
                return {strip.precision: precision, strip.fit: said, strip.load: load}
            entry = catalog.find_model(config.model, self._settings)
            update = {strip.precision: self._precisions(config.model, config.precision)}
            if config.precision not in fit.precisions(entry):
                config = replace(config, precision="auto")
            if is_loaded(config, self._host):
                return {**update, strip.fit: "", strip.load: gr.update(variant="secondary")}
            found = fit.estimate(entry, config)
            if not found.fits and not self._settings.is_public:
                self._give_back()
                found = fit.estimate(entry, config)
            said = views.fit_line(found)
        except NotFetched:
            said = notice(text.both("not_fetched", model=config.model))
            return {strip.fit: said, strip.load: gr.update(variant="primary")}
        except Exception as error:
            return {strip.fit: _failed(error)}
        return {**update, strip.fit: said, strip.load: gr.update(variant="primary")}

    def use(self, event: gr.EventData, *form: object) -> Update:
        """Choose the precision that would fit."""
        at = [field.name for field in fields(ModelConfig)].index("precision")
        return self.estimate(*form[:at], sent(event, "value"), *form[at + 1 :])

    def load(self, *form: object) -> Update:
        """Start to load what was chosen; what is not on this machine is asked about first."""

        def start(request_id: str) -> None:
            config = self._config(form)
            try:
                catalog.check_model(config.model, self._settings)
            except NotFetched:
                self._loader.ask(config, request_id)
            else:
                self._loader.load(config, request_id)

        update = self._try(start)
        # It may have failed already, and then nothing changes any more that a look would find.
        return {**update, self._strip.fit: update[self._strip.fit] or self._would_fit()}

    def fetch(self) -> Update:
        """Download what was offered, then load it."""
        return self._try(self._loader.fetch)

    def cancel(self) -> Update:
        """Stop loading or downloading, or take the question back."""
        return self._try(lambda _: self._loader.cancel())

    def unload(self) -> Update:
        """Give the model's memory back, and that of what is loaded beside it."""

        def unload(_: str) -> None:
            self._give_back()
            self._host.unload()

        update = self._try(unload)
        return {**update, self._strip.fit: update[self._strip.fit] or notice(text.both("unloaded"))}

    def switch_adapter(self, adapter: object) -> Update:
        """Put the adapter into the loaded base, or take it out; the base is not loaded again."""
        said = ""

        def switch(_: str) -> None:
            nonlocal said
            said = switched(self._host, adapter)

        update = self._try(switch)
        # A menu tells its choice once more when it is left: what was said of it stays.
        return {**update, **self.details(), self._strip.fit: update[self._strip.fit] or said or gr.skip()}

    def press_adapter(self, event: gr.EventData) -> Update:
        """Have an adapter of the table at hand, or take it out."""
        known = [line.name for line in self._shelf.lines()]
        act, adapter, is_working = sent(event, "name"), sent(event, "value"), bool(self._queue.jobs())
        update = self._try(lambda _: pressed(self._host, known, act, adapter, is_working=is_working))
        return {
            **update, **self.details(), self._strip.adapter: gr.update(value=self._host.adapter or NO_ADAPTER),
        }  # fmt: skip

    def _try(self, act: Callable[[str], None]) -> Update:
        """Do it, and show how things stand then; what goes wrong is said beside it."""
        request_id, said = secrets.token_hex(4), ""
        try:
            if self._settings.is_public:
                raise SentenceError("public_mode")
            act(request_id)
        except Exception as error:
            said = _failed(error, request_id)
        return {**self.look(""), self._strip.seen: self._state(), self._strip.fit: said}

    def _config(self, form: Sequence[object]) -> ModelConfig:
        config: ModelConfig = self._form.read(form)
        return replace(config, model=config.model.strip())

    def _models(self) -> list[tuple[str, str]]:
        return [(entry.title, entry.name) for entry in catalog.list_models(self._settings)]

    def _adapters(self) -> list[tuple[Any, str]]:
        entries = catalog.list_adapters(self._settings)
        return [(text.label("adapter_absent"), NO_ADAPTER), *((entry.name, entry.name) for entry in entries)]

    def _precisions(self, model: str, chosen: str) -> Any:
        try:
            usable = fit.precisions(catalog.find_model(model, self._settings))
        except ModelIsRemote:
            usable = ("auto",)
        except UserError:
            usable = PRECISIONS
        value = chosen if chosen in usable else "auto"
        return gr.update(choices=views.choices(views.PRECISION_NAMES, usable), value=value)

    def _would_fit(self) -> str:
        """Beside the reason of a load that failed because it did not fit: what would, a press away."""
        if not isinstance(self._loader.failure, DoesNotFit):
            return ""
        try:
            config = self._loader.config
            return views.fit_line(fit.estimate(catalog.find_model(config.model, self._settings), config))
        except UserError:  # the model is gone since
            return ""

    def _state(self) -> str:
        """Changes when another model or adapter answers, a load fails, or a model comes to this machine or goes.

        The first line tells of loads alone.
        """
        status = self._host.status()
        there = [sorted(os.listdir(path)) for path in (self._settings.models, self._settings.adapters) if path.is_dir()]
        loaded = loaded_or_none(self._host)
        failed = self._loader.request_id if self._loader.failure else ""
        answers = (loaded.identity, loaded.n_context) if loaded is not None else status.model
        return f"{(answers, failed)!r}\n{(status.adapter, loaded and loaded.adapters.offered, there)!r}"


def _failed(error: Exception, request_id: str | None = None) -> str:
    request_id = request_id or secrets.token_hex(4)
    note_error(error, request_id)
    return error_notice(error, request_id)
