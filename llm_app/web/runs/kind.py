"""What a tab brings so that its runs can be shown, stopped and resumed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.queue import Work
from llm_app.services import Services
from llm_app.web.failures import SentenceError
from llm_app.web.runs import views
from llm_app.web.runs.follow import Tally


@dataclass(frozen=True)
class Kind:
    """One kind of run. `names`: as spec.json has them. `empty`: HTML shown while there is no run at all.

    `resume` gives the rest of a run as work for the queue, or raises UserError. `keeps_body`: the body of the card
    stays when the run is over, since it is the result. `aside`: HTML in the line of the list of a run that is over.
    """

    names: tuple[str, ...]
    make_tally: Callable[[RunFolder], Tally]
    resume: Callable[[RunFolder], Work]
    empty: str
    manner: views.Manner = views.SAMPLES
    keeps_body: bool = False
    aside: Callable[[Any], str] | None = None  # given the run's tally


def wanted_model(spec: dict[str, Any]) -> str:
    """The model of a run, as the strip above the tabs names it."""
    model = spec.get("model") or {}
    parts = (views.short(str(model.get("name", ""))), str(model.get("precision", "")), model.get("adapter_name"))
    return " · ".join(part for part in parts if part)


def check_model(spec: dict[str, Any], services: Services) -> None:
    """Whether the model of a run is loaded, before anything else of it is read.

    Raises: UserError that names it.
    """
    loaded, model = services.host.loaded, spec.get("model") or {}
    same = (model.get("name"), model.get("precision"), spec.get("context")) == (
        loaded.entry.name, loaded.precision, loaded.n_context
    )  # fmt: skip
    adapter = model.get("adapter_name")
    try:
        loaded.adapters.digest(adapter)
    except UserError:
        same = False
    if not same:
        raise SentenceError("run_resume_model", wanted=wanted_model(spec))
