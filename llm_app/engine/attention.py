"""Scaled dot-product attention where heads share keys, the way that is fastest for the shape at hand.

Query (rows, heads, new, size), key and value (rows, key heads, length, size), mask (rows, 1, new, length) of bool, or
None where all keys are seen; each new token sees one key at least. What comes out has the shape and dtype of the query,
but for the size of values.
"""

import torch
from torch import Tensor
from torch.nn import functional

NEAR = 64  # keys up to which torch's kernel on the CPU is slower than plain products, which need more memory
MOST_PAIRS = 1 << 24  # of a token and a key for which a mask may be repeated; above, keys take less memory
MANY_ROWS = 24  # of one new token each, from which on it is slower, too: measured 0.8 of its time at 32, more at 8


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """The heads that share a key head take the place of query positions: keys are read once, not repeated."""
    rows, heads, n_new, size = query.shape
    n_keys, shape = key.shape[1], (*query.shape[:3], value.shape[3])
    if mask is not None and n_new > 1:
        if query.device.type == "cpu" and key.shape[2] <= NEAR:
            return _plain(query, key, value, mask, scale)
        if mask.numel() * (heads // n_keys) > MOST_PAIRS:
            key, value = (each.repeat_interleave(heads // n_keys, dim=1) for each in (key, value))
            return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
        mask = mask.repeat(1, 1, heads // n_keys, 1)
    packed = query.reshape(rows, n_keys, -1, size)
    if mask is not None and n_new == 1 and takes_many(rows, query.device):
        out = attend_many(packed, key, value, bias_of(mask, n_keys), size**-0.5 if scale is None else scale)
        return out.view(shape)
    # In another memory order than on the CPU where a GPU computes it.
    return functional.scaled_dot_product_attention(packed, key, value, attn_mask=mask, scale=scale).reshape(shape)


def attend_causally(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    """Each token sees itself and all before it, and there are no other keys: half of the products are left out."""
    group = query.shape[1] // key.shape[1]
    keys, values = (each.repeat_interleave(group, dim=1) for each in (key, value))
    return functional.scaled_dot_product_attention(query, keys, values, is_causal=True, scale=scale)


def takes_many(n_rows: int, device: torch.device) -> bool:
    """Whether `attend_many` is the faster way for one new token of each of so many rows."""
    return n_rows >= MANY_ROWS and device.type == "cpu"


def bias_of(mask: Tensor, n_keys: int) -> Tensor:
    """What `attend_many` adds to the scores of so many key heads: 0 where a key is seen, -inf elsewhere."""
    bias = torch.zeros(mask.shape, dtype=torch.float32).masked_fill_(~mask, -torch.inf)
    return bias.expand(-1, n_keys, -1, -1).flatten(0, 1)


def attend_many(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scale: float) -> Tensor:
    """One new token of each row: scores in float32, weights in the dtype of the values, as torch's own kernel has them.

    Query and what comes out (rows, key heads, queries of one, size), bias (rows * key heads, 1, length) of float32.
    """
    scores = torch.baddbmm(bias, (query.float() * scale).flatten(0, 1), key.float().flatten(0, 1).transpose(1, 2))
    weights = scores.softmax(-1).to(value.dtype)
    return torch.bmm(weights, value.flatten(0, 1)).view(query.shape[:3] + value.shape[3:])


def _plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float | None) -> Tensor:
    """In float32."""
    rows, heads, n_new, size = query.shape
    n_keys = key.shape[1]
    packed = (query.float() * (size**-0.5 if scale is None else scale)).reshape(rows, n_keys, -1, size)
    scores = (packed @ key.float().transpose(2, 3)).view(rows, n_keys, heads // n_keys, n_new, -1)
    weights = scores.masked_fill_(~mask[:, :, None], -torch.inf).softmax(-1).flatten(2, 3)
    return (weights @ value.float()).view(query.shape[:3] + value.shape[3:]).to(query.dtype)
