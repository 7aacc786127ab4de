"""One token of each of some replies through layers in oneDNN's order: what a batch of chats is.

A layer is some forty operations of a few microseconds, and Python takes another few for each. Here they are one
function, which TorchScript's interpreter runs without Python; where torch has no TorchScript, Python runs the same one.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from llm_app.engine import attention
from llm_app.engine.additions import Additions, Layer
from llm_app.engine.attention import attend_many
from llm_app.engine.norms import SHORT_ROWS, rms_norm
from llm_app.engine.packed import LEAST_ROWS, PrepackedLinear
from llm_app.engine.slots import Layout, SlotCache


class _Weights(NamedTuple):
    """What `_step` is told of a layer each time."""

    heads: tuple[int, int, int]  # how many queries and keys, and the size of one
    scale: float
    eps: float
    before_attention: Tensor
    before_gate: Tensor
    of_heads: list[Tensor]  # norms of queries and of keys, or nothing
    first: list[Tensor]  # queries, keys and values
    others: list[Tensor]  # the output, gate, up, down


def _product(x: Tensor, weights: list[Tensor], pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Side by side, with what an adapter adds."""
    out = torch.ops.mkldnn._linear_pointwise(x, weights[0], None, "none", [], "")
    if len(weights) > 1:
        parts = [out]
        for weight in weights[1:]:
            parts.append(torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""))
        out = torch.cat(parts, 1)
    return adapted(out, x, pairs)


def adapted(out: Tensor, x: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The outputs of layers side by side, with what an adapter adds to them all."""
    for a, b in pairs:
        if len(b) > 0:
            out = (out + x.to(a.dtype) @ a.t() @ b).to(out.dtype)
    return out


def _gated(x: Tensor, weights: list[Tensor], pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """silu(gate) * up; as the product makes it where nothing is added first."""
    if len(pairs) > 0:
        plain, up = _product(x, weights, pairs).chunk(2, -1)
        return functional.silu(plain) * up
    gate = torch.ops.mkldnn._linear_pointwise(x, weights[0], None, "swish", [], "")
    return torch.ops.mkldnn._linear_pointwise(x, gate, weights[1], None, "mul")


def _step(
    x: Tensor,
    turn: tuple[Tensor, Tensor],
    stores: tuple[Tensor, Tensor],
    places: Tensor,
    seen: tuple[int, bool, Tensor | None],
    layer: _Weights,
    pairs: list[tuple[Tensor, Tensor]],
) -> Tensor:
    """States (rows, size) of a token of each row to the next ones.

    `turn`: cosines and sines (rows, 1, head size). `stores`: keys and values of these rows, (rows, key heads,
    positions, head size), of which `places` (rows * key heads,) are those of the new tokens. `seen`: how many positions
    are read, whether `attend_many` is the way to go, and which of them each row reads, None for all: as that wants it,
    or (rows, 1, 1, positions) of bool. `pairs`: what an adapter adds to each of the four products, or nothing.
    """
    n_rows = x.shape[0]
    n_queries, n_keys, size = layer.heads
    n_turned = n_queries + n_keys
    joint = _product(rms_norm(x, layer.before_attention, layer.eps), layer.first, pairs[:1]).view(n_rows, -1, size)
    turned = joint[:, :n_turned]
    if len(layer.of_heads) > 0:
        queries = rms_norm(turned[:, :n_queries], layer.of_heads[0], layer.eps)
        turned = torch.cat((queries, rms_norm(turned[:, n_queries:], layer.of_heads[1], layer.eps)), 1)
    turned = torch.addcmul(turned * turn[0], turned.roll(size // 2, -1), turn[1])
    keys, values = stores
    keys.view(-1, size).index_copy_(0, places, turned[:, n_queries:].reshape(-1, size))
    values.view(-1, size).index_copy_(0, places, joint[:, n_turned:].reshape(-1, size))
    # The queries that share a key take the place of query positions: keys are read once.
    query = turned[:, :n_queries].reshape(n_rows, n_keys, n_queries // n_keys, size)
    length, takes_many, mask = seen
    keys, values = keys[:, :, :length], values[:, :, :length]
    if takes_many:
        out = attend_many(query, keys, values, mask, layer.scale)
    else:
        out = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=layer.scale)
    x = x + _product(out.reshape(n_rows, n_queries * size), layer.others[:1], pairs[1:2])
    inner = _gated(rms_norm(x, layer.before_gate, layer.eps), layer.others[1:3], pairs[2:3])
    return x + _product(inner, layer.others[3:], pairs[3:])


def scripted(step: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function as TorchScript's interpreter runs it, or itself where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its end some day: then Python takes over
        try:
            made: Callable[..., Tensor] = torch.jit.script(step)
        except (AttributeError, RuntimeError, NotImplementedError):
            return step
    return made


class OneEach:
    """The layers of a model whose products of many rows all go through oneDNN, in bfloat16."""

    _run: Callable[..., Tensor] | None = None  # made once, at the first model that needs it

    def __init__(self, layers: Sequence[Layer]) -> None:
        if OneEach._run is None:
            OneEach._run = staticmethod(scripted(_step))
        self._additions = Additions(layers)
        self._windows = [layer.window for layer in layers]
        self._weights = [_weights(layer) for layer in layers]

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> "OneEach | None":
        """None where a layer has no such matrices, or does what this pass does not."""
        return cls(layers) if all(map(_fits, layers)) else None

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, cache: SlotCache, layout: Layout) -> Tensor | None:
        """The last states (rows, size) of a token of each row of the layout, or None where the pass goes another way.

        That is where there are few rows or very many, something else than a LoRA adapter hangs on the layers, or the
        cache has to grow first.
        """
        if not LEAST_ROWS <= len(x) <= SHORT_ROWS or layout.n_new != 1 or self._run is None:
            return None
        stores, pairs = cache.stores(layout), self._additions.now()
        if stores is None or pairs is None:
            return None
        n_heads, n_positions = stores[0][0].shape[1:3]
        places = layout.places(n_heads, n_positions)
        seen = {window: _seen(layout, window, stores[0][0]) for window in set(self._windows)}
        for keys, values, window, weights, added in zip(*stores, self._windows, self._weights, pairs, strict=True):
            x = self._run(x, (cos, sin), (keys, values), places, seen[window], weights, added)
        return x


def _seen(layout: Layout, window: int | None, keys: Tensor) -> tuple[int, bool, Tensor | None]:
    mask = layout.mask(window)
    takes_many = attention.takes_many(keys[:, :, : layout.length])
    wanted = attention.bias_of(mask, keys.shape[1]) if takes_many and mask is not None else mask
    return layout.length, takes_many, wanted


def _matrices(layer: Layer) -> tuple[list[Tensor], list[Tensor]] | None:
    """Of queries, keys and values, and of the other products; None where one is missing."""
    made = [each for each in layer.modules if isinstance(each, PrepackedLinear) and each.bias is None]
    found = [copy for each in made if isinstance(copy := each.copy, Tensor)]
    return (found[:3], found[3:]) if len(found) == len(layer.modules) else None


def _norms_of(layer: Layer) -> list[Tensor] | None:
    """The norms of its tokens, then those of queries and keys, as `rms_norm` wants them; None where it cannot."""
    norms = [*layer.norms, *(layer.head_norms or ())]
    found = [norm.twice for norm in norms if norm.twice is not None and norm.eps == norms[0].eps]
    return found if len(found) == len(norms) else None


def _fits(layer: Layer) -> bool:
    return layer.is_silu and _norms_of(layer) is not None and _matrices(layer) is not None


def _weights(layer: Layer) -> _Weights:
    norms, matrices = _norms_of(layer), _matrices(layer)
    assert norms is not None and matrices is not None
    (before_attention, before_gate, *of_heads), (first, others) = norms, matrices
    return _Weights(
        layer.counts, layer.scale, layer.norms[0].eps, before_attention, before_gate, of_heads, first, others
    )
