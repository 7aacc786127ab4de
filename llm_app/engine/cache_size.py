"""How large a store of keys or values is made."""

from math import prod

from torch import Tensor

ROW_STEP, POSITION_STEP = 4, 256
SMALL = 1 << 17  # numbers of a store; what is larger is sooner made one by one


def rounded(n_rows: int, length: int) -> tuple[int, int]:
    """Rows and positions that are made where so many are asked for."""
    rows = n_rows if n_rows < ROW_STEP else -(-n_rows // ROW_STEP) * ROW_STEP
    return rows, -(-length // POSITION_STEP) * POSITION_STEP


def grown(held: Tensor | None, new: Tensor, n_rows: int, length: int) -> Tensor:
    """A store with what `held` has and room for more of what is like `new`, both (rows, heads, positions, size)."""
    rows, n_positions = rounded(n_rows, length)
    if held is not None:
        # Doubling bounds how often a growing conversation copies its cache.
        n_positions = (
            held.shape[2] if held.shape[2] >= length else max(n_positions, min(2 * held.shape[2], held.shape[2] + 2048))
        )
        rows = max(rows, held.shape[0])
    larger = new.new_zeros(rows, new.shape[1], n_positions, new.shape[3])
    if held is not None:
        larger[: held.shape[0], :, : held.shape[2]] = held
    return larger


def all_grown(held: dict[int, Tensor], n_layers: int, new: Tensor, n_rows: int, length: int) -> dict[int, Tensor]:
    """The same of all layers, in one piece where they are new and small: one by one they take some milliseconds."""
    rows, n_positions = rounded(n_rows, length)
    shape = rows, new.shape[1], n_positions, new.shape[3]
    if held or prod(shape) > SMALL:
        return {layer: grown(held.get(layer), new, n_rows, length) for layer in range(n_layers)}
    return dict(enumerate(new.new_zeros(n_layers, *shape)))
