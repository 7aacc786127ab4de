"""Few tokens through layers of blocks, compiled for this processor: what most passes of a chat are."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llm_app.engine.additions import MOST_ADAPTERS, Additions, Layer, Pairs
from llm_app.engine.compiled import team
from llm_app.engine.compiled.layers import through
from llm_app.engine.compiled.products import GROUP
from llm_app.engine.compiled.records import LAYER, PASS
from llm_app.engine.compiled.tiles import blocks_for
from llm_app.engine.compiled.vectors import LANES
from llm_app.engine.forward import Layout, SlotCache
from llm_app.engine.norms import Norm
from llm_app.engine.packed import PackedLinear

# Of which this way is sooner done than oneDNN's products with operations between them. One thread alone does less.
MOST_TOKENS = 2 if team.IS_ALONE else 96
MATRICES = ("joint", "out", "gated", "down")  # of a layer, in the order of its `joints`


@dataclass(frozen=True)
class _Added:
    """What an adapter adds to one product, as `MATRIX` has it."""

    a: Tensor
    b: Tensor
    spans: Tensor

    @classmethod
    def of(cls, a: Tensor, b: Tensor) -> "_Added":
        """From (rank, in) and (rank, out), whose tiles need few of the ranks where several modules are one product."""
        tiles = b.float().unflatten(1, (-1, LANES)).transpose(0, 1)  # (tiles, rank, lanes)
        spans, rows, n = [], [], 0
        for tile, used in zip(tiles, (tiles != 0).any(2).tolist(), strict=True):
            first = used.index(True) if True in used else 0
            end = len(used) - used[::-1].index(True) if True in used else 0
            spans.append((first, end, n))
            rows.append(tile[first:end])
            n += end - first
        return cls(a.float().contiguous(), torch.cat(rows), torch.tensor(spans))


class FewTokens:
    """The layers of a model whose products all go through blocks."""

    def __init__(self, layers: Sequence[Layer], norm: Norm) -> None:
        self._layers, self._additions = layers, Additions(layers)
        norms = [_norms(layer) for layer in layers]
        self._last, self._eps = norm.weight.detach().float(), norm.eps
        self._table = np.zeros(len(layers), LAYER)
        for record, layer, found in zip(self._table, layers, norms, strict=True):
            for name, weight in found.items():
                record[name] = weight.data_ptr()
            record["window"] = layer.window or sys.maxsize
            for name, joint in zip(MATRICES, layer.joints, strict=True):
                tiles, bias = joint.whole.tiles, joint.whole._parameters["bias"]
                shape = tiles.shape[0] // LANES, tiles.shape[1] // GROUP
                if bias is not None:
                    found[name] = bias.detach().float()
                place = found[name].data_ptr() if name in found else 0
                record[name] = (tiles.data.data_ptr(), tiles.n_bits, *shape, place, 0, 0, 0, 0)
        self._held = norms  # whose addresses the table has
        self._n_inner = max(joint.whole.in_features for layer in layers for joint in layer.joints)
        self._adapted: dict[int, tuple[list[Pairs], np.ndarray, list[_Added]]] = {}  # by the id of what it begins with

    @classmethod
    def of(cls, layers: Sequence[Layer], norm: Norm) -> "FewTokens | None":
        """None where a layer is not of blocks alone, or does what this pass does not."""
        return cls(layers, norm) if all(_fits(layer, layers[0], norm) for layer in layers) else None

    def additions(self, n_tokens: int) -> list[Pairs] | None:
        """What adapters add to a pass of so many tokens, to be given to it; None where it takes another way.

        That is where there are more tokens, or something else than a LoRA adapter hangs on the layers.
        """
        return self._additions.now() if n_tokens <= MOST_TOKENS else None

    def __call__(
        self,
        x: Tensor,
        turn: tuple[Tensor, Tensor],
        cache: SlotCache,
        layout: Layout,
        pairs: list[Pairs],
        only: int | None = None,
    ) -> Tensor:
        """The layout's tokens (tokens, size) through all layers and the last norm: those read, (read tokens, size).

        `turn`: cosines and sines (tokens, half a head's size) of float32. `only`: through this layer, without the norm.
        """
        n_layers, (_, n_keys, size) = len(self._layers), self._layers[0].counts
        stores = cache.room(layout, n_layers, x.new_empty(n_keys, size))
        keys, values = (np.array([store.data_ptr() for store in each]) for each in stores)
        table, added = self._with(pairs)
        rows = torch.arange(layout.first_row, layout.first_row + len(layout.starts)).repeat_interleave(layout.n_new)
        states, positions = x.float(), layout.positions.flatten()
        n_threads = team.n_threads()
        task, room = self._task(len(x), layout.length, added, n_threads)
        for name, read in (
            ("states", states), ("cos", turn[0]), ("sin", turn[1]), ("rows", rows), ("positions", positions)
        ):  # fmt: skip
            task[name] = read.data_ptr()
        for name, of_layers in (("layers", table), ("keys", keys), ("values", values)):
            task[name] = of_layers.ctypes.data
        task["row_stride"], task["head_stride"] = stores[0][0].stride()[:2]
        task["n_new"] = layout.n_new
        step = n_layers if layout.between_layers is None and only is None else 1
        for first in range(0, n_layers, step) if only is None else [only]:
            task["first_layer"], task["end_layer"] = first, first + step
            is_last = first + step == n_layers
            task["last_norm"] = self._last.data_ptr() if is_last and only is None else 0
            team.run(through, task.ctypes.data, n_threads)
            if layout.between_layers is not None and not is_last:
                layout.between_layers()
        del added, room  # whose addresses were read until now
        return (states if layout.reads is None else states[layout.reads]).to(x.dtype)

    def _task(self, n_tokens: int, length: int, added: list[_Added], n_threads: int) -> tuple[np.ndarray, list[Tensor]]:
        """A pass without its tokens, and the memory in which it computes."""
        n_queries, n_keys, size = self._layers[0].counts
        (block, n_padded), n_states = blocks_for(n_tokens), len(self._last)
        rank = max((len(each.a) for each in added), default=0)
        sizes = {
            "joint": n_padded * (n_queries + 2 * n_keys) * size, "own": n_threads * 4 * n_padded * LANES,
            "small": n_padded * rank, "scores": n_threads * length,
        }  # fmt: skip
        room = {name: torch.empty(n) for name, n in sizes.items()}
        task = np.zeros((), PASS)
        for name, each in room.items():
            task[name] = each.data_ptr()
        held = [*room.values()]
        for name, n_in in (("normed", n_states), ("inner", self._n_inner)):
            inputs = [torch.empty(n_padded * n) for n in (n_in, n_in // 2, n_in // GROUP)]
            task[name] = tuple(each.data_ptr() for each in inputs)
            held += inputs
        task["n_scores"], task["n_tokens"], task["n_padded"], task["block"] = length, n_tokens, n_padded, block
        task["size"], task["n_queries"], task["n_keys"], task["head_size"] = n_states, n_queries, n_keys, size
        task["eps"], task["scale"] = self._eps, self._layers[0].scale
        return task, held

    def _with(self, pairs: list[Pairs]) -> tuple[np.ndarray, list[_Added]]:
        """The table with what an adapter adds, and the matrices of that."""
        if not any(pairs):
            return self._table, []
        found = self._adapted.get(id(pairs))
        if found is None:
            table, added = self._table.copy(), []
            for record, of_layer in zip(table, pairs, strict=True):
                for name, pair in zip(MATRICES, of_layer, strict=True):
                    each, matrix = _Added.of(*pair), record[name]
                    added.append(each)
                    matrix["a"], matrix["b"], matrix["rank"] = each.a.data_ptr(), each.b.data_ptr(), len(each.a)
                    matrix["spans"] = each.spans.data_ptr()
            found = pairs, table, added
            self._adapted = dict([*self._adapted.items()][1 - MOST_ADAPTERS :]) | {id(pairs): found}
        return found[1], found[2]


def _norms(layer: Layer) -> dict[str, Tensor]:
    """In float32, by their names in the table."""
    names = ("before_attention", "before_gate", "of_queries", "of_keys")
    norms = (*layer.norms, *(layer.head_norms or ()))
    return {name: norm.weight.detach().float().contiguous() for name, norm in zip(names, norms, strict=False)}


def _fits(layer: Layer, first: Layer, norm: Norm) -> bool:
    has_blocks = all(isinstance(joint.whole, PackedLinear) for joint in layer.joints)
    n_queries, n_keys, size = layer.counts
    norms = (*layer.norms, *(layer.head_norms or ()), norm)
    is_like = layer.counts == first.counts and layer.scale == first.scale and len({norm.eps for norm in norms}) == 1
    if not has_blocks or size % LANES or n_queries // n_keys * size % GROUP:
        return False
    return layer.is_silu and is_like and norms[0].weight.dtype == torch.bfloat16
