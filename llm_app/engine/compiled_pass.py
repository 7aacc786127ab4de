"""Tokens through all layers of a model as one function, compiled for this processor.

Few tokens, a step of some chats, wait for the weights to come from memory; many, a prompt or what a task asks, for
products. So there are two such functions: one reads blocks as they are, the other unpacks them first.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llm_app.engine.added import Added
from llm_app.engine.additions import MOST_ADAPTERS, Additions, Layer, Pairs
from llm_app.engine.branches import TreeLayout
from llm_app.engine.compiled import panels, team
from llm_app.engine.compiled.keys import MOST_QUERIES
from llm_app.engine.compiled.layers import through
from llm_app.engine.compiled.many import through_many
from llm_app.engine.compiled.many_heads import bytes_of_queries
from llm_app.engine.compiled.products import GROUP, STEPS
from llm_app.engine.compiled.records import LAYER, PASS
from llm_app.engine.compiled.tiles import blocks_for
from llm_app.engine.compiled.vectors import LANES
from llm_app.engine.norms import Norm
from llm_app.engine.packed import PackedLinear
from llm_app.engine.slots import Layout

# Few: of which this way is sooner done than oneDNN's products with operations between them. One thread does less.
MOST_TOKENS = 2 if team.IS_ALONE else 96
LEAST_TOGETHER = 6  # queries that share a key head, of a row's tokens, which then attend together
MATRICES = ("joint", "out", "gated", "down")  # of a layer, in the order of its `joints`


class CompiledPass:
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
        has_panels = all(n % 2 == 0 for record in self._table for n in _n_tiles(record))
        self._takes_many = panels.SUIT and layers[0].counts[2] % GROUP == 0 and has_panels
        self._held = norms  # whose addresses the table has
        self._n_inner = max(joint.whole.in_features for layer in layers for joint in layer.joints)
        # By the id of what it begins with, for few tokens and for many.
        self._adapted: dict[tuple[int, bool], tuple[list[Pairs], np.ndarray, list[Added]]] = {}

    @classmethod
    def of(cls, layers: Sequence[Layer], norm: Norm) -> "CompiledPass | None":
        """None where a layer is not of blocks alone, or does what this pass does not."""
        return cls(layers, norm) if all(_fits(layer, layers[0], norm) for layer in layers) else None

    def additions(self, n_tokens: int, *, is_tree: bool = False) -> list[Pairs] | None:
        """What adapters add to a pass of so many tokens, to be given to it; None where it takes another way.

        That is where something else than a LoRA adapter hangs on the layers, and for many tokens and trees on
        processors that do better with oneDNN.
        """
        return self._additions.now() if self._takes_many or n_tokens <= MOST_TOKENS and not is_tree else None

    def __call__(
        self,
        x: Tensor,
        turn: tuple[Tensor, Tensor],
        cache: Any,
        layout: Layout | TreeLayout,
        pairs: list[Pairs],
        only: int | None = None,
    ) -> Tensor:
        """The layout's tokens (tokens, size) through all layers and the last norm: those read, (read tokens, size).

        `turn`: cosines and sines (tokens, half a head's size) of float32. `cache`: the `SlotCache` or `Branch` of the
        layout. `only`: through this layer, without the norm.
        """
        n_layers, (_, n_keys, size) = len(self._layers), self._layers[0].counts
        stores, fill = cache.room(layout, n_layers, x.new_empty(n_keys, size)), getattr(cache, "fill", None)
        keys, values = (np.array([store.data_ptr() for store in each]) for each in stores)
        is_many = self._takes_many and (len(x) >= panels.LEAST or isinstance(layout, TreeLayout))
        table, added = self._with(pairs, is_many=is_many)
        rows = torch.arange(layout.first_row, layout.first_row + len(layout.starts)).repeat_interleave(layout.n_new)
        states, places, n_threads = x.float(), layout.places_of_keys.flatten(), team.n_threads()
        task, room = (self._task_of_many if is_many else self._task)(len(x), layout, added, n_threads)
        for name, read in (
            ("states", states), ("cos", turn[0]), ("sin", turn[1]), ("rows", rows), ("positions", places)
        ):  # fmt: skip
            task[name] = read.data_ptr()
        for name, of_layers in (("layers", table), ("keys", keys), ("values", values)):
            task[name] = of_layers.ctypes.data
        task["row_stride"], task["head_stride"] = stores[0][0].stride()[:2]
        step = n_layers if layout.between_layers is None and only is None and fill is None else 1
        for first in range(0, n_layers, step) if only is None else [only]:
            if fill is not None:
                fill(first)
            task["first_layer"], task["end_layer"] = first, first + step
            is_last = first + step == n_layers
            task["last_norm"] = self._last.data_ptr() if is_last and only is None else 0
            team.run(through_many if is_many else through, task.ctypes.data, n_threads)
            if layout.between_layers is not None and not is_last:
                layout.between_layers()
        del added, room  # whose addresses were read until now
        if layout.reads is None or only is not None:
            return states.to(x.dtype)
        return (states[: len(layout.reads)] if is_many else states[layout.reads]).to(x.dtype)

    def _task(
        self, n_tokens: int, layout: Layout | TreeLayout, added: list[Added], n_threads: int
    ) -> tuple[np.ndarray, list[Tensor]]:
        """A pass of few tokens, without these, and the memory in which it computes."""
        block, n_padded = blocks_for(n_tokens)
        rank = max((each.rank for each in added), default=0)
        own = 4 * n_padded * LANES
        task, held = self._room(n_padded, layout, n_threads, own=n_threads * own, small=n_padded * rank)
        task["n_tokens"], task["n_padded"], task["block"], task["own_bytes"] = n_tokens, n_padded, block, 4 * own
        return task, held

    def _task_of_many(
        self, n_tokens: int, layout: Layout | TreeLayout, added: list[Added], n_threads: int
    ) -> tuple[np.ndarray, list[Tensor]]:
        """The same of many tokens."""
        n_queries, n_keys, size = self._layers[0].counts
        block, n_padded = panels.blocks_for(n_tokens)
        is_together = isinstance(layout, TreeLayout) or layout.n_new * n_queries // n_keys >= LEAST_TOGETHER
        n_spread = -(-layout.length // panels.WIDTH) * panels.WIDTH if is_together else 0
        n_groups = max(2 * len(self._last), self._n_inner) // GROUP  # two panels where there is a gate
        unpacked = 2 * n_groups * panels.TILE_GROUP + 3 * block * panels.WIDTH * 4
        own = -(-max(unpacked, bytes_of_queries(size, n_spread)) // 64) * 64
        n_read = len(layout.starts) * n_keys * n_spread * size // 2
        task, held = self._room(
            n_padded, layout, n_threads, own=n_threads * own // 4, read_keys=n_read, read_values=n_read,
            small=n_padded * max((each.rank for each in added), default=0) * STEPS,
        )  # fmt: skip
        task["n_tokens"], task["n_padded"], task["block"], task["own_bytes"] = n_tokens, n_padded, block, own
        task["n_spread"] = n_spread
        for name, found in (("reads", layout.reads), ("sees", layout.sees)):
            if found is not None:
                task[name] = found.data_ptr()
                held.append(found)
        task["n_reads"] = -1 if layout.reads is None else len(layout.reads)
        return task, held

    def _room(
        self, n_padded: int, layout: Layout | TreeLayout, n_threads: int, **sizes: int
    ) -> tuple[np.ndarray, list[Tensor]]:
        """What both kinds of pass have; memory for so many numbers in float32, whose addresses it gets, among it."""
        task, held, n_states = np.zeros((), PASS), [], len(self._last)
        n_queries, n_keys, size = self._layers[0].counts
        n_scores = layout.length + LANES
        sizes |= {"joint": n_padded * (n_queries + 2 * n_keys) * size, "scores": n_threads * MOST_QUERIES * n_scores}
        for name, n in sizes.items():
            held.append(torch.empty(n, dtype=torch.float32))  # whatever is the default meanwhile
            task[name] = held[-1].data_ptr()
        for name, n_in in (("normed", n_states), ("inner", self._n_inner)):
            inputs = [torch.empty(n_padded * n, dtype=torch.float32) for n in (n_in, n_in // 2, n_in // GROUP)]
            task[name] = tuple(each.data_ptr() for each in inputs)
            held += inputs
        task["n_scores"], task["n_new"], task["size"] = n_scores, layout.n_new, n_states
        task["n_queries"], task["n_keys"], task["head_size"] = n_queries, n_keys, size
        task["eps"], task["scale"] = self._eps, self._layers[0].scale
        return task, held

    def _with(self, pairs: list[Pairs], *, is_many: bool) -> tuple[np.ndarray, list[Added]]:
        """The table with what an adapter adds, and the matrices of that."""
        if not any(pairs):
            return self._table, []
        key = id(pairs), is_many
        if key not in self._adapted:
            table, added, prepared = self._table.copy(), [], Added.to_many if is_many else Added.to_few
            for record, of_layer in zip(table, pairs, strict=True):
                for name, pair in zip(MATRICES, of_layer, strict=True):
                    added.append(prepared(*pair))
                    added[-1].told(record[name])
            self._adapted = dict([*self._adapted.items()][1 - 2 * MOST_ADAPTERS :]) | {key: (pairs, table, added)}
        return self._adapted[key][1:]


def _n_tiles(record: np.void) -> list[int]:
    """Of what must be whole panels: each matrix of a layer, of which gate and up are two."""
    found = [int(record[name]["n_tiles"]) for name in MATRICES]
    found[2] //= 2
    return found


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
