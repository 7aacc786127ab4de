"""Scaled dot-product attention where heads share keys, the way that is fastest for the shape at hand.

Query (rows, heads, new, size), key and value (rows, key heads, length, size), mask (rows, 1, new, length) of bool, or
None where all keys are seen; each new token sees one key at least. What comes out has the shape and dtype of the query.
"""

import torch
from torch import Tensor
from torch.nn import functional

NEAR = 64  # keys up to which torch's kernel on the CPU is slower than plain products, which need more memory


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """The heads that share a key head take the place of query positions: keys are read once, not repeated."""
    rows, heads, n_new, size = query.shape
    n_keys = key.shape[1]
    if mask is not None and n_new > 1:
        if query.device.type == "cpu" and key.shape[2] <= NEAR:
            return _plain(query, key, value, mask, scale)
        mask = mask.repeat(1, 1, heads // n_keys, 1)
    packed = query.reshape(rows, n_keys, -1, size)
    return functional.scaled_dot_product_attention(packed, key, value, attn_mask=mask, scale=scale).view(query.shape)


def attend_causally(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    """Each token sees itself and all before it, and there are no other keys: half of the products are left out."""
    group = query.shape[1] // key.shape[1]
    keys, values = (each.repeat_interleave(group, dim=1) for each in (key, value))
    return functional.scaled_dot_product_attention(query, keys, values, is_causal=True, scale=scale)


def _plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float | None) -> Tensor:
    """In float32."""
    rows, heads, n_new, size = query.shape
    n_keys = key.shape[1]
    packed = (query.float() * (size**-0.5 if scale is None else scale)).reshape(rows, n_keys, -1, size)
    scores = (packed @ key.float().transpose(2, 3)).view(rows, n_keys, heads // n_keys, n_new, -1)
    weights = scores.masked_fill_(~mask[:, :, None], -torch.inf).softmax(-1).flatten(2, 3)
    return (weights @ value.float()).view(query.shape).to(query.dtype)
