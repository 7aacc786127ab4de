"""Reads a LoRA adapter in PEFT's layout, believing nothing in it: no import, no regular expression, no pickle.

Whatever this program could not apply faithfully is refused by name, not ignored.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional

from llm_app.engine.weights import TensorInfo, read_header, read_json, refuse_pickle
from llm_app.errors import ModelNotFound, ModelRejected

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
# Written beside the adapter by our training: {"base": {"name": ..., "weights": Identity.weights}}.
BASE_NOTE = "proofbench.json"
CAUSAL_LM, SEQ_CLS = "CAUSAL_LM", "SEQ_CLS"  # peft's names of what an adapter is made for
HEAD = "base_model.model.score.weight"  # of an adapter that classifies: (labels, hidden size)
MAX_RANK = 4096
# Fields that are read below, or that only matter to training.
_READ = {
    "peft_type", "peft_version", "task_type", "base_model_name_or_path", "revision", "inference_mode", "r",
    "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "fan_in_fan_out", "target_modules", "exclude_modules",
    "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "init_lora_weights", "auto_mapping",
}
# What peft writes when a feature is not used.
_UNUSED = {"bias": "none", "megatron_core": "megatron.core", "qalora_group_size": 16}
# These only choose where training starts; others (pissa, olora, corda, loftq) also change the base's weights.
_PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal", "eva", "true", "false")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_KEY = re.compile(r"(?:base_model\.model\.)?([A-Za-z0-9_.]+)\.lora_(A\.weight|B\.weight|magnitude_vector)")
_PARTS = {"A.weight": "lora_A", "B.weight": "lora_B", "magnitude_vector": "lora_magnitude_vector"}
_HEADS = ("classifier", "score")  # what peft calls the layers that are saved whole when an adapter classifies
_NO_TENSOR = TensorInfo((), "", 0, Path())


@dataclass(frozen=True)
class LoraPair:
    """The change of one linear layer: scale * b @ a, with a (rank, n_in) and b (n_out, rank).

    `magnitude` (n_out): of a DoRA adapter, the length that each row of the changed weight has in the end.
    """

    a: Tensor
    b: Tensor
    scale: float
    magnitude: Tensor | None = None

    def merged(self, weight: Tensor) -> Tensor:
        """The weight (n_out, n_in) with the change in it, in float32."""
        changed = weight.float() + self.scale * self._product()
        growth = self.growth(weight)
        return changed if growth is None else growth[:, None] * changed

    def growth(self, weight: Tensor) -> Tensor | None:
        """How much longer DoRA makes each row (n_out) of the changed weight; None of other adapters.

        Source: peft's DoraLinearLayer, with its order of operations, and so with its bits.
        """
        if self.magnitude is None:
            return None
        return self.magnitude / (weight.float() + self.scale * self._product()).norm(dim=1)

    def _product(self) -> Tensor:
        return functional.linear(self.a.T.contiguous(), self.b).T


@dataclass(frozen=True)
class AdapterFile:
    """A checked adapter: what it changes, by module name, and what it says about its base."""

    base: str
    base_digest: str | None
    digest: str
    pairs: dict[str, LoraPair]
    targets: tuple[str, ...] | None  # None where the modules of the file are all there is to know
    head: Tensor | None = None  # of one that classifies

    @property
    def n_parameters(self) -> int:
        """Trained numbers in it."""
        tensors = (tensor for pair in self.pairs.values() for tensor in (pair.a, pair.b, pair.magnitude))
        return sum(tensor.numel() for tensor in tensors if tensor is not None)


def read_adapter(path: Path, task: str = CAUSAL_LM) -> AdapterFile:
    """Check and read the adapter in this folder. `task`: what it must have been made for.

    Raises: ModelNotFound, or ModelRejected in one sentence.
    """
    if not (path / CONFIG).is_file():
        raise ModelNotFound(f"No adapter at {path}: {CONFIG} is missing.")
    config = read_json(path / CONFIG)
    _check_config(config, task)
    weights = path / WEIGHTS
    if not weights.is_file():
        for pickle in sorted(path.glob("adapter_model.*")):
            refuse_pickle(pickle)
        raise ModelRejected(f"{WEIGHTS} is missing from {path.name}.")
    pairs, head = _read_weights(weights, config, has_head=task == SEQ_CLS)
    base, base_digest = _read_base(path, config)
    # One layer in a subset of blocks, or layers left out on purpose, cannot be told from missing ones.
    is_partial = any(config.get(key) for key in ("layers_to_transform", "exclude_modules"))
    targets = config["target_modules"]
    return AdapterFile(
        base=base,
        base_digest=base_digest,
        digest=_digest(weights, config),
        pairs=pairs,
        targets=None if is_partial or isinstance(targets, str) else tuple(targets),
        head=head,
    )


def _check_config(config: dict[str, Any], wanted: str) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise _rejected(f"its type is {str(kind)[:40]!r}; only LORA runs here")
    for feature, name in (("use_qalora", "QALoRA"), ("use_bdlora", "BD-LoRA")):
        if config.get(feature):
            raise _rejected(f"it is a {name} adapter; only LoRA, rsLoRA and DoRA run here")
    _check_task(config, wanted)
    for key, value in config.items():
        is_head = key == "modules_to_save" and wanted == SEQ_CLS and _names_heads(value)
        if key not in _READ and value and value != _UNUSED.get(key) and not is_head:
            raise _rejected(f"{CONFIG} sets {key[:60]}, which does not run here")
    if config.get("init_lora_weights") not in _PLAIN_STARTS:
        start = str(config["init_lora_weights"])[:40]
        raise _rejected(f"it starts from {start!r}, which also changes the base; save it as plain LoRA first")
    # Nothing is imported here in any case; other programs that read this adapter would import it.
    mapping = config.get("auto_mapping") or {}
    library = str(mapping.get("parent_library", "")) if isinstance(mapping, dict) else str(mapping)
    if mapping and not library.startswith("transformers."):
        raise _rejected(f"auto_mapping names the library {library[:40]!r}")
    targets = config.get("target_modules")
    is_list = isinstance(targets, list) and bool(targets) and all(_is_plain(name) for name in targets)
    if not is_list and targets != "all-linear":
        raise _rejected("target_modules is not a list of plain module names")
    for pattern in ("rank_pattern", "alpha_pattern"):
        names = config.get(pattern) or {}
        if not isinstance(names, dict) or not all(_is_plain(name) for name in names):
            raise _rejected(f"{pattern} is not a table of plain module names")


def _names_heads(value: Any) -> bool:
    return isinstance(value, list) and all(name in _HEADS for name in value)


def _check_task(config: dict[str, Any], wanted: str) -> None:
    task = config.get("task_type")
    if task != wanted and not (task is None and wanted == CAUSAL_LM):
        what = "writing text" if wanted == CAUSAL_LM else "classifying text"
        raise _rejected(f"it was made for the task {str(task)[:40]!r}, not for {what} ({wanted})")


def _read_weights(
    weights: Path, config: dict[str, Any], *, has_head: bool
) -> tuple[dict[str, LoraPair], Tensor | None]:
    from safetensors.torch import load_file

    layers: dict[str, dict[str, str]] = {}
    header = read_header(weights)
    if has_head and len(header.get(HEAD, _NO_TENSOR).shape) != 2:
        raise _rejected(f"it has no trained classification head ({HEAD})")
    for key in header:
        if has_head and key == HEAD:
            continue
        match = _KEY.fullmatch(key)
        if match is None:
            raise _rejected(f"it holds {key[:120]!r}, which is not a plain LoRA weight")
        layers.setdefault(match[1], {})[_PARTS[match[2]]] = key
    if not layers:
        raise _rejected(f"{WEIGHTS} holds no LoRA weights")
    for name, keys in layers.items():
        _check_parts(name, {part: header[key] for part, key in keys.items()}, config)
    tensors = load_file(weights)
    for key, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise _rejected(f"{key[:120]} has non-finite values (NaN or infinity)")
    # float32 whatever the base computes in, as peft does.
    parts = {name: {part: tensors[key].float() for part, key in keys.items()} for name, keys in layers.items()}
    pairs = {
        name: LoraPair(part["lora_A"], part["lora_B"], _scale(name, config), part.get("lora_magnitude_vector"))
        for name, part in parts.items()
    }
    return pairs, tensors[HEAD].float() if has_head else None


def _check_parts(name: str, parts: dict[str, TensorInfo], config: dict[str, Any]) -> None:
    rank = _rank(name, config)
    if not {"lora_A", "lora_B"} <= parts.keys():
        raise _rejected(f"{name[:120]} has only one of lora_A and lora_B")
    a, b, magnitude = parts["lora_A"], parts["lora_B"], parts.get("lora_magnitude_vector")
    if (magnitude is not None) != bool(config.get("use_dora")):
        has = "no lora_magnitude_vector" if magnitude is None else "a lora_magnitude_vector"
        raise _rejected(f"{name[:120]} has {has}; {CONFIG} says use_dora {bool(config.get('use_dora'))}")
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != rank or b.shape[1] != rank:
        raise _rejected(f"{name[:120]} has LoRA weights of shapes {a.shape} and {b.shape}; {CONFIG} says rank {rank}")
    if magnitude is not None and magnitude.shape != b.shape[:1]:
        raise _rejected(f"{name[:120]} has a magnitude vector of shape {magnitude.shape} for {b.shape[0]} outputs")
    odd = {info.dtype for info in parts.values()} - {"F32", "F16", "BF16"}
    if odd:
        raise _rejected(f"{name[:120]} has LoRA weights of type {min(odd)}; F32, F16 and BF16 run here")


def _rank(name: str, config: dict[str, Any]) -> int:
    rank = _of_module(name, config.get("rank_pattern"), config.get("r"))
    if type(rank) is not int or not 1 <= rank <= MAX_RANK:
        raise _rejected(f"its rank r is {str(rank)[:20]}; it must be between 1 and {MAX_RANK}")
    return rank


def _scale(name: str, config: dict[str, Any]) -> float:
    """lora_alpha / r; rsLoRA divides by the root of r. Source: peft's LoraLayer.update_layer."""
    rank = _rank(name, config)
    alpha = _of_module(name, config.get("alpha_pattern"), config.get("lora_alpha"))
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise _rejected(f"lora_alpha is {str(alpha)[:20]}, not a finite number")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _of_module(name: str, patterns: Mapping[str, Any] | None, default: Any) -> Any:
    """The value for the first pattern that ends the module's name, else the default."""
    return next((value for end, value in (patterns or {}).items() if is_named(name, end)), default)


def is_named(module: str, target: str) -> bool:
    """Whether a plain target name means this module, as peft understands it: the end of its path."""
    return module == target or module.endswith(f".{target}")


def _read_base(path: Path, config: dict[str, Any]) -> tuple[str, str | None]:
    name = _printable(config.get("base_model_name_or_path") or "an unnamed model")
    if not (path / BASE_NOTE).is_file():
        return name, None
    base = read_json(path / BASE_NOTE).get("base")
    if not isinstance(base, dict) or not isinstance(base.get("weights"), str):
        raise _rejected(f"{BASE_NOTE} does not say which base it was made for")
    return _printable(base.get("name") or name), _printable(base["weights"])


def _digest(weights: Path, config: dict[str, Any]) -> str:
    """SHA-256 of the weights and of the settings that scale them."""
    scaling = {key: config.get(key) for key in ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern")}
    with weights.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    digest.update(json.dumps(scaling, sort_keys=True).encode())
    return digest.hexdigest()


def _printable(text: object) -> str:
    return "".join(char for char in str(text) if char.isprintable())[:200]


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and len(name) <= 200 and _PLAIN_NAME.fullmatch(name) is not None


def _rejected(why: str) -> ModelRejected:
    return ModelRejected(f"The adapter cannot be used: {why}.")
