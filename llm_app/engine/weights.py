"""Is this folder a model that is whole, safe and of a known kind? Answered from names, sizes and headers alone.

Nothing here executes or unpickles anything, and no tensor data is read.
Source of the header rules: the safetensors format description; its limits are tightened (10 MB, 20,000 tensors).
"""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_app.errors import ModelNotFound, ModelRejected

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_HEADER_BYTES = 10_000_000
MAX_TENSORS = 20_000
MAX_CONFIG_BYTES = 10_000_000
MAX_INDEX_BYTES = 20_000_000
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy", ".npz", ".h5", ".msgpack")
_PICKLE_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"\x93NUMPY")
_JSON_FILES = (
    "config.json", "tokenizer_config.json", "generation_config.json", "special_tokens_map.json",
    "processor_config.json", "preprocessor_config.json",
)
# What a model is wanted for -> transformers' table of the kinds of model that do it.
WRITES, CLASSIFIES, TAGS = (
    "language model that continues text", "model that classifies text", "model that classifies tokens",
)
_TABLES = {
    WRITES: "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", CLASSIFIES: "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    TAGS: "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES",
}
_TOKENIZERS = (
    ("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"), ("vocab.txt",), ("tekken.json",),
)
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}


@dataclass(frozen=True)
class TensorInfo:
    """What a safetensors header says about one tensor."""

    shape: tuple[int, ...]
    dtype: str  # as safetensors writes it: F32, BF16...
    n_bytes: int
    file: Path


@dataclass(frozen=True)
class CheckedFolder:
    """A folder that may be loaded: its config and its tensors by name."""

    config: dict[str, Any]
    tensors: dict[str, TensorInfo]

    @property
    def n_bytes(self) -> int:
        """Size of all weights on disk."""
        return sum(tensor.n_bytes for tensor in self.tensors.values())


def check_folder(path: Path, task: str = WRITES) -> CheckedFolder:
    """Look through a model folder before anything loads it. `task`: what the model is wanted for.

    Raises: ModelNotFound, or ModelRejected naming the file at fault.
    """
    if not path.is_dir():
        raise ModelNotFound(f"No folder at {path}. Give a folder with config.json and {WEIGHTS}.")
    if (path / "adapter_config.json").exists():
        # transformers would follow it to whatever base model it names.
        raise ModelRejected(f"{path.name} is an adapter: it has adapter_config.json. Choose it as adapter.")
    config = read_json(path / "config.json")
    _check_no_custom_code(path)
    _check_kind(config, task)
    tensors = _read_weights(path)
    _check_layers(config, tensors)
    if not any(all((path / name).is_file() for name in names) for names in _TOKENIZERS):
        raise ModelRejected(f"{path.name} has no tokenizer: tokenizer.json (or tokenizer.model) is missing.")
    return CheckedFolder(config, tensors)


def read_json(file: Path, *, max_bytes: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """A JSON object from a file of bounded size.

    Raises: ModelRejected naming the file, with line and column where the text goes wrong.
    """
    name = file.name
    if not file.is_file():
        raise ModelRejected(f"{name} is missing from {file.parent.name}.")
    size = file.stat().st_size
    if size > max_bytes:
        raise ModelRejected(f"{name} has {size:,} bytes; {max_bytes:,} are the limit.")
    try:
        value = json.loads(file.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ModelRejected(f"{name} is not UTF-8 text (byte {error.start}).") from None
    except json.JSONDecodeError as error:
        raise ModelRejected(f"{name} is not valid JSON (line {error.lineno}, column {error.colno}).") from None
    except (RecursionError, ValueError):
        raise ModelRejected(f"{name} is not valid JSON (nested too deeply, or a number too long).") from None
    if not isinstance(value, dict):
        raise ModelRejected(f"{name} does not hold a JSON object.")
    return value


def refuse_pickle(file: Path) -> None:
    """Say no to a file that is unpickled when loaded, whatever its name.

    Raises: ModelRejected.
    """
    with file.open("rb") as stream:
        magic = stream.read(6)
    if file.suffix.lower() in PICKLE_SUFFIXES or magic.startswith(_PICKLE_MAGIC):
        raise ModelRejected(f"{file.name} is a pickle file, which can run code; only safetensors/GGUF are accepted.")


def read_header(file: Path) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file, from its header, once its size agrees with it.

    Raises: ModelRejected naming the file.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        n_header = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= n_header <= MAX_HEADER_BYTES:
            raise _not_safetensors(file, n_header)
        header = stream.read(n_header)
    if header[:1] != b"{":
        raise _not_safetensors(file, n_header)
    if len(header) < n_header:
        raise _incomplete(file, size, 8 + n_header, at_least=True)
    # Ten quotation marks a tensor, about six commas: counted first, so that no header unfolds into gigabytes.
    if header.count(b'"') > 10 * MAX_TENSORS + 10_000 or header.count(b",") > 20 * MAX_TENSORS:
        raise ModelRejected(f"{file.name} describes more than {MAX_TENSORS:,} tensors.")
    try:
        entries = json.loads(header.decode("utf-8"), object_pairs_hook=_unique)
        entries.pop("__metadata__", None)
        spans = sorted(_read_entry(name, entry, file) for name, entry in entries.items())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _not_safetensors(file, n_header) from None
    if len(spans) > MAX_TENSORS:
        raise ModelRejected(f"{file.name} describes {len(spans):,} tensors; {MAX_TENSORS:,} are the limit.")
    end = 0
    for begin, stop, name, _ in spans:
        if begin != end:
            raise _invalid(file, f"tensor {name[:80]!r} overlaps another or leaves a gap")
        end = stop
    if size < 8 + n_header + end:
        raise _incomplete(file, size, 8 + n_header + end)
    if size > 8 + n_header + end:
        raise _invalid(file, f"{size - 8 - n_header - end:,} bytes more than its header describes")
    return {name: tensor for _, _, name, tensor in spans}


def check_vocabulary(n_tokens: int, n_embeddings: int) -> None:
    """Raises: ModelRejected if the tokenizer knows tokens that the model has no embedding for."""
    if n_tokens > n_embeddings:
        raise ModelRejected(
            f"The tokenizer has {n_tokens:,} tokens and the model {n_embeddings:,} embeddings: "
            "they do not belong together."
        )


def _check_kind(config: dict[str, Any], task: str) -> None:
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING_NAMES:
        raise ModelRejected(f"model_type {str(kind)[:80]!r} needs custom code, which this server does not run.")
    if kind not in getattr(modeling_auto, _TABLES[task]):
        raise ModelRejected(f"model_type {kind!r} is not a {task}.")
    quantization = config.get("quantization_config")
    method = quantization.get("quant_method") if isinstance(quantization, dict) else None
    if quantization is not None and method != "bitsandbytes":
        raise ModelRejected(
            f"The weights are quantized with {str(method)[:40]!r}, which this server does not run. "
            "Take the unquantized model, or a .gguf file of it."
        )


def _check_layers(config: dict[str, Any], names: Iterable[str]) -> None:
    """Before anything is made for layers that are not there."""
    layers: dict[str, set[str]] = {}
    for name in names:
        if match := re.match(r"(.*?)(?:^|\.)(\d+)\.", name):
            layers.setdefault(match[1], set()).add(match[2])
    n_found = max(map(len, layers.values()), default=0)
    inner = config.get("text_config")
    for part in (config, inner if isinstance(inner, dict) else {}):
        for key in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
            n_claimed = part.get(key)
            if isinstance(n_claimed, int) and n_claimed > n_found:
                raise ModelRejected(f"config.json has {key} {n_claimed:,}; there are tensors of {n_found:,} layers.")


def _check_no_custom_code(path: Path) -> None:
    for name in _JSON_FILES:
        if not (path / name).exists():
            continue
        for key, value in _walk(read_json(path / name)):
            # An attention "implementation" with a slash in it is code on the hub.
            is_hub_code = "_implementation" in key and "/" in str(value)
            if key == "auto_map" or is_hub_code:
                raise ModelRejected(f"{name} has {key}: the model needs custom code, which this server does not run.")


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """All keys with their values, at any depth; a loop, since a file may nest deeper than Python calls."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield from part.items()
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _read_weights(path: Path) -> dict[str, TensorInfo]:
    # In transformers' order: the single file goes before the index.
    if (path / WEIGHTS).is_file():
        return read_header(path / WEIGHTS)
    if (path / INDEX).is_file():
        return _read_shards(path)
    pickles = sorted(file.name for file in path.iterdir() if file.suffix.lower() in PICKLE_SUFFIXES)
    if pickles:
        raise ModelRejected(f"{path.name} has {pickles[0]}, which can run code; only safetensors/GGUF are accepted.")
    raise ModelRejected(f"{WEIGHTS} is missing from {path.name} (and there is no {INDEX}).")


def _read_shards(path: Path) -> dict[str, TensorInfo]:
    shard_of = read_json(path / INDEX, max_bytes=MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of or not all(isinstance(name, str) for name in shard_of.values()):
        raise ModelRejected(f"{INDEX} has no weight_map from tensor names to file names.")
    tensors: dict[str, TensorInfo] = {}
    for name in sorted(set(shard_of.values())):
        if os.path.basename(name) != name or "\\" in name or "\0" in name or not name.endswith(".safetensors"):
            raise ModelRejected(f"{INDEX} names {name[:80]!r}, which is not a plain .safetensors file name.")
        if not (path / name).is_file():
            raise ModelRejected(f"{name} is missing; {INDEX} lists it. Download it again.")
        tensors.update(read_header(path / name))
    for tensor, name in shard_of.items():
        if tensor not in tensors or tensors[tensor].file.name != name:
            raise ModelRejected(f"{INDEX} lists tensor {tensor[:80]!r} in {name}, which does not have it.")
    return tensors


def _read_entry(name: str, entry: Any, file: Path) -> tuple[int, int, str, TensorInfo]:
    """(first byte, end, name, tensor). Raises: ValueError, KeyError or TypeError on anything odd."""
    shape, (begin, end) = entry["shape"], entry["data_offsets"]
    if not all(type(number) is int and 0 <= number < 2**48 for number in (*shape, begin, end)) or len(shape) > 16:
        raise ValueError(name)
    if (end - begin) * 8 != math.prod(shape) * _BITS[entry["dtype"]]:
        raise ValueError(name)
    return begin, end, name, TensorInfo(tuple(shape), entry["dtype"], end - begin, file)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _incomplete(file: Path, have: int, need: int, *, at_least: bool = False) -> ModelRejected:
    least = "at least " if at_least else ""
    return ModelRejected(f"{file.name} is incomplete (have {have:,} of {least}{need:,} bytes). Download it again.")


def _not_safetensors(file: Path, n_header: int) -> ModelRejected:
    refuse_pickle(file)
    with file.open("rb") as stream:
        is_pointer = stream.read(20).startswith(b"version https://git")
    if is_pointer:
        return ModelRejected(f"{file.name} is a Git LFS pointer, not the weights. Run `git lfs pull` in its folder.")
    too_long = f"a header of {n_header:,} bytes; {MAX_HEADER_BYTES:,} are the limit"
    return _invalid(file, too_long if n_header > MAX_HEADER_BYTES else "no readable header")


def _invalid(file: Path, why: str) -> ModelRejected:
    return ModelRejected(f"{file.name} is not a valid safetensors file ({why}). Download it again.")
