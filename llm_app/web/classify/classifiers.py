"""The loaded chat model as one entry of a menu, and what classifiers are called."""

from dataclasses import replace
from typing import Any

from llm_app.engine.host import Host
from llm_app.jobs.classify_open import Asked
from llm_app.web.runs.views import short

ZERO_SHOT = "zero-shot"  # whichever chat model is loaded; also the method by which it classifies


def resolved(asked: Asked, host: Host) -> Asked:
    """With the name of the chat model that is loaded now. Raises: UserError if none is."""
    return replace(asked, model=host.loaded.entry.name) if asked.model == ZERO_SHOT else asked


def title(model: str, identity: Any) -> str:
    """What a classifier is called: the model with how it was asked, or the name of a trained one."""
    is_asked = identity.get("method") == ZERO_SHOT
    return f"{short(model)} · {ZERO_SHOT}" if is_asked else short(model)
