"""How llama.cpp arranges a tensor otherwise than transformers does: both ways, for reading and for writing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from transformers import PretrainedConfig

Change = Callable[[np.ndarray], np.ndarray]

_TRANSPOSED = ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")  # Conv1D of gpt2


@dataclass(frozen=True)
class Arrangement:
    """`read` makes transformers' tensor of GGUF's, `write` GGUF's of transformers'."""

    read: Change
    write: Change

    def written_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What `write` makes of a tensor of this shape."""
        return shape[::-1] if self.write is np.transpose else shape


def arrangement(architecture: str, name: str, config: PretrainedConfig) -> Arrangement:
    """That of the tensor which GGUF calls `name`."""
    if architecture == "llama" and (".attn_q." in name or ".attn_k." in name):
        n_heads = config.num_attention_heads if ".attn_q." in name else config.num_key_value_heads
        return Arrangement(partial(_halves_from_pairs, n_heads=n_heads), partial(_pairs_from_halves, n_heads=n_heads))
    if architecture.startswith("gemma") and name.endswith("norm.weight"):
        return Arrangement(lambda values: values - 1, lambda values: values + 1)  # stored as 1 + w
    if architecture == "gpt2" and name.endswith(_TRANSPOSED) and name != "output.weight":
        return Arrangement(np.transpose, np.transpose)
    return AS_IT_IS


def _unchanged(values: np.ndarray) -> np.ndarray:
    return values


AS_IT_IS = Arrangement(_unchanged, _unchanged)


def _halves_from_pairs(rows: np.ndarray, *, n_heads: int) -> np.ndarray:
    """llama.cpp rotates neighbouring rows of a head, transformers a row and the one half a head later."""
    return rows.reshape(n_heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def _pairs_from_halves(rows: np.ndarray, *, n_heads: int) -> np.ndarray:
    return rows.reshape(n_heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
