"""Where the tokens of a pass stand, and the keys and values of the requests that share it, one row each.

What padding writes lies beyond a row's length: it is masked now and overwritten later.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from llm_app.engine.cache_size import grow_all, grown, rounded


@dataclass
class Layout:
    """Where the new tokens of one pass stand."""

    first_row: int
    starts: Sequence[int]  # tokens each row holds already
    n_new: int
    device: torch.device
    reads: Tensor | None = None  # tokens (of rows * new) whose last states are read; None: all
    between_layers: Callable[[], None] | None = None  # called there where the model's passes are ours
    length: int = field(init=False)  # keys that are read
    positions: Tensor = field(init=False)  # (rows, new)
    places_of_keys: Tensor = field(init=False)  # in their rows: (rows, new)
    sees: Tensor | None = field(init=False, default=None)  # what stands before each
    masks: dict[int | None, Tensor | None] = field(init=False, default_factory=dict)
    windows: set[int | None] = field(init=False, default_factory=set)  # sliding windows that layers asked for
    _places: dict[tuple[int, int, int], Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        starts = torch.tensor(self.starts, device=self.device)
        self.length = max(self.starts) + self.n_new
        self.places_of_keys = self.positions = starts[:, None] + torch.arange(self.n_new, device=self.device)

    def places(self, n_heads: int, n_positions: int, first_row: int = 0) -> Tensor:
        """Where the new tokens of all heads stand in rows * heads * positions: (rows * heads * new,)."""
        shape = n_heads, n_positions, first_row
        if shape not in self._places:
            heads = torch.arange(len(self.starts) * n_heads, device=self.device).view(-1, n_heads, 1)
            starts = (heads + first_row * n_heads) * n_positions
            self._places[shape] = (starts + self.positions[:, None]).flatten()
        return self._places[shape]

    def mask(self, window: int | None) -> Tensor | None:
        """Which keys each new token sees: (rows, 1, new, length), or None where all keys are seen."""
        self.windows.add(window)
        if window is not None and window >= self.length:
            window = None
        if window not in self.masks:
            self.masks[window] = self._make_mask(window)
        return self.masks[window]

    def is_causal(self, window: int | None) -> bool:
        """Whether several new tokens of each row see just what stands before them."""
        self.windows.add(window)
        is_level = self.n_new > 1 and min(self.starts) == max(self.starts)
        return is_level and (window is None or window >= self.length)

    def _make_mask(self, window: int | None) -> Tensor | None:
        if window is None and self.n_new == 1 and min(self.starts) == max(self.starts):
            return None
        keys = torch.arange(self.length, device=self.device)
        seen = keys <= self.positions[:, :, None]
        if window is not None:
            seen &= keys > self.positions[:, :, None] - window
        return seen[:, None]


class SlotCache(Cache):
    """Keys and values of all layers, one row a request; grows as rows and positions are asked for."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.layout: Layout | None = None
        self._keys: dict[int, Tensor] = {}  # layer -> (rows, heads, positions, size)
        self._values: dict[int, Tensor] = {}

    @property
    def n_bytes(self) -> int:
        """Memory held, in bytes."""
        return sum(t.nbytes for store in (self._keys, self._values) for t in list(store.values()))

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the new keys and values, give all that the rows of this pass may read."""
        assert self.layout is not None
        keys = self._written(self._keys, layer_idx, key_states, self.layout)
        values = self._written(self._values, layer_idx, value_states, self.layout)
        return keys, values

    def stores(self, layout: Layout) -> tuple[list[Tensor], list[Tensor]] | None:
        """Keys and values of all layers for the rows of a pass, or None where they have to grow first."""
        first, end = layout.first_row, layout.first_row + len(layout.starts)
        if not self._has_room(self._keys.get(0), layout):
            return None  # all layers are as large as the first; `level` sees to it
        keys, values = ([store[first:end] for store in stores.values()] for stores in (self._keys, self._values))
        return keys, values

    def room(self, layout: Layout, n_layers: int, like: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Keys and values of all layers, all rows of them, grown where they have to; `like` is a key (heads, size).

        All of them have the same shape, and room for what the pass writes.
        """
        if not self._has_room(self._keys.get(0), layout):
            n_rows, new = layout.first_row + len(layout.starts), like[None, :, None]
            for store in (self._keys, self._values):
                grow_all(store, [new] * n_layers, n_rows, layout.length)
        keys, values = list(self._keys.values()), list(self._values.values())
        if len(keys) != n_layers or len({store.shape for store in (*keys, *values)}) > 1 or len(values) != n_layers:
            raise RuntimeError("keys and values of an ended pass were not made level")
        return keys, values

    @staticmethod
    def _has_room(held: Tensor | None, layout: Layout) -> bool:
        n_rows = layout.first_row + len(layout.starts)
        return held is not None and held.shape[0] >= n_rows and held.shape[2] >= layout.length

    def _written(self, store: dict[int, Tensor], layer: int, new: Tensor, layout: Layout) -> Tensor:
        n_rows = layout.first_row + len(layout.starts)
        held = store.get(layer)
        if held is None or held.shape[0] < n_rows or held.shape[2] < layout.length:
            held = store[layer] = grown(held, new, n_rows, layout.length)
        if len(layout.starts) == 1:
            start = layout.starts[0]
            held[layout.first_row, :, start : start + layout.n_new] = new[0]
        else:
            places = layout.places(held.shape[1], held.shape[2], layout.first_row)
            held.view(-1, held.shape[3]).index_copy_(0, places, new.reshape(-1, held.shape[3]))
        return held[layout.first_row : n_rows, :, : layout.length]

    def level(self) -> None:
        """After a pass that was ended between two layers: all layers are as large as the largest again."""
        for store in (self._keys, self._values):
            rows, positions = (max(held.shape[size] for held in store.values()) for size in (0, 2))
            for layer, held in store.items():
                if held.shape[0] < rows or held.shape[2] < positions:
                    store[layer] = held.new_zeros(rows, held.shape[1], positions, held.shape[3])
                    store[layer][: held.shape[0], :, : held.shape[2]] = held

    def shrink(self, n_rows: int, length: int) -> None:
        """Give memory back when less than half of it is still of use."""
        rows, positions = rounded(n_rows, length)
        for store in (self._keys, self._values):
            for layer, held in store.items():
                if 2 * rows * positions <= held.shape[0] * held.shape[2]:
                    store[layer] = held[:rows, :, :positions].clone()

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one row over another."""
        if length == 0:
            return  # a row that was never written may not exist yet
        for store in (self._keys, self._values):
            for held in store.values():
                held[target, :, :length] = held[source, :, :length]

    def swap(self, a: int, b: int, length: int) -> None:
        """Exchange the first `length` positions of two rows."""
        for store in (self._keys, self._values):
            for held in store.values():
                kept = held[a, :, :length].clone()
                held[a, :, :length] = held[b, :, :length]
                held[b, :, :length] = kept

    def states(self, row: int, length: int) -> list[tuple[Tensor, Tensor]]:
        """Of each layer, the first `length` keys and values of a row, (heads, length, size), where they stand."""
        layers = sorted(self._keys)
        return [(self._keys[i][row, :, :length], self._values[i][row, :, :length]) for i in layers]

    def put(self, rows: Sequence[int], states: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Let each of these rows begin with what `states` gave."""
        at = rows[0] if len(rows) == 1 else torch.tensor(rows)
        n_rows, length = max(rows) + 1, states[0][0].shape[1]
        for store, new in zip((self._keys, self._values), zip(*states, strict=True), strict=True):
            held = store.get(0)
            if held is None or held.shape[0] < n_rows or held.shape[2] < length:
                grow_all(store, [each[None] for each in new], n_rows, length)
            for layer, each in enumerate(new):
                store[layer][at, :, :length] = each

    def clear(self, row: int) -> None:
        """Zero a row: masked keys have weight 0, but 0 times NaN is NaN."""
        for store in (self._keys, self._values):
            for held in store.values():
                held[row].zero_()

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Unused by our passes, which give positions themselves; models ask all the same."""
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """As above: our passes bring their own masks."""
        return query_length, 0
