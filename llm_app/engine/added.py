"""What an adapter adds to a product, as compiled passes read it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from llm_app.engine.compiled.panels import WIDTH
from llm_app.engine.compiled.tiles import Tiles
from llm_app.engine.compiled.vectors import LANES


@dataclass(frozen=True)
class Added:
    """x @ a.T @ b, of matrices (rank, in) and (rank, out), as `MATRIX` has it."""

    a: Tensor
    b: Tensor
    rank: int
    spans: Tensor | None = None

    @classmethod
    def to_few(cls, a: Tensor, b: Tensor) -> "Added":
        """In float32; tiles of outputs need few of the ranks where several modules are one product."""
        tiles = b.float().unflatten(1, (-1, LANES)).transpose(0, 1)  # (tiles, rank, lanes)
        spans, rows, n = [], [], 0
        for tile, used in zip(tiles, (tiles != 0).any(2).tolist(), strict=True):
            first = used.index(True) if True in used else 0
            end = len(used) - used[::-1].index(True) if True in used else 0
            spans.append((first, end, n))
            rows.append(tile[first:end])
            n += end - first
        return cls(a.float().contiguous(), torch.cat(rows), len(a), torch.tensor(spans))

    @classmethod
    def to_many(cls, a: Tensor, b: Tensor) -> "Added":
        """As tiles in bfloat16, whose ranks are made whole panels."""
        n_panels = -(-len(a) // WIDTH)
        if n_panels == 0:
            return cls(a, b, 0)
        a, b = (pad(each, (0, 0, 0, n_panels * WIDTH - len(each))) for each in (a, b))
        return cls(Tiles.of_dense(a).data, Tiles.of_dense(b.T).data, n_panels)

    def told(self, matrix: np.void) -> None:
        """Write what it is into the record of a matrix."""
        matrix["a"], matrix["b"], matrix["rank"] = self.a.data_ptr(), self.b.data_ptr(), self.rank
        matrix["spans"] = 0 if self.spans is None else self.spans.data_ptr()
