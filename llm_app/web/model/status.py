"""The line under the strip: what is under way with the model, or which one answers."""

from llm_app.engine.host import HostStatus
from llm_app.engine.loading import LoadedModel
from llm_app.errors import Cancelled
from llm_app.remote.address import REMOTE
from llm_app.web import text
from llm_app.web.failures import error_html, request_html
from llm_app.web.model import views
from llm_app.web.model.loader import FetchCancelled, Loader
from llm_app.web.views import gigabytes, notice


def status_html(status: HostStatus, loader: Loader, loaded: LoadedModel | None) -> str:
    """What is under way, what was asked, or which model answers now."""
    if loader.is_busy and loader.stage == "asking":
        return notice(text.both("asking_hub", model=loader.config.model))
    if loader.is_busy and loader.stage == "fetching" and loader.offer:
        return views.fetching(loader.config.model, loader.offer.n_bytes, loader.fraction)
    if status.phase is not None or loader.is_busy:
        return views.loading(loader.config.model if loader.is_busy else "", status.phase, status.fraction)
    if status.state == "stopping":
        return notice(text.both("stopping"), "warning")
    if loader.stage == "offered" and loader.offer:
        size, free = gigabytes(loader.offer.n_bytes), gigabytes(loader.offer.free_bytes)
        return notice(text.both("offer", model=loader.offer.name, size=size, free=free), "warning")
    lines = []
    if loader.failure is not None:
        kind = "info" if isinstance(loader.failure, Cancelled) else "error"
        lines.append(notice(_failure_html(loader), kind))
    elif status.reason and status.model is None:
        lines.append(notice(text.pair((status.reason, status.reason)), "error"))
    if loaded is not None:
        lines += _facts(loaded, status.adapter)
    elif status.precision == REMOTE and status.model is not None:
        lines.append(notice(views.remote_facts(status.model)))
    elif not lines:
        lines.append(notice(text.both("nothing_loaded"), "warning"))
    return "".join(lines)


def _facts(loaded: LoadedModel, adapter: str | None) -> list[str]:
    facts = views.model_facts(loaded.entry.title, loaded.precision, adapter, loaded.n_context)
    missing = text.STRINGS["no_template"]
    notes = [missing if note == missing[0] else (note, note) for note in loaded.notes]
    return [notice(facts), *(notice(text.pair(note), "warning") for note in notes)]


def _failure_html(loader: Loader) -> str:
    assert loader.failure is not None
    if isinstance(loader.failure, Cancelled):
        return text.both("fetch_cancelled" if isinstance(loader.failure, FetchCancelled) else "load_cancelled")
    return f"{text.both('load_failed')} {error_html(loader.failure)} {request_html(loader.request_id)}"
