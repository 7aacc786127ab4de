"""The model that a run needs to go on: whether it answers now, and how it is brought back."""

from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

from llm_app.config import ModelConfig
from llm_app.engine.loading import LoadedModel
from llm_app.errors import UserError
from llm_app.remote.address import REMOTE
from llm_app.services import Services
from llm_app.web.failures import SentenceError
from llm_app.web.runs import views


def wanted_model(spec: Mapping[str, Any]) -> str:
    """The model of a run, as the strip above the tabs names it."""
    model = spec.get("model") or {}
    parts = (views.short(str(model.get("name", ""))), str(model.get("precision", "")), model.get("adapter_name"))
    return " · ".join(part for part in parts if part)


def missing_model(spec: Mapping[str, Any], services: Services) -> ModelConfig | None:
    """What has to be loaded before a run can go on; None where it answers now.

    Raises: UserError if the spec names no model that could be loaded.
    """
    model = spec.get("model") or {}
    if model.get("precision") == REMOTE:
        remote = services.host.remote
        name = str(model.get("name", ""))
        return None if remote is not None and remote.name == name else ModelConfig(name)
    device, adapter = model.get("device"), model.get("adapter_name")
    wanted = ModelConfig(
        model=str(model.get("name", "")), adapter=None if adapter is None else str(adapter),
        precision=str(model.get("precision", "auto")), device=device if device in ("cpu", "cuda") else "auto",
        context_length=int(spec.get("context") or 0),
    )  # fmt: skip
    try:
        loaded = services.host.loaded
        if not _is_base(loaded, wanted):
            return wanted
        loaded.adapters.digest(adapter)
    except UserError:
        return wanted
    return None


def check_model(spec: Mapping[str, Any], services: Services) -> None:
    """Whether the model of a run is loaded, before anything else of it is read.

    Raises: UserError that names it.
    """
    if missing_model(spec, services) is not None:
        raise SentenceError("run_resume_model", wanted=wanted_model(spec))


def bring_model(wanted: ModelConfig | None, services: Services) -> Generator[float]:
    """Load it in place of the present one, or put its adapter into the base that is loaded; yields the fraction done.

    None is nothing to do. Closing it cancels.

    Raises: UserError on a public page, while a run is under way, and as `Host.load`.
    """
    if wanted is None:
        return
    if services.settings.is_public:
        raise SentenceError("public_mode")
    if services.queue.jobs():
        raise SentenceError("run_bring_busy")
    host = services.host
    if (
        wanted.adapter is not None and host.remote is None and host.status().state == "ready"
        and _is_base(host.loaded, wanted)
    ):
        host.attach(wanted.adapter)
        return
    services.second.give_back()  # the room that it holds may be what this one needs
    with closing(host.load(wanted)) as steps:
        for step in steps:
            yield step.fraction


def _is_base(loaded: LoadedModel, wanted: ModelConfig) -> bool:
    return (loaded.entry.name, loaded.precision, loaded.n_context) == (
        wanted.model, wanted.precision, wanted.context_length
    )  # fmt: skip
