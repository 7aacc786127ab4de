"""An embedding that keeps its table in the file's blocks."""

import numpy as np
import torch
from torch import Tensor, nn

from llm_app.engine.compiled.products import GROUP

_SCALE_BYTES = 2


class BlockEmbedding(nn.Embedding):
    """An embedding whose Q8_0 table is kept as it is in the file; a lookup makes numbers of the rows it needs."""

    blocks: Tensor  # uint8 (vocabulary, groups, 34): a scale in float16, then 32 whole numbers of 8 bits

    def __init__(self, rows: np.ndarray, dtype: torch.dtype) -> None:
        """`rows`: uint8 (vocabulary, bytes of a row)."""
        nn.Module.__init__(self)
        blocks = torch.from_numpy(rows.reshape(len(rows), -1, _SCALE_BYTES + GROUP).copy())
        self.num_embeddings, self.embedding_dim = len(rows), blocks.shape[1] * GROUP
        self.padding_idx = self.max_norm = None
        self.norm_type, self.scale_grad_by_freq, self.sparse = 2.0, False, False
        self._dtype = dtype
        self.register_buffer("blocks", blocks, persistent=False)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The dense table: for adapters and tests."""
        return self.forward(torch.arange(self.num_embeddings))

    def forward(self, input: Tensor) -> Tensor:
        """Rows of the table, in the model's dtype."""
        blocks = self.blocks[input]
        scales = blocks[..., :_SCALE_BYTES].contiguous().view(torch.float16).float()
        rows = (blocks[..., _SCALE_BYTES:].view(torch.int8) * scales).to(self._dtype)
        return rows.view(*input.shape, self.embedding_dim)
