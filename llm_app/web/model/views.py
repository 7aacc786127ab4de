"""What the strip above all tabs shows: pure functions."""

from llm_app.web.text import both, filled, inert
from llm_app.web.views import SEPARATOR, gigabytes

# The names of the languages are written in themselves.
SWITCHES = (
    '<div class="switches"><button id="switch-language" type="button">'
    '<span class="en" lang="zh">中文</span><span class="zh" lang="en">English</span></button>'
    '<button id="switch-theme" type="button" title="Light or dark · 浅色 / 深色"'
    ' aria-label="Light or dark · 浅色 / 深色">◐</button></div>'
)


def memory_meter(n_used_bytes: int, n_available_bytes: int) -> str:
    """Memory of the model out of what it could have, as in "0.4 / 21 GB"."""
    return (
        f'<div class="memory" title="{inert(filled("memory_help")[0])}"><span class="caption">{both("memory")}</span>'
        f"<b>{gigabytes(n_used_bytes)} / {gigabytes(n_available_bytes)} GB</b></div>"
    )


def progress(model: str, phase: str | None, fraction: float) -> str:
    """The line and the bar of a model on its way in."""
    name = both("loading", model=model)
    phase_html = both(phase if phase in {"checking", "reading", "placing", "testing"} else "starting")
    return (
        f'<div class="notice info" role="status"><span>{name}{SEPARATOR}{phase_html}</span>'
        f'<span class="bar low"><i style="width:{min(max(fraction, 0.0), 1.0):.1%}"></i></span></div>'
    )


def model_facts(title: str, precision: str, adapter: str | None, n_context: int) -> str:
    """One line on the model that answers now."""
    facts = [inert(title), inert(precision), *([inert(adapter)] if adapter else []), both("context_of", n=n_context)]
    return f'<span class="dot" aria-hidden="true">●</span> {SEPARATOR.join(facts)}{SEPARATOR}{both("ready")}'
