"""The command line that does what the form says."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm_app.config import Settings
from llm_app.data.formats import COLUMNS, Mapping
from llm_app.data.mix import DatasetSpec
from llm_app.jobs.command import PROGRAM
from llm_app.training.compare_configs import non_defaults
from llm_app.training.search_config import SearchConfig
from llm_app.web.tune.settings import Asked


def shown_command(
    data: Sequence[DatasetSpec], asked: Asked, settings: Settings, search: SearchConfig | None = None
) -> str:
    """`train` or `search` with every option that is not a default. A public page names files without their folders."""
    def place(path: str) -> str:
        return Path(path).name if settings.is_public else path

    words = [*PROGRAM, "search" if search else "train", "--model", place(asked.model)]
    if data:
        words += ["--data", *(place(spec.path) for spec in data)]
    if any(spec.weight != 1 for spec in data):
        words += ["--weights", *(f"{spec.weight:g}" for spec in data)]
    mappings = [spec.mapping for spec in data]
    if mappings and mappings[0] is not None and all(mapping == mappings[0] for mapping in mappings):
        words += _mapping_words(mappings[0])
    if asked.name:
        words += ["--name", asked.name]
    for config in [asked.config, *([search] if search else [])]:
        for name, value in non_defaults(config).items():
            words += option_words(name, value)
    line = shlex.join(words)
    return line if len(set(map(repr, mappings))) < 2 else f"{line}  # and a --mapping of its own for each file"


def _mapping_words(mapping: Mapping) -> list[str]:
    words = ["--layout", mapping.layout]
    columns = [f"{name}={getattr(mapping, name)}" for name in COLUMNS if getattr(mapping, name)]
    if columns:
        words += ["--columns", *columns]
    if mapping.split_at:
        words += ["--split-at", mapping.split_at.replace("\n", "\\n")]
    return words if mapping.is_chat or mapping.layout == "text" else [*words, "--raw"]


def option_words(name: str, value: Any) -> list[str]:
    """An option of a dataclass as its flag and value."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if isinstance(value, tuple):
        return [f"--{flag}", *map(str, value)]
    return [f"--{flag}", f"{value:.12g}" if isinstance(value, float) else str(value)]
