"""Linear and embedding layers that keep their weights packed: GGUF blocks of 4 and 8 bits, and oneDNN's own layout.

All of them look like their torch.nn base class: `weight` gives the dense matrix, made anew at each reading.
"""

import os
import threading
import weakref
from pathlib import Path

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from torch import Tensor, nn

from llm_app.errors import GenerationFailed, ModelRejected

# Layout for this many rows at a time; measured best or equal from 1 to 512 rows.
ROWS_HINT = 32
GROUP = 32  # weights that share a scale, in all kinds below
_Q4_0, _Q4_1, _Q4_K, _Q8_0 = (GGMLQuantizationType[name] for name in ("Q4_0", "Q4_1", "Q4_K", "Q8_0"))
PACKABLE = (_Q4_0, _Q4_1, _Q4_K, _Q8_0)

# (quantised values 0..15, scales, value at 8): the weight is scale * (q - 8) + middle
Plane = tuple[np.ndarray, np.ndarray, np.ndarray]


def can_pack(shape: tuple[int, ...], kind: GGMLQuantizationType) -> bool:
    """Whether this build of torch multiplies with such a matrix without unpacking it (CPU only)."""
    has_kernel = hasattr(torch.ops.aten, "_weight_int4pack_mm_for_cpu")
    return has_kernel and kind in PACKABLE and len(shape) == 2 and shape[0] % 16 == 0


def planes_of(rows: np.ndarray, kind: GGMLQuantizationType) -> list[Plane]:
    """Blocks `(n_rows, row_bytes)` as matrices of 4-bit values whose products add up to that of the whole.

    Eight bits are two planes: q + 128 = 16 * high + low, so q = 16 * (high - 8) + (low - 8) + 8.
    """
    header, quants = _split(rows, kind)
    if kind == _Q4_K:
        return [_super_block_plane(header, quants)]
    scale = header[..., 0]
    if kind == _Q8_0:
        shifted = quants ^ 0x80  # two's complement plus 128
        return [(shifted >> 4, 16 * scale, np.zeros_like(scale)), (shifted & 15, scale, 8 * scale)]
    middle = header[..., 1] + 8 * scale if kind == _Q4_1 else np.zeros_like(scale)
    return [(np.concatenate([quants & 15, quants >> 4], axis=-1), scale, middle)]


def _super_block_plane(header: np.ndarray, rest: np.ndarray) -> Plane:
    """Q4_K: eight groups with 6-bit scales and minima, which are multiples of the two numbers in the header."""
    codes, quants = rest[..., :12], rest[..., 12:]
    low, high, mixed = codes[..., 0:4], codes[..., 4:8], codes[..., 8:12]
    scales = np.concatenate([low & 63, (mixed & 15) | (low >> 6 << 4)], axis=-1)
    minima = np.concatenate([high & 63, (mixed >> 4) | (high >> 6 << 4)], axis=-1)
    scale = (header[..., :1] * scales).reshape(len(rest), -1)
    minimum = (header[..., 1:] * minima).reshape(len(rest), -1)
    # 32 bytes hold one group in their low bits and the next one in their high bits.
    pairs = quants.reshape(*quants.shape[:-1], 4, GROUP)
    return np.stack([pairs & 15, pairs >> 4], axis=-2), scale, 8 * scale - minimum


def check_blocks(name: str, rows: np.ndarray, kind: GGMLQuantizationType) -> None:
    """Raises: ModelRejected naming the tensor if a scale is NaN or infinite."""
    if not np.isfinite(_split(rows, kind)[0]).all():
        raise ModelRejected(f"Tensor {name} has non-finite values (NaN or infinity). Download the model again.")


def _split(rows: np.ndarray, kind: GGMLQuantizationType) -> tuple[np.ndarray, np.ndarray]:
    """The float16 numbers at the head of each block, as float32, and the quantised bytes behind them."""
    n_header = 4 if kind in (_Q4_1, _Q4_K) else 2
    blocks = rows.reshape(len(rows), -1, GGML_QUANT_SIZES[kind][1])
    header = np.ascontiguousarray(blocks[..., :n_header]).view(np.float16).astype(np.float32)
    return header, blocks[..., n_header:]


class PackedLinear(nn.Linear):
    """A linear layer on 4-bit planes: about 5 bits a weight for Q4 blocks, 10 for Q8, activations in bfloat16."""

    def __init__(self, rows: np.ndarray, kind: GGMLQuantizationType, bias: nn.Parameter | None = None) -> None:
        nn.Module.__init__(self)
        planes = planes_of(rows, kind)
        self.out_features, self.in_features = len(rows), planes[0][1].shape[1] * GROUP
        self.n_planes = len(planes)
        for i, (quants, scale, middle) in enumerate(planes):
            values = torch.from_numpy(quants.reshape(self.out_features, self.in_features).astype(np.int32))
            scales = torch.from_numpy(np.stack([scale, middle], axis=-1)).transpose(0, 1)
            self.register_buffer(f"quants_{i}", torch.ops.aten._convert_weight_to_int4pack_for_cpu(values, 1))
            self.register_buffer(f"scales_{i}", scales.contiguous().to(torch.bfloat16))
        self.register_parameter("bias", bias)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The dense matrix in bfloat16, computed by multiplying with the identity: slow, for adapters and tests."""
        identity = torch.eye(self.in_features, dtype=torch.bfloat16)
        return self._product(identity).T.contiguous()

    def forward(self, input: Tensor) -> Tensor:
        """As nn.Linear; computes in bfloat16 whatever comes in."""
        flat = input.reshape(-1, self.in_features).to(torch.bfloat16)
        output = self._product(flat)
        if self.bias is not None:
            output = output + self.bias
        return output.view(*input.shape[:-1], self.out_features).to(input.dtype)

    def _product(self, flat: Tensor) -> Tensor:
        parts = [
            torch.ops.aten._weight_int4pack_mm_for_cpu(
                flat, getattr(self, f"quants_{i}"), GROUP, getattr(self, f"scales_{i}")
            )
            for i in range(self.n_planes)
        ]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


class BlockEmbedding(nn.Embedding):
    """An embedding whose Q8_0 table stays in the model file; a lookup reads only the rows it needs.

    Read through the file, not a memory map: a file cut short while it is mapped would kill the process.
    """

    def __init__(self, path: Path, start: int, shape: tuple[int, int], dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.num_embeddings, self.embedding_dim = shape
        self.padding_idx = self.max_norm = None
        self.norm_type, self.scale_grad_by_freq, self.sparse = 2.0, False, False
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        self._start, self._row_bytes = start, shape[1] // GROUP * (GROUP + 2)
        self._dtype, self._stamp, self._lock = dtype, self._file_stamp(), threading.Lock()

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The dense table, read from the file: for adapters and tests."""
        return self.forward(torch.arange(self.num_embeddings))

    def forward(self, input: Tensor) -> Tensor:
        """Rows of the table, in the model's dtype."""
        ids, places = input.reshape(-1).unique(return_inverse=True)
        blocks = self._read(ids.tolist()).reshape(len(ids), -1, GROUP + 2)
        scale = np.ascontiguousarray(blocks[..., :2]).view(np.float16).astype(np.float32)
        rows = torch.from_numpy((blocks[..., 2:].view(np.int8) * scale).reshape(len(ids), self.embedding_dim))
        return rows.to(self._dtype)[places].view(*input.shape, self.embedding_dim)

    def _read(self, ids: list[int]) -> np.ndarray:
        with self._lock:
            if self._file_stamp() != self._stamp:
                raise GenerationFailed("The model file was changed while the model was loaded. Load it again.")
            parts = []
            for row in ids:
                self._file.seek(self._start + row * self._row_bytes)
                parts.append(self._file.read(self._row_bytes))
        return np.frombuffer(b"".join(parts), np.uint8)

    def _file_stamp(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns


class PrepackedLinear(nn.Linear):
    """A linear layer (CPU; bfloat16, float32) in the order in which oneDNN reads weights: faster than nn.Linear."""

    def __init__(self, weight: Tensor, bias: nn.Parameter | None = None) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self._dtype = weight.dtype
        # Plain attribute: opaque tensors survive neither .to() nor state_dict().
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS_HINT)
        self.n_packed_bytes = self._packed.numel() * weight.element_size()
        self.register_parameter("bias", bias)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The dense matrix, put back in order: for adapters and tests."""
        return self._packed.to_dense()

    def forward(self, input: Tensor) -> Tensor:
        """As nn.Linear."""
        flat = input.to(self._dtype)
        return torch.ops.mkldnn._linear_pointwise(flat, self._packed, self.bias, "none", [], "")


def can_prepack(dtype: torch.dtype = torch.bfloat16) -> bool:
    """Whether the CPU and this build of torch multiply this dtype through oneDNN."""
    try:
        has_kernel = hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        is_fast = dtype == torch.float32 or dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return has_kernel and bool(is_fast)
    except (AttributeError, RuntimeError):
        return False


def weight_bytes(model: nn.Module) -> int:
    """Memory that the weights hold, shared ones once."""
    tensors = {t.data_ptr(): t.nbytes for t in (*model.parameters(), *model.buffers())}
    packed = sum(getattr(module, "n_packed_bytes", 0) for module in model.modules())
    return sum(tensors.values()) + packed
