"""What several tabs show: pure functions from values to HTML and text."""

from llm_app.options import Text

GIGA = 10**9
SEPARATOR = " · "


def notice(html: str, kind: str = "info") -> str:
    """A quiet line where something happened; `kind` is info, warning or error."""
    role = "alert" if kind == "error" else "status"
    return f'<div class="notice {kind}" role="{role}">{html}</div>'


def joined(*parts: Text) -> Text:
    """The parts that say something, set apart by dots."""
    shown = [part for part in parts if part != ("", "")]
    return SEPARATOR.join(part[0] for part in shown), SEPARATOR.join(part[1] for part in shown)


def percent(share: float) -> str:
    """0.4 %, 12 %: a tenth where it matters."""
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def gigabytes(n_bytes: int) -> str:
    """Two figures that matter: 0.11, 0.4, 21."""
    value = n_bytes / GIGA
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.95 or value == 0 else f"{value:.2f}"
