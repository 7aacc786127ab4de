"""How large a store of keys or values is made."""

from collections.abc import Sequence
from math import prod

from torch import Tensor

from llm_app.engine.blocks import zeros

ROW_STEP, POSITION_STEP = 4, 256
PIECE = 8 << 20  # numbers that are made together


def rounded(n_rows: int, length: int) -> tuple[int, int]:
    """Rows and positions that are made where so many are asked for."""
    rows = n_rows if n_rows < ROW_STEP else -(-n_rows // ROW_STEP) * ROW_STEP
    return rows, -(-length // POSITION_STEP) * POSITION_STEP


def grown(held: Tensor | None, new: Tensor, n_rows: int, length: int) -> Tensor:
    """A store with what `held` has and room for more of what is like `new`, both (rows, heads, positions, size)."""
    return _filled(zeros(_shape(held, new, n_rows, length), new), held)


def grow_all(held: dict[int, Tensor], new: Sequence[Tensor], n_rows: int, length: int) -> None:
    """The same of all layers, some of them in one piece: one by one takes some milliseconds.

    What was there before goes piece by piece.
    """
    shapes = [_shape(held.get(layer), each, n_rows, length) for layer, each in enumerate(new)]
    n_at_once = max(1, PIECE // prod(shapes[0])) if len(set(shapes)) == 1 else 1
    for first in range(0, len(new), n_at_once):
        layers = range(first, min(first + n_at_once, len(new)))
        for layer, store in zip(layers, zeros((len(layers), *shapes[first]), new[first]), strict=True):
            held[layer] = _filled(store, held.get(layer))


def _shape(held: Tensor | None, new: Tensor, n_rows: int, length: int) -> tuple[int, ...]:
    rows, n_positions = rounded(n_rows, length)
    if held is not None:
        # Doubling bounds how often a growing conversation copies its cache.
        n_positions = (
            held.shape[2] if held.shape[2] >= length else max(n_positions, min(2 * held.shape[2], held.shape[2] + 2048))
        )
        rows = max(rows, held.shape[0])
    return rows, new.shape[1], n_positions, new.shape[3]


def _filled(store: Tensor, held: Tensor | None) -> Tensor:
    if held is not None:
        store[: held.shape[0], :, : held.shape[2]] = held
    return store
