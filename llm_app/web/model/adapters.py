"""What is done with adapters of the loaded base: which one answers, and which are at hand beside it."""

from collections.abc import Collection

from llm_app.engine.adapters import AttachReport
from llm_app.engine.host import Host
from llm_app.errors import ModelIsRemote, ModelLoading
from llm_app.web import text
from llm_app.web.failures import SentenceError
from llm_app.web.views import notice


def let_answer(host: Host, adapter: str) -> AttachReport | None:
    """Let an adapter answer in place of the one that does now; the base itself for no name. The others stay at hand."""
    if adapter:
        return host.attach(adapter)
    host.let_base_answer()
    return None


def switched(host: Host, adapter: object) -> str:
    """Let another one answer; what is said of it.

    Raises: UserError.
    """
    if not isinstance(adapter, str):
        raise SentenceError("wrong_value")
    try:
        before = host.loaded and host.adapter
    except (ModelLoading, ModelIsRemote):
        return ""  # it is attached together with the model
    if adapter == (before or ""):
        return ""
    report = let_answer(host, adapter)
    if report is None:
        return notice(text.both("adapter_off"))
    name = "adapter_on" if report.has_effect else "adapter_no_effect"
    return notice(text.both(name, adapter=report.name), "info" if report.has_effect else "warning")


def pressed(host: Host, known: Collection[str], act: object, adapter: object, *, is_working: bool) -> None:
    """Have an adapter of the table at hand beside the one that answers, or take it out of the base.

    Raises: UserError, also for taking one out while `is_working`: a run may need it.
    """
    if not isinstance(adapter, str) or adapter not in known or act not in ("attach", "detach"):
        raise SentenceError("wrong_value")
    if act == "attach":
        host.attach(adapter, answers=False)
    elif is_working:
        raise SentenceError("run_bring_busy")
    elif adapter in host.loaded.adapters.offered:  # else another window has taken it out
        host.detach(adapter)
