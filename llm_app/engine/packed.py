"""Linear layers that keep their weights packed: GGUF blocks of 4 and 8 bits, and oneDNN's own layout.

They look like torch.nn.Linear: `weight` gives the dense matrix, made anew at each reading.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from torch import Tensor, nn

from llm_app.engine.compiled import panels, team
from llm_app.engine.compiled.products import GROUP
from llm_app.engine.compiled.tiles import Tiles
from llm_app.engine.compiled.vectors import LANES
from llm_app.engine.memory import total_bytes
from llm_app.errors import ModelRejected

# Layout for this many rows at a time; measured best or equal from 1 to 512 rows.
ROWS_HINT = 32
COPY_SHARE = 1 / 16  # of all memory, for dense copies of packed weights
LEAST_ROWS = 3  # at once, from which on oneDNN's products are sooner done with what follows them
# From which on a dense product is sooner done than one that unpacks its blocks as it goes.
WIDE_ROWS = LEAST_ROWS if team.IS_ALONE else 33
_Q4_0, _Q4_1, _Q4_K, _Q8_0 = (GGMLQuantizationType[name] for name in ("Q4_0", "Q4_1", "Q4_K", "Q8_0"))
PACKABLE = (_Q4_0, _Q4_1, _Q4_K, _Q8_0)

# Whole numbers (n_out, groups, 32), then scales and offsets (n_out, groups) or none: the weight is scale * q + offset
Blocks = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def can_pack(shape: tuple[int, ...], kind: GGMLQuantizationType) -> bool:
    """Whether such a matrix is multiplied with without unpacking it (CPU only)."""
    return kind in PACKABLE and len(shape) == 2 and shape[0] % LANES == 0


def keeps_copies(n_weights: int) -> bool:
    """Whether so many packed weights are held a second time, dense, which makes passes of many rows faster.

    By the size of the machine's memory, not by what is free of it: a model must not compute otherwise tomorrow. There
    are none where unpacking blocks at each pass is the faster way.
    """
    return can_prepack() and not panels.SUIT and 2 * n_weights <= COPY_SHARE * total_bytes()


def blocks_of(rows: np.ndarray, kind: GGMLQuantizationType) -> Blocks:
    """What blocks `(n_rows, row_bytes)` of a file hold: 0 to 15 with offsets, or -128 to 127 without."""
    header, quants = _split(rows, kind)
    if kind == _Q4_K:
        return _super_blocks(header, quants)
    scale = header[..., 0]
    if kind == _Q8_0:
        return quants.view(np.int8), scale, None
    return np.concatenate([quants & 15, quants >> 4], axis=-1), scale, header[..., 1] if kind == _Q4_1 else -8 * scale


def _super_blocks(header: np.ndarray, rest: np.ndarray) -> Blocks:
    """Q4_K: eight groups with 6-bit scales and minima, which are multiples of the two numbers in the header."""
    codes, quants = rest[..., :12], rest[..., 12:]
    low, high, mixed = codes[..., 0:4], codes[..., 4:8], codes[..., 8:12]
    scales = np.concatenate([low & 63, (mixed & 15) | (low >> 6 << 4)], axis=-1)
    minima = np.concatenate([high & 63, (mixed >> 4) | (high >> 6 << 4)], axis=-1)
    scale = (header[..., :1] * scales).reshape(len(rest), -1)
    minimum = (header[..., 1:] * minima).reshape(len(rest), -1)
    # 32 bytes hold one group in their low bits and the next one in their high bits.
    pairs = quants.reshape(*quants.shape[:-1], 4, GROUP)
    return np.stack([pairs & 15, pairs >> 4], axis=-2).reshape(len(rest), -1, GROUP), scale, -minimum


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
    """A linear layer on blocks: 5 bits a weight for Q4 blocks, 8.5 for Q8, or 16; activations in bfloat16.

    With `is_wide` it keeps a dense copy beside them, in oneDNN's order and 16 bits a weight, for passes of many rows.
    """

    def __init__(
        self, rows: np.ndarray, kind: GGMLQuantizationType, bias: nn.Parameter | None = None, *, is_wide: bool = False
    ) -> None:
        nn.Module.__init__(self)
        blocks = blocks_of(rows, kind)
        # Plain attributes, of which a product reads several: those of a module take a microsecond each.
        self.tiles = Tiles.of(*blocks)
        self.out_features, self.in_features = self.tiles.shape
        self.copy = prepacked(_dense(*blocks)) if is_wide else None
        self.register_parameter("bias", bias)

    @classmethod
    def of_dense(cls, weight: Tensor, bias: nn.Parameter | None = None) -> "PackedLinear":
        """Of a matrix (out, in) on the CPU, which stays in bfloat16."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made.tiles, made.copy = Tiles.of_dense(weight), None
        made.out_features, made.in_features = made.tiles.shape
        made.register_parameter("bias", bias)
        return made

    @classmethod
    def joined(cls, parts: Sequence[nn.Module], *, with_copies: bool = True) -> "PackedLinear | None":
        """One layer whose output is theirs side by side, or None where they cannot stand in one matrix.

        Blocks and dense copies exist once: from now on the blocks of the parts are views of the whole's, and so many
        dense copies are the whole's, `with_copies`, or stay theirs.
        """
        layers = [part for part in parts if isinstance(part, PackedLinear)]
        if len(layers) < len(parts) or any(layer.tiles.n_bits != layers[0].tiles.n_bits for layer in layers):
            return None
        if len(layers) == 1:
            return layers[0]
        whole = cls.__new__(cls)
        nn.Module.__init__(whole)
        whole.register_parameter("bias", _joined_biases(layers))
        whole.in_features, whole.copy = layers[0].in_features, None
        whole.tiles = Tiles.joined([layer.tiles for layer in layers])
        whole.out_features = whole.tiles.shape[0]
        for layer, view in zip(layers, whole.tiles.split([layer.out_features for layer in layers]), strict=True):
            layer.tiles = view
        copies = [layer.copy for layer in layers if layer.copy is not None]
        if with_copies and len(copies) == len(layers):
            whole.copy = prepacked(torch.cat([copy.to_dense() for copy in copies]))
            for layer in layers:
                layer.copy = None
        return whole

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The dense matrix in bfloat16, made anew: slow, for adapters and tests."""
        return self.tiles.dense().to(torch.bfloat16)

    def forward(self, input: Tensor) -> Tensor:
        """As nn.Linear; computes in bfloat16 whatever comes in."""
        flat = input if input.dim() == 2 else input.reshape(-1, self.in_features)
        output = self.rows(flat.to(torch.bfloat16))
        if self.bias is not None:
            output = output + self.bias
        return output.view(*input.shape[:-1], self.out_features).to(input.dtype)

    def rows(self, flat: Tensor) -> Tensor:
        """The product alone: bfloat16 (rows, in) to bfloat16 (rows, out), without the bias."""
        if self.copy is not None and len(flat) >= WIDE_ROWS:
            return prepacked_product(flat, self.copy)
        if self.tiles.suits_many and len(flat) >= panels.LEAST:
            return self.tiles.times_many(flat)
        return (self.tiles @ flat).to(torch.bfloat16)


def _joined_biases(layers: Sequence[nn.Linear]) -> nn.Parameter | None:
    biases = [layer._parameters["bias"] for layer in layers]
    if all(bias is None for bias in biases):
        return None
    sizes = [layer.out_features for layer in layers]
    filled = [torch.zeros(size) if bias is None else bias for size, bias in zip(sizes, biases, strict=True)]
    return nn.Parameter(torch.cat(filled), requires_grad=False)


@contextmanager
def only_blocks(*models: nn.Module) -> Iterator[None]:
    """Passes of many rows go through the blocks too, as long as this lasts."""
    modules = [module for model in models for module in model.modules()]
    copies = {module: module.copy for module in modules if isinstance(module, PackedLinear)}
    for module in copies:
        module.copy = None
    try:
        yield
    finally:
        for module, copy in copies.items():
            module.copy = copy


def _dense(quants: np.ndarray, scales: np.ndarray, offsets: np.ndarray | None) -> Tensor:
    """The matrix (n_out, n_in) in bfloat16."""
    factors, values = torch.from_numpy(scales)[..., None], torch.from_numpy(quants.astype(np.float32))
    numbers = (
        values * factors if offsets is None else torch.addcmul(torch.from_numpy(offsets)[..., None], values, factors)
    )
    return numbers.view(len(quants), -1).to(torch.bfloat16)


def prepacked(weight: Tensor) -> Tensor:
    """A matrix (out, in) on the CPU, bfloat16 or float32, in the order in which oneDNN reads weights."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS_HINT)
    return packed


def prepacked_product(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., in) to (..., out)."""
    output: Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return output


def gated_product(input: Tensor, gate: nn.Module, up: nn.Module) -> Tensor | None:
    """silu(gate) * up of (rows, in), each as it is made, or None where these layers do not go through oneDNN."""
    if not (isinstance(gate, WIDE) and isinstance(up, WIDE)):
        return None
    if len(input) < (WIDE_ROWS if isinstance(gate, PackedLinear) else LEAST_ROWS):
        return None
    first, second = gate.copy, up.copy
    if first is None or second is None:
        return None
    made = torch.ops.mkldnn._linear_pointwise(input, first, gate.bias, "swish", [], "")
    output: Tensor = torch.ops.mkldnn._linear_pointwise.binary(input, made, second, up.bias, "mul")
    return output


class PrepackedLinear(nn.Linear):
    """A linear layer on a prepacked matrix: faster than nn.Linear."""

    def __init__(self, weight: Tensor, bias: nn.Parameter | None = None) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self._dtype = weight.dtype
        # Plain attribute: opaque tensors survive neither .to() nor state_dict().
        self.copy = prepacked(weight)
        self.n_packed_bytes = self.copy.numel() * weight.element_size()
        self.register_parameter("bias", bias)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The dense matrix, put back in order: for adapters and tests."""
        return self.copy.to_dense()

    def forward(self, input: Tensor) -> Tensor:
        """As nn.Linear."""
        return prepacked_product(input.to(self._dtype), self.copy, self.bias)


WIDE = (PackedLinear, PrepackedLinear)  # what has, or may have, a matrix in oneDNN's order: its `copy`


@cache
def can_prepack(dtype: torch.dtype = torch.bfloat16) -> bool:
    """Whether the CPU and this build of torch multiply this dtype through oneDNN."""
    try:
        has_kernel = hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        is_fast = dtype == torch.float32 or dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return has_kernel and bool(is_fast)
    except (AttributeError, RuntimeError):
        return False


def copy_bytes(*models: nn.Module) -> int:
    """Memory of the dense copies beside packed layers."""
    modules = [module for model in models for module in model.modules()]
    return sum(2 * m.copy.numel() for m in modules if isinstance(m, PackedLinear) and m.copy is not None)


def weight_bytes(*models: nn.Module) -> int:
    """Memory that the weights hold, shared ones once."""
    modules = [module for model in models for module in model.modules()]
    tensors = {t.data_ptr(): t.nbytes for model in models for t in (*model.parameters(), *model.buffers())}
    # Blocks of joined layers are views of one tensor.
    storages = [module.tiles.data.untyped_storage() for module in modules if isinstance(module, PackedLinear)]
    stored = {storage.data_ptr(): storage.nbytes() for storage in storages}
    ordered = sum(module.n_packed_bytes for module in modules if isinstance(module, PrepackedLinear))
    return sum(tensors.values()) + sum(stored.values()) + ordered + copy_bytes(*models)
