"""LoRA adapters switched on and off inside one loaded base.

The active adapter adds its part through forward hooks; the base's modules and weights are never touched. So the base
answers bit for bit as before when no adapter is active, and packed and bitsandbytes layers take adapters as others do.
"""

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from llm_app.engine.adapter_change import Change
from llm_app.engine.adapter_file import CAUSAL_LM, AdapterFile, is_named, read_adapter
from llm_app.engine.identity import Identity
from llm_app.engine.turn import Turn
from llm_app.errors import ModelNotFound, ModelRejected


@dataclass(frozen=True)
class AttachReport:
    """What an adapter turned out to be."""

    name: str
    base: str  # what it says it was made for
    n_modules: int
    n_parameters: int
    has_effect: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Attached:
    digest: str
    hooks: tuple[tuple[nn.Module, Change], ...]


class Adapters:
    """The adapters of one loaded base. Not thread-safe: call it between forward passes."""

    def __init__(self, model: PreTrainedModel, identity: Identity) -> None:
        self._model = model
        self._identity = identity
        self._attached: dict[str, _Attached] = {}
        self._active: str | None = None
        self._handles: list[RemovableHandle] = []
        self._lent: Counter[str] = Counter()  # name -> pieces of work that it is attached for, and for nobody else
        self._lending = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Attached adapters, in the order they came."""
        return tuple(self._attached)

    @property
    def offered(self) -> tuple[str, ...]:
        """Those that are there for everybody."""
        return tuple(name for name in self._attached if name not in self._lent)

    @contextmanager
    def lent(self, path: Path, *, name: str, turn: Turn, task: str = CAUSAL_LM) -> Iterator[None]:
        """Attached for as long as this lasts, for whoever names it, and offered to nobody. `task`: as `read_adapter`.

        One that is there for everybody stays. Raises: as `attach`.
        """
        with self._lending:
            was_offered = name in self.offered
            self.attach(path, name=name, turn=turn.held(), task=task)
            if not was_offered:
                self._lent[name] += 1
        try:
            yield
        finally:
            with self._lending:
                if not was_offered and name in self._lent:  # else somebody attached it for everybody meanwhile
                    self._lent[name] -= 1
                    if not self._lent[name]:
                        with turn.held():
                            self.detach(name)

    def share(self, name: str) -> None:
        """Let one that may be lent stay, for everybody."""
        with self._lending:
            self._lent.pop(name, None)

    def attach(
        self, path: Path, *, name: str, turn: AbstractContextManager[None] | None = None,
        task: str = CAUSAL_LM,
    ) -> AttachReport:
        """Read the adapter in `path` and keep it at hand as `name`; an earlier one of that name is replaced.

        `turn` is held only while it is put in its place: reading and checking take long, and chats go on meanwhile.
        Raises: ModelNotFound, or ModelRejected naming the adapter's base and the loaded one; the base stays as it was.
        """
        file = read_adapter(path, task)
        layers = self._layers_for(file)
        notes = self._check_base(file)
        changes = [(layer, Change.of(file.pairs[module], layer)) for module, layer in layers.items()]
        has_effect = any(change.has_effect for _, change in changes)
        if not has_effect:
            notes += ("this adapter has no effect",)
        hooks = tuple((layer, change) for layer, change in changes)
        with turn or nullcontext():
            if self._active == name:
                self.use(None)
            self._attached[name] = _Attached(file.digest, hooks)
        return AttachReport(name, file.base, len(layers), file.n_parameters, has_effect, notes)

    def check(self, path: Path) -> tuple[str, ...]:
        """Notes on whether the adapter in `path` belongs to this base; nothing is changed.

        Raises: as `attach`, where it does not fit.
        """
        file = read_adapter(path)
        self._layers_for(file)
        return self._check_base(file)

    def detach(self, name: str) -> None:
        """Forget an adapter; if it was active, the base is."""
        self._find(name)
        if self._active == name:
            self.use(None)
        del self._attached[name]
        self._lent.pop(name, None)

    def use(self, name: str | None) -> None:
        """Make this adapter the active one, or the base with None. Costs nothing if it already is."""
        if name == self._active:
            return
        hooks = self._find(name).hooks if name is not None else ()
        for handle in self._handles:
            handle.remove()
        self._handles = [layer.register_forward_hook(hook) for layer, hook in hooks]
        self._active = name

    def digest(self, name: str | None) -> str:
        """SHA-256 of the adapter's weights and scaling; empty for the base."""
        return self._find(name).digest if name is not None else ""

    def _find(self, name: str) -> _Attached:
        if name not in self._attached:
            raise ModelNotFound(f"No adapter {name} is attached; attached are: {', '.join(self._attached) or 'none'}.")
        return self._attached[name]

    def _check_base(self, file: AdapterFile) -> tuple[str, ...]:
        """Notes on how sure it is that the adapter belongs to this base. Raises: ModelRejected if it does not."""
        if file.base_digest is not None:
            if file.base_digest != self._identity.weights:
                raise self._wrong_base(file, "the weights differ")
            return ()
        # Without a name of its own the model is told apart by nothing; "unknown" is no folder and nobody's name.
        theirs, ours = Path(file.base), Path(self._model.config.name_or_path or "unknown")
        if theirs.is_absolute() and _weight_files(theirs) and _weight_files(ours):
            if not _hold_the_same_weights(theirs, ours):
                raise self._wrong_base(file, "the weights differ")
            return ()
        if _plain(_hub_name(ours) or ours.name) == _plain(theirs.name):
            return ()
        # People call their own folders what they like; only a name from the hub is evidence.
        if _hub_name(ours) and not theirs.is_absolute():
            raise self._wrong_base(file, "the names differ")
        return (f"the adapter says it was made for {file.base}, which could not be compared with the loaded model",)

    def _layers_for(self, file: AdapterFile) -> dict[str, nn.Module]:
        """The base's layers that the adapter changes. Raises: ModelRejected where the two do not fit."""
        modules = dict(self._model.named_modules())
        layers = {}
        for name, pair in file.pairs.items():
            if name not in modules:
                raise self._wrong_base(file, f"there is no module {name[:120]}")
            n_in, n_out = _size(modules[name])
            if (n_in, n_out) == (0, 0):
                raise self._wrong_base(file, f"{name} is not a linear layer")
            if (n_in, n_out) != (pair.a.shape[1], pair.b.shape[0]):
                raise self._wrong_base(
                    file, f"{name} takes {n_in} and gives {n_out} numbers, not {pair.a.shape[1]} and {pair.b.shape[0]}"
                )
            layers[name] = modules[name]
        for name in modules.keys() - layers.keys():
            if _size(modules[name]) != (0, 0) and any(is_named(name, target) for target in file.targets or ()):
                raise self._wrong_base(file, f"the adapter has no weights for {name}")
        return layers

    def _wrong_base(self, file: AdapterFile, why: str) -> ModelRejected:
        theirs = f" (weights {file.base_digest[:12]})" if file.base_digest else ""
        ours = Path(self._model.config.name_or_path).name or "without name"
        return ModelRejected(
            f"The adapter was made for {file.base}{theirs} and does not fit the loaded model {ours} "
            f"(weights {self._identity.weights[:12]}): {why}."
        )


def _size(module: nn.Module) -> tuple[int, int]:
    """(n_in, n_out) of a linear layer, packed or not; (0, 0) for anything else."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, Conv1D):
        return module.weight.shape[0], module.weight.shape[1]
    return 0, 0


def _plain(name: str) -> str:
    """The name without punctuation and without how its weights are packed."""
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"(unsloth|bnb|4bit|8bit|gguf|awq|gptq|q\d(k[sml]?|[01])?|bf16|fp16|f16|f32)+$", "", letters)


def _hub_name(folder: Path) -> str | None:
    """The model's name if the folder is a snapshot in the hub's cache (models--org--name/snapshots/...)."""
    part = next((part for part in folder.parts if part.startswith("models--")), None)
    return part.split("--")[-1] if part else None


def _weight_files(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in folder.glob("*.safetensors") if file.is_file()}


def _hold_the_same_weights(one: Path, other: Path) -> bool:
    sizes = _weight_files(one)
    if sizes != _weight_files(other):
        return False
    return one.resolve() == other.resolve() or all(_sha256(one / name) == _sha256(other / name) for name in sizes)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
