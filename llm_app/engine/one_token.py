"""One token of one reply through layers of blocks: what most passes of a chat are.

A layer is some forty operations of a few microseconds, and Python takes another few for each. Here they are one
function, which TorchScript's interpreter runs without Python; where torch has no TorchScript, Python runs the same one.
"""

import itertools
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from llm_app.engine.adapter_change import Change
from llm_app.engine.attention import MANY_KEYS, MANY_NUMBERS, attend_many
from llm_app.engine.forward import Layout, SlotCache
from llm_app.engine.packed import PackedLinear

SHORT_ROWS = 64  # up to so many, operations cost more than what goes through memory twice


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Of bfloat16 (..., n), with the weight twice, (2n).

    The numbers beside their negatives have the mean 0, and torch's layer norm of those is one operation on the CPU,
    where its own `rms_norm` is nine.
    """
    n = x.shape[-1]
    return functional.layer_norm(torch.cat((x, x.neg()), -1), [2 * n], weight, None, eps)[..., :n].contiguous()


class Norm:
    """The root-mean-square norm of a transformers module."""

    def __init__(self, module: Any) -> None:
        self._weight: Tensor = module.weight
        self.eps: float = module.variance_epsilon
        is_short = self._weight.device.type == "cpu" and self._weight.dtype == torch.bfloat16
        self.twice = torch.cat((self._weight, self._weight)).detach() if is_short else None

    def __call__(self, x: Tensor) -> Tensor:
        """(..., n) to the same."""
        if self.twice is not None and x.dtype == torch.bfloat16 and len(x) <= SHORT_ROWS:
            return rms_norm(x, self.twice, self.eps)
        return functional.rms_norm(x, self._weight.shape, self._weight, self.eps)


def _product(x: Tensor, quants: list[Tensor], scales: list[Tensor], pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    n_group = x.shape[1] // scales[0].shape[0]
    out = torch.ops.aten._weight_int4pack_mm_for_cpu(x, quants[0], n_group, scales[0])
    for i in range(1, len(quants)):
        out = out + torch.ops.aten._weight_int4pack_mm_for_cpu(x, quants[i], n_group, scales[i])
    return adapted(out, x, pairs)


def adapted(out: Tensor, x: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The outputs of layers side by side, with what an adapter adds to them all."""
    for a, b in pairs:
        if len(b) > 0:
            out = (out + x.to(a.dtype) @ a @ b).to(out.dtype)
    return out


class _Weights(NamedTuple):
    """What `_step` is told of a layer each time. Products: queries, keys and values; the output; gate and up; down."""

    heads: tuple[int, int, int]  # how many queries and keys, and the size of one
    scale: float
    window: int  # how many positions a token sees, itself included
    many: tuple[int, int]  # keys from which on, and up to which, `attend_many` is faster
    eps: float
    before_attention: Tensor
    before_gate: Tensor
    of_heads: list[Tensor]  # norms of queries and of keys, or nothing
    quants: list[list[Tensor]]
    scales: list[list[Tensor]]


def _step(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    keys: Tensor,
    values: Tensor,
    start: int,
    layer: _Weights,
    pairs: list[tuple[Tensor, Tensor]],
) -> Tensor:
    """States (1, size) of the token at `start` to the next ones.

    `keys` and `values` are its row's, (1, key heads, positions, head size). `pairs`: what an adapter adds to each of
    the four products, or nothing.
    """
    n_queries, n_keys, size = layer.heads
    quants, scales, eps = layer.quants, layer.scales, layer.eps
    n_turned = n_queries + n_keys
    joint = _product(rms_norm(x, layer.before_attention, eps), quants[0], scales[0], pairs[:1]).view(1, -1, size)
    turned = joint[:, :n_turned]
    if len(layer.of_heads) > 0:
        queries = rms_norm(turned[:, :n_queries], layer.of_heads[0], eps)
        turned = torch.cat((queries, rms_norm(turned[:, n_queries:], layer.of_heads[1], eps)), 1)
    turned = torch.addcmul(turned * cos, turned.roll(size // 2, -1), sin)
    keys[0, :, start] = turned[0, n_queries:]
    values[0, :, start] = joint[0, n_turned:]
    # The queries that share a key take the place of query positions: keys are read once.
    query = turned[:, :n_queries].reshape(1, n_keys, n_queries // n_keys, size)
    first = max(0, start + 1 - layer.window)
    seen, read = keys[:, :, first : start + 1], values[:, :, first : start + 1]
    if layer.many[0] <= seen.shape[2] <= layer.many[1]:
        out = attend_many(query, seen, read, None, layer.scale)
    else:
        out = functional.scaled_dot_product_attention(query, seen, read, scale=layer.scale)
    x = x + _product(out.reshape(1, n_queries * size), quants[1], scales[1], pairs[1:2])
    gate, up = _product(rms_norm(x, layer.before_gate, eps), quants[2], scales[2], pairs[2:3]).chunk(2, -1)
    return x + _product(functional.silu(gate) * up, quants[3], scales[3], pairs[3:])


def scripted(step: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function as TorchScript's interpreter runs it, or itself where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its end some day: then Python takes over
        try:
            made: Callable[..., Tensor] = torch.jit.script(step)
        except (AttributeError, RuntimeError, NotImplementedError):
            return step
    return made


# Of one layer, what an adapter adds to its four products, as two matrices each: (in, rank) and (rank, out). Empty
# without an adapter.
Pairs = list[tuple[Tensor, Tensor]]
JOINED = (3, 1, 2, 1)  # modules of each product


class Layer(Protocol):
    """A layer of the compact pass, as far as it is read here."""

    joints: tuple[Any, Any, Any, Any]  # queries, keys and values; the output; gate and up; down
    modules: list[nn.Linear]  # on which adapters hang, in the order of their products
    counts: tuple[int, int, int]
    scale: float
    window: int | None
    norms: tuple[Norm, Norm]
    head_norms: tuple[Norm, Norm] | None
    is_silu: bool


class Additions:
    """What the active adapter adds to the products of all layers: one addition where several modules are one product.

    Sums in another order than those of `Change`, which rounds each module's part by itself.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._modules = [module for layer in layers for module in layer.modules]
        self._hooks = [module._forward_hooks for module in self._modules]
        self._none: list[Pairs] = [[] for _ in layers]
        self._adapted: tuple[list[Any], list[Pairs] | None] = ([], None)  # hooks, and what they come to

    def now(self) -> list[Pairs] | None:
        """To the products of each layer, or None where it does something else than add."""
        if not any(self._hooks):
            return self._none
        active = [hook for hooks in self._hooks for hook in hooks.values()]
        before, pairs = self._adapted
        if len(active) != len(before) or any(a is not b for a, b in zip(active, before, strict=True)):
            found = [pair for pair in map(_pair, self._modules) if pair is not None]
            starts = range(0, len(self._modules), sum(JOINED))
            is_lora = len(found) == len(self._modules)
            pairs = [_joined(found[i : i + sum(JOINED)]) for i in starts] if is_lora else None
            self._adapted = active, pairs
        return pairs


class OneToken:
    """The layers of a model whose products all go through blocks."""

    _run: Callable[..., Tensor] | None = None  # made once, at the first model that needs it

    def __init__(self, layers: Sequence[Layer]) -> None:
        if OneToken._run is None:
            OneToken._run = staticmethod(scripted(_step))
        self._additions = Additions(layers)
        self._weights = [_weights(layer) for layer in layers]

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> "OneToken | None":
        """None where a layer is not of blocks alone, or does what this pass does not."""
        return cls(layers) if all(map(_fits, layers)) else None

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, cache: SlotCache, layout: Layout) -> Tensor | None:
        """The last states (1, size) of the one token of the layout, or None where the pass takes another way.

        That is where there are more tokens, something else than a LoRA adapter hangs on the layers, or the cache has
        to grow first.
        """
        if len(layout.starts) != 1 or layout.n_new != 1:
            return None
        stores, pairs = cache.stores(layout), self._additions.now()
        if stores is None or pairs is None or self._run is None:
            return None
        start = layout.starts[0]
        for keys, values, weights, added in zip(*stores, self._weights, pairs, strict=True):
            x = self._run(x, cos, sin, keys, values, start, weights, added)
        return x


def _pair(module: nn.Linear) -> tuple[Tensor, Tensor] | None:
    """What hangs on a linear layer: without anything matrices of rank 0, None where it is no LoRA."""
    hooks = list(module._forward_hooks.values())
    if not hooks:
        return torch.empty(0, module.in_features), torch.empty(module.out_features, 0)
    if len(hooks) > 1 or not isinstance(hooks[0], Change) or hooks[0].growth is not None:
        return None
    pair = hooks[0].pair
    return pair.a, pair.b * pair.scale


def _joined(pairs: Sequence[tuple[Tensor, Tensor]]) -> Pairs:
    """Those of a layer's modules as those of its products: outputs side by side, each from ranks of its own."""
    rest = iter(pairs)
    groups = [list(itertools.islice(rest, n)) for n in JOINED]
    joined = [(torch.cat([a for a, _ in group]), torch.block_diag(*(b for _, b in group))) for group in groups]
    return [(a.T.contiguous(), b.T.contiguous()) for a, b in joined]


def norms_of(layer: Layer) -> list[Tensor] | None:
    """The norms of its tokens, then those of queries and keys, as `rms_norm` wants them; None where it cannot."""
    norms = [*layer.norms, *(layer.head_norms or ())]
    found = [norm.twice for norm in norms if norm.twice is not None and norm.eps == norms[0].eps]
    return found if len(found) == len(norms) else None


def _fits(layer: Layer) -> bool:
    has_blocks = all(isinstance(joint.whole, PackedLinear) for joint in layer.joints)
    return layer.is_silu and has_blocks and norms_of(layer) is not None


def _weights(layer: Layer) -> _Weights:
    norms = norms_of(layer)
    assert norms is not None
    before_attention, before_gate, *of_heads = norms
    planes = [joint.whole.planes for joint in layer.joints]
    return _Weights(
        heads=layer.counts, scale=layer.scale, window=layer.window or sys.maxsize,
        many=(MANY_KEYS, MANY_NUMBERS // (layer.counts[1] * layer.counts[2])), eps=layer.norms[0].eps,
        before_attention=before_attention, before_gate=before_gate, of_heads=of_heads,
        quants=[[plane.quants for plane in each] for each in planes],
        scales=[[plane.scales for plane in each] for each in planes],
    )  # fmt: skip
