"""What the active adapter adds to the products of a model's layers, several modules' as one."""

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from llm_app.engine.adapter_change import Change
from llm_app.engine.norms import Norm

# Of one layer, what an adapter adds to its four products, as two matrices each: (rank, in) and (rank, out). Empty
# without an adapter.
Pairs = list[tuple[Tensor, Tensor]]
JOINED = (3, 1, 2, 1)  # modules of each product
MOST_ADAPTERS = 4  # of which it is remembered what they add


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
        # By the ids of the hooks these themselves, and what they come to. Several chats take turns with their adapters.
        self._adapted: dict[tuple[int, ...], tuple[list[Any], list[Pairs] | None]] = {}

    def now(self) -> list[Pairs] | None:
        """To the products of each layer, or None where it does something else than add."""
        if not any(self._hooks):
            return self._none
        active = [hook for hooks in self._hooks for hook in hooks.values()]
        key = tuple(map(id, active))
        if key not in self._adapted:
            found = [pair for pair in map(_pair, self._modules) if pair is not None]
            starts = range(0, len(self._modules), sum(JOINED))
            is_lora = len(found) == len(self._modules)
            pairs = [_joined(found[i : i + sum(JOINED)]) for i in starts] if is_lora else None
            self._adapted = dict([*self._adapted.items()][1 - MOST_ADAPTERS :]) | {key: (active, pairs)}
        return self._adapted[key][1]


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
    return [(a, b.T.contiguous()) for a, b in joined]
