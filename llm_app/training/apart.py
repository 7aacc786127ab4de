"""Attention of a training pass, in which examples lie side by side in one row: each sees itself alone."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from llm_app.engine.forward import attend

ATTENTION_APART = "proofbench_apart"
# Up to here all scores of an example fit in the cache or nearly so, and three products beat torch's blocks on a CPU.
MAX_WHOLE = 2048


@dataclass(frozen=True)
class Apart:
    """How long the examples of a row are."""

    lengths: tuple[int, ...]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, window: int | None, scale: float | None) -> Tensor:
        """Query (1, heads, n, size), key and value (1, key heads, n, size or the value's); gives (1, n, heads, ...)."""
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        queries, keys, values = (each[0].split(self.lengths, dim=1) for each in (query, key, value))
        parts = zip(queries, keys, values, strict=True)
        return torch.cat([_attended(q, k, v, window, scale).transpose(0, 1) for q, k, v in parts])[None]


def _attended(query: Tensor, key: Tensor, value: Tensor, window: int | None, scale: float) -> Tensor:
    """One example: (heads, n, size), gives (heads, n, size of a value)."""
    n = query.shape[1]
    is_windowed = window is not None and window < n
    if query.device.type == "cpu" and n <= MAX_WHOLE:
        out: Tensor = _WholeAttention.apply(query, key, value, window if is_windowed else n, scale)
        return out
    group = query.shape[0] // key.shape[0]
    key, value = key.repeat_interleave(group, dim=0), value.repeat_interleave(group, dim=0)
    mask = ~_unseen(n, window, query.device) if is_windowed and window is not None else None
    return scaled_dot_product_attention(
        query[None], key[None], value[None], attn_mask=mask, is_causal=mask is None, scale=scale
    )[0]


def _unseen(n: int, window: int, device: torch.device) -> Tensor:
    """What each token (row) does not look at: what comes after it, and what lies `window` or more before it."""
    places = torch.arange(n, device=device)
    distance = places[:, None] - places
    return (distance < 0) | (distance >= window)


class _WholeAttention(torch.autograd.Function):
    """Softmax attention as plain products; the weights are made again going back, since they are the largest part.

    Heads that share a key head are rows of one matrix, so keys and values are not repeated, nor their gradients added.
    """

    @staticmethod
    # Where autocast is on, which does not last going back.
    @custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, window: int, scale: float) -> Tensor:
        rows = query.reshape(key.shape[0], -1, query.shape[-1])  # (key heads, heads a key head * n, size)
        ctx.save_for_backward(rows, key, value)
        ctx.window, ctx.scale, ctx.shape = window, scale, query.shape
        return torch.bmm(_weights(rows, key, window, scale), value).view(*query.shape[:-1], -1)

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, key, value = ctx.saved_tensors
        gradient = gradients[0].reshape(*rows.shape[:-1], value.shape[-1])
        weights = _weights(rows, key, ctx.window, ctx.scale)
        to_value = torch.bmm(weights.transpose(1, 2), gradient)
        to_weights = torch.bmm(gradient, value.transpose(1, 2))
        to_scores = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype).mul_(ctx.scale)
        to_query = torch.bmm(to_scores, key).view(ctx.shape)
        return to_query, torch.bmm(to_scores.transpose(1, 2), rows), to_value, None, None


def _weights(rows: Tensor, key: Tensor, window: int, scale: float) -> Tensor:
    n = key.shape[1]
    unseen = torch.zeros(n, n, dtype=rows.dtype, device=rows.device)
    unseen.masked_fill_(_unseen(n, window, rows.device), -torch.inf)
    # Added in the product itself, for each of the heads that are rows of one matrix.
    unseen = unseen.repeat(rows.shape[1] // n, 1)
    return torch.baddbmm(unseen, rows, key.transpose(1, 2), alpha=scale).softmax(-1)


def attend_apart(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    layout: Any = None, **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention of a training pass; of every other pass, the engine's."""
    if not isinstance(layout, Apart):
        return attend(module, query, key, value, attention_mask, layout, **kwargs)
    return layout.attend(query, key, value, kwargs.get("sliding_window"), kwargs.get("scaling")), None


AttentionInterface.register(ATTENTION_APART, attend_apart)
AttentionMaskInterface.register(ATTENTION_APART, sdpa_mask)
