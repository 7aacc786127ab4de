"""Sampling options under a name: three that are always there, and those that the person saved."""

import contextlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_app.config import SamplingConfig
from llm_app.conversations.disk import write_whole
from llm_app.errors import UserError
from llm_app.options import options_of

BALANCED, NEUTRAL, EXACT = "balanced", "neutral", "exact"
BUILT_IN: Mapping[str, SamplingConfig] = {
    BALANCED: SamplingConfig(),
    # The model's own distribution, changed by nothing.
    NEUTRAL: SamplingConfig(temperature=1.0, top_p=1.0, top_k=0),
    EXACT: SamplingConfig(temperature=0.0),
}
# They belong to a question, not to a way of sampling.
NOT_KEPT = ("seed", "reply_prefix", "max_new_tokens", "stop")
MAX_PRESETS, MAX_NAME, MAX_BYTES = 100, 60, 1_000_000


class PresetRefused(UserError):
    """A preset that cannot be saved or read."""

    code = "preset_refused"


def checked_name(name: object) -> str:
    """A name for a preset.

    Raises: PresetRefused.
    """
    if not isinstance(name, str) or not name.strip():
        raise PresetRefused("Give the preset a name.", param="name")
    name = " ".join(name.split())
    if len(name) > MAX_NAME or not name.isprintable():
        raise PresetRefused(f"A preset's name has at most {MAX_NAME} characters that can be printed.", param="name")
    if name.casefold() in BUILT_IN:
        raise PresetRefused(f"{name} is a preset that is always there; choose another name.", param="name")
    return name


def as_json(sampling: SamplingConfig) -> dict[str, Any]:
    """The options as plain values."""
    names = [item.name for item, _ in options_of(SamplingConfig) if item.name not in NOT_KEPT]
    return {name: getattr(sampling, name) for name in names}


def presets_of(value: object) -> dict[str, SamplingConfig]:
    """Presets from what `as_json` wrote, by name; those that are none any more are left out."""
    found: dict[str, SamplingConfig] = {}
    for name, row in list(value.items())[:MAX_PRESETS] if isinstance(value, Mapping) else []:
        with contextlib.suppress(UserError, TypeError, AttributeError):
            known = as_json(SamplingConfig()).keys()
            values: dict[str, Any] = {key: item for key, item in row.items() if key in known}
            found[checked_name(name)] = SamplingConfig(**values)
    return found


def with_preset(
    presets: Mapping[str, SamplingConfig], name: object, sampling: SamplingConfig
) -> dict[str, SamplingConfig]:
    """The presets with one more, or one changed.

    Raises: PresetRefused.
    """
    kept = {**presets, checked_name(name): SamplingConfig(**as_json(sampling))}
    if len(kept) > MAX_PRESETS:
        raise PresetRefused(f"{MAX_PRESETS} presets are kept already; delete one.")
    return kept


class PresetStore:
    """The presets of this machine, in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def read(self) -> dict[str, SamplingConfig]:
        """Presets by name.

        Raises: PresetRefused if the file is not one of ours; it is left as it is.
        """
        try:
            is_ours = self.path.stat().st_size <= MAX_BYTES
            value = json.loads(self.path.read_text(encoding="utf-8")) if is_ours else None
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or not isinstance(value.get("presets"), dict):
            raise PresetRefused(f"{self.path.name} is damaged; move it away to save presets again.")
        return presets_of(value["presets"])

    def save(self, name: object, sampling: SamplingConfig) -> dict[str, SamplingConfig]:
        """Keep the options under a name; gives all presets."""
        with self._lock:
            return self._write(with_preset(self.read(), name, sampling))

    def delete(self, name: object) -> dict[str, SamplingConfig]:
        """Forget one; gives those that are left."""
        with self._lock:
            return self._write({kept: sampling for kept, sampling in self.read().items() if kept != name})

    def _write(self, presets: dict[str, SamplingConfig]) -> dict[str, SamplingConfig]:
        value = {"version": 1, "presets": {name: as_json(sampling) for name, sampling in presets.items()}}
        write_whole(self.path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")
        return presets
