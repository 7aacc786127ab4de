"""Will it fit in memory? Answered from headers alone, before anything is loaded."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from llm_app.config import PRECISIONS, ModelConfig
from llm_app.engine import packed, weights
from llm_app.engine.catalog import ModelEntry
from llm_app.engine.gguf_file import GgufFile
from llm_app.engine.gguf_model import check_architecture
from llm_app.engine.loading import LoadedModel, choose_device, choose_precision
from llm_app.engine.placing import QUANTISED
from llm_app.errors import DoesNotFit
from llm_app.options import Text

# Bytes of one weight of a linear layer. 4 bits with a doubly quantised scale for 64; 8 bits with one for a row.
_LINEAR_BYTES = {"fp32": 4.0, "bf16": 2.0, "int8": 1.01, "nf4": 0.52, "fp4": 0.52}
_PACKED_BYTES = {"Q4_0": 0.625, "Q4_1": 0.625, "Q4_K": 0.625, "Q8_0": 1.0625}
_DENSE_SUGGESTIONS = ("bf16", "int8", "nf4")
# Key/value cache that must fit at the least; more is used as it is needed.
CACHE_TOKENS = 2048
# Activations, the tokenizer and buffers of the kernels; measured 150 MB with the embedded model.
OVERHEAD_BYTES = 200 * 2**20


@dataclass(frozen=True)
class Fit:
    """What a load needs and what there is. `suggestion` is a precision that would fit, if one does."""

    needs_bytes: int
    free_bytes: int
    suggestion: str | None
    suggestion_bytes: int = 0

    @property
    def fits(self) -> bool:
        """Whether the load may go ahead."""
        return self.needs_bytes <= self.free_bytes


@dataclass(frozen=True)
class MemoryUse:
    """One kind of memory: what the loaded model takes of it, and what it could take at most."""

    is_gpu: bool
    model_bytes: int
    limit_bytes: int


@dataclass(frozen=True)
class _Matrix:
    """One tensor, as far as its memory goes. `kind` is the type of the blocks that it can stay in."""

    shape: tuple[int, ...]
    is_linear: bool
    is_table: bool  # embedding or output layer
    is_embedding: bool  # the table of a GGUF file in which tokens are looked up
    kind: str = ""


def estimate(entry: ModelEntry, config: ModelConfig) -> Fit:
    """What this model needs in this precision on this device.

    Raises: ModelRejected if the files are not what they should be, UserError for a device or precision that cannot be.
    """
    device = choose_device(config)
    precision = choose_precision(entry, config, device)
    matrices, cache_bytes, is_tied = _read(entry, min(config.context_length or CACHE_TOKENS, CACHE_TOKENS))
    free = free_bytes(device)
    is_cpu = device.type == "cpu"
    if precision == "gguf" and not is_cpu:
        precision = "bf16"  # blocks stay packed on the CPU only
    has_copy = is_tied and is_cpu and packed.can_prepack()

    def needs(candidate: str) -> int:
        return _weight_bytes(matrices, candidate, is_tied, has_copy) + cache_bytes + OVERHEAD_BYTES

    can_stay_packed = is_cpu and entry.path.suffix == ".gguf"
    options = [*_DENSE_SUGGESTIONS, "gguf"] if can_stay_packed else _DENSE_SUGGESTIONS
    fitting = sorted(((needs(option), option) for option in options if needs(option) <= free), reverse=True)
    needed, smaller = needs(precision), fitting[0] if fitting else None
    if needed <= free or smaller is None:
        return Fit(needed, free, None)
    return Fit(needed, free, smaller[1], smaller[0])


def n_parameters(entry: ModelEntry) -> int:
    """Numbers in all weights of a model.

    Raises: ModelRejected if the files are not what they should be.
    """
    matrices, _, _ = _read(entry, CACHE_TOKENS)
    return sum(prod(matrix.shape) for matrix in matrices)


def precisions(entry: ModelEntry) -> tuple[str, ...]:
    """What can be chosen for these files on this machine."""
    has_bitsandbytes, is_packed = find_spec("bitsandbytes") is not None, entry.path.suffix == ".gguf"
    return tuple(
        name for name in PRECISIONS
        if (name != "gguf" or is_packed) and (name not in QUANTISED or has_bitsandbytes)
    )  # fmt: skip


def devices() -> tuple[str, ...]:
    """What a model can be put on here."""
    return ("auto", "cpu", "cuda") if torch.cuda.is_available() else ("auto", "cpu")


def memory(loaded: LoadedModel | None) -> list[MemoryUse]:
    """The memory of this machine, then that of its GPU where it has one."""
    kinds = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    taken = {loaded.device.type: loaded.n_bytes} if loaded else {}
    return [
        MemoryUse(kind == "cuda", taken.get(kind, 0), taken.get(kind, 0) + free_bytes(torch.device(kind)))
        for kind in kinds
    ]


def free_bytes(device: torch.device, *, groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that a model could still have on this device, within the limit of the container."""
    if device.type == "cuda":
        # torch keeps what was freed for its next tensors, and gives it back before it gives up.
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + kept
    free = [psutil.virtual_memory().available]
    # The two versions of Linux's control groups.
    for limit, used in (
        ("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no limit
            free.append(max(int((groups / limit).read_text()) - int((groups / used).read_text()), 0))
    return int(min(free))


def require(fit: Fit) -> None:
    """Raises: DoesNotFit with the sentence if it does not fit."""
    if not fit.fits:
        raise DoesNotFit(sentence(fit)[0], param="precision")


def sentence(fit: Fit) -> Text:
    """The outcome in English and Chinese."""
    needs, free = _gigabytes(fit.needs_bytes), _gigabytes(fit.free_bytes)
    english, chinese = f"Needs about {needs}, {free} free", f"约需 {needs}，可用 {free}"
    if fit.suggestion:
        lower = _gigabytes(fit.suggestion_bytes)
        return f"{english}; {fit.suggestion} would need {lower}.", f"{chinese}；改用 {fit.suggestion} 约需 {lower}。"
    if not fit.fits:
        advice = ". Close other programs or choose a smaller model.", "。请关闭其他程序或选择更小的模型。"
        return english + advice[0], chinese + advice[1]
    return f"{english}.", f"{chinese}。"


def _gigabytes(n_bytes: int) -> str:
    return f"{max(n_bytes, 0) / 1e9:.1f} GB"


def _read(entry: ModelEntry, n_tokens: int) -> tuple[list[_Matrix], int, bool]:
    """The tensors, the bytes of a cache for so many tokens, and whether the output layer is the embedding."""
    if entry.path.suffix == ".gguf":
        file = GgufFile(entry.path)
        check_architecture(file)
        matrices = [
            _matrix(info.name, info.shape, info.type.name if packed.can_pack(info.shape, info.type) else "")
            for info in file.tensors.values()
        ]
        return matrices, _gguf_cache_bytes(file, n_tokens), "output.weight" not in file.tensors
    checked = weights.check_folder(entry.path)
    matrices = [_matrix(name, info.shape) for name, info in checked.tensors.items()]
    is_tied = not any("lm_head" in name for name in checked.tensors)
    return matrices, _folder_cache_bytes(checked.config, n_tokens), is_tied


def _matrix(name: str, shape: tuple[int, ...], kind: str = "") -> _Matrix:
    is_table = any(part in name for part in ("embd", "embed", "wte", "wpe", "lm_head")) or name == "output.weight"
    return _Matrix(shape, len(shape) >= 2 and not is_table, is_table, name == "token_embd.weight", kind)


def _weight_bytes(matrices: Sequence[_Matrix], precision: str, is_tied: bool, has_copy: bool) -> int:
    """`has_copy`: in bf16 the tied output layer is there a second time, in oneDNN's order.

    In a GGUF file tokens are looked up in blocks of Q8_0 as they are, or else in a dense table; tied, that is also the
    output layer, which is there by itself if it can stay in blocks.
    """
    total = 0.0
    in_blocks = [each for each in matrices if each.kind in _PACKED_BYTES and (is_tied or not each.is_embedding)]
    has_copies = packed.keeps_copies(sum(prod(matrix.shape) for matrix in in_blocks))
    for matrix in matrices:
        size = prod(matrix.shape)
        dense = size * (4 if precision == "fp32" else 2)
        if precision == "gguf" and len(matrix.shape) == 2:
            if matrix.is_embedding:
                total += size * _PACKED_BYTES["Q8_0"] if matrix.kind == "Q8_0" else dense
            if matrix in in_blocks:
                total += size * _PACKED_BYTES[matrix.kind] + (dense if has_copies else 0)
            elif not matrix.is_embedding:
                total += dense
        elif matrix.is_linear and precision in _LINEAR_BYTES:
            total += size * _LINEAR_BYTES[precision]
        else:
            total += dense
            total += dense if matrix.is_table and has_copy and precision == "bf16" else 0
    return int(total)


def _cache_bytes(n_layers: Any, n_heads: Any, head_size: Any, n_tokens: int) -> int:
    try:
        return 2 * int(n_layers) * int(n_heads) * int(head_size) * 2 * n_tokens
    except (TypeError, ValueError):
        return 0  # an architecture without this kind of cache


def _folder_cache_bytes(config: dict[str, Any], n_tokens: int) -> int:
    config = config.get("text_config") or config
    n_heads = config.get("num_attention_heads") or config.get("n_head")
    hidden = config.get("hidden_size") or config.get("n_embd")
    head_size = config.get("head_dim")
    if head_size is None and isinstance(hidden, int) and isinstance(n_heads, int) and n_heads:
        head_size = hidden // n_heads
    n_layers = config.get("num_hidden_layers") or config.get("n_layer")
    return _cache_bytes(
        n_layers, config.get("num_key_value_heads") or n_heads, head_size,
        _shorter(config.get("max_position_embeddings") or config.get("n_positions"), n_tokens),
    )


def _gguf_cache_bytes(file: GgufFile, n_tokens: int) -> int:
    def key(name: str) -> Any:
        value: Any = file.metadata.get(f"{file.architecture}.{name}")
        return value.max() if isinstance(value, np.ndarray) else value

    n_heads, hidden = key("attention.head_count"), key("embedding_length")
    head_size = key("attention.key_length") or (hidden // n_heads if hidden and n_heads else None)
    return _cache_bytes(
        key("block_count"), key("attention.head_count_kv") or n_heads, head_size,
        _shorter(key("context_length"), n_tokens),
    )


def _shorter(n_context: Any, n_tokens: int) -> int:
    return min(int(n_context), n_tokens) if isinstance(n_context, int | np.integer) else n_tokens
