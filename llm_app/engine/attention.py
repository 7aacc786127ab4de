"""Scaled dot-product attention where heads share keys, the way that is fastest for the shape at hand.

Query (rows, heads, new, size), key and value (rows, key heads, length, size). The new tokens stand behind all other
keys, and none sees what stands behind it; each sees one key at least. What comes out has the shape and dtype of the
query, but for the size of values.
"""

import torch
from torch import Tensor
from torch.nn import functional

from llm_app.engine.packed import can_prepack

NEAR = 64  # keys up to which torch's kernel on the CPU is slower than plain products, which need more memory
MOST_PAIRS = 1 << 24  # of a token and a key whose scores, or mask, are held at once where it can be helped
# Where torch's kernel is slower than `attend_many` for one new token of each row: from so many keys of all rows on, up
# to so many numbers in the keys, which that one copies. Measured with 2 to 9 key heads of 64 and 128, 1 to 32 rows.
MANY_KEYS, MANY_NUMBERS = 1300, 3 << 20
FEW_NEW = 8  # new tokens of a row up to which torch's kernel is the faster one behind many keys
BLOCK, SHORT_BLOCK = 128, 64  # new tokens whose scores are held at once; the shorter up to twice the longer
# Scores that bfloat16 still holds well enough to weigh keys by: the embedded model's reach 93, and its perplexity and
# its distance from float32 are the same with both ways (4,096 tokens). Biases can make them thousands.
MOST_SCORE = 256.0


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None, *, is_causal: bool = False
) -> Tensor:
    """`mask`: which keys are seen, (rows, 1, new, length) of bool; None: all, with `is_causal` those up to the token.

    The heads that share a key head take the place of query positions: keys are read once, not repeated.
    """
    rows, heads, n_new, size = query.shape
    n_keys, length, shape = key.shape[1], key.shape[2], (*query.shape[:3], value.shape[3])
    scale = size**-0.5 if scale is None else scale
    if n_new > 1 and (is_causal or mask is not None):
        if n_new > FEW_NEW and length > NEAR and _takes_blocks(query, key, scale):
            return _in_blocks(query, key, value, mask, scale)
        if is_causal and length == n_new > NEAR:
            keys, values = (each.repeat_interleave(heads // n_keys, dim=1) for each in (key, value))
            return functional.scaled_dot_product_attention(query, keys, values, is_causal=True, scale=scale)
        if mask is None:
            mask = query.new_ones(1, 1, n_new, length, dtype=torch.bool).tril(length - n_new)
        if query.device.type == "cpu" and length <= NEAR:
            return _plain(query, key, value, mask, scale)
        if mask.numel() * (heads // n_keys) > MOST_PAIRS:
            key, value = (each.repeat_interleave(heads // n_keys, dim=1) for each in (key, value))
            return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
        mask = mask.repeat(1, 1, heads // n_keys, 1)
    packed = query.reshape(rows, n_keys, -1, size)
    if n_new == 1 and takes_many(key):
        bias = None if mask is None else bias_of(mask, n_keys)
        return attend_many(packed, key, value, bias, scale).view(shape)
    # In another memory order than on the CPU where a GPU computes it.
    return functional.scaled_dot_product_attention(packed, key, value, attn_mask=mask, scale=scale).reshape(shape)


def takes_many(key: Tensor) -> bool:
    """Whether `attend_many` is the faster way for one new token of each row behind these keys."""
    is_many = key.shape[0] * key.shape[2] >= MANY_KEYS and key.numel() <= MANY_NUMBERS
    return is_many and key.device.type == "cpu"


def bias_of(mask: Tensor, n_keys: int) -> Tensor:
    """What `attend_many` adds to the scores of so many key heads: 0 where a key is seen, -inf elsewhere."""
    bias = torch.zeros(mask.shape, dtype=torch.float32).masked_fill_(~mask, -torch.inf)
    return bias.expand(-1, n_keys, -1, -1).flatten(0, 1)


def attend_many(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """One new token of each row: scores in float32, weights in the dtype of the values, as torch's own kernel has them.

    Query and what comes out (rows, key heads, queries of one, size), bias (rows * key heads, 1, length) of float32, or
    None where all keys are seen.
    """
    queries, keys = (query.float() * scale).flatten(0, 1), key.float().flatten(0, 1).transpose(1, 2)
    scores = torch.bmm(queries, keys) if bias is None else torch.baddbmm(bias, queries, keys)
    weights = scores.softmax(-1).to(value.dtype)
    return torch.bmm(weights, value.flatten(0, 1)).view(query.shape[:3] + value.shape[3:])


def _plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """In float32."""
    rows, heads, n_new, size = query.shape
    n_keys = key.shape[1]
    packed = (query.float() * scale).reshape(rows, n_keys, -1, size)
    scores = (packed @ key.float().transpose(2, 3)).view(rows, n_keys, heads // n_keys, n_new, -1)
    weights = scores.masked_fill_(~mask[:, :, None], -torch.inf).softmax(-1).flatten(2, 3)
    return (weights @ value.float()).view(query.shape[:3] + value.shape[3:]).to(query.dtype)


def _takes_blocks(query: Tensor, key: Tensor, scale: float) -> bool:
    """Whether `_in_blocks` is faster here than torch's kernel, which goes through no oneDNN, and precise enough.

    Keys that nobody sees count too: what pads a row, or stands behind it in the store.
    """
    if query.dtype != torch.bfloat16 or query.device.type != "cpu" or not can_prepack():
        return False
    lengths = [float((each * each).sum(-1).amax()) ** 0.5 for each in (query, key)]
    return lengths[0] * lengths[1] * scale <= MOST_SCORE


def _in_blocks(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Some new tokens after others, each block with the keys up to its end, in products of bfloat16.

    Weights come from scores in bfloat16, as in the plain attention of transformers.
    """
    rows, heads, n_new, size = query.shape
    n_keys, before = key.shape[1], key.shape[2] - n_new
    length = min(n_new, BLOCK if n_new > 2 * BLOCK else SHORT_BLOCK, max(1, MOST_PAIRS // (heads * key.shape[2])))
    n_at_once = max(1, MOST_PAIRS // (heads * length * key.shape[2]))
    if rows > n_at_once:
        masks = None if mask is None else mask.expand(rows, -1, -1, -1)
        some = [slice(first, first + n_at_once) for first in range(0, rows, n_at_once)]
        parts = [_in_blocks(query[i], key[i], value[i], None if masks is None else masks[i], scale) for i in some]
        return torch.cat(parts)
    packed = (query * scale).unflatten(1, (n_keys, -1))
    keys, values = (each.reshape(-1, *each.shape[2:]) for each in (key.transpose(2, 3), value))
    behind = torch.ones(length, length, dtype=torch.bool).triu(1)  # of a block's tokens, which each does not see
    out = query.new_empty(rows, n_new, heads, value.shape[3])
    for start in range(0, n_new, length):
        end = min(start + length, n_new)
        seen = before + end
        part = packed[:, :, :, start:end].reshape(rows * n_keys, -1, size)
        scores = torch.bmm(part, keys[..., :seen]).view(rows, heads, end - start, seen)
        if mask is None:
            scores[..., before + start :].masked_fill_(behind[: end - start, : end - start], -torch.inf)
        else:
            hidden = ~mask[:, :, start:end, :seen]
            scores += torch.zeros(hidden.shape, dtype=scores.dtype).masked_fill_(hidden, -torch.inf)
        weights = scores.softmax(-1).view(rows * n_keys, -1, seen)
        out[:, start:end] = torch.bmm(weights, values[:, :seen]).view(rows, heads, end - start, -1).transpose(1, 2)
    return out.transpose(1, 2)
