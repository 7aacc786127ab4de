"""An embedding that looks its rows up in the model file."""

import os
import threading
import weakref
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from llm_app.engine.compiled.products import GROUP
from llm_app.errors import GenerationFailed


class BlockEmbedding(nn.Embedding):
    """An embedding whose Q8_0 table stays in the model file; a lookup reads only the rows it needs.

    Read through the file, not a memory map: a file cut short while it is mapped would kill the process.
    """

    def __init__(self, path: Path, start: int, shape: tuple[int, int], dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.num_embeddings, self.embedding_dim = shape
        self.padding_idx = self.max_norm = None
        self.norm_type, self.scale_grad_by_freq, self.sparse = 2.0, False, False
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        self._start, self._row_bytes = start, shape[1] // GROUP * (GROUP + 2)
        self._dtype, self._stamp, self._lock = dtype, self._file_stamp(), threading.Lock()

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The dense table, read from the file: for adapters and tests."""
        return self.forward(torch.arange(self.num_embeddings))

    def forward(self, input: Tensor) -> Tensor:
        """Rows of the table, in the model's dtype."""
        asked = input.flatten().tolist()
        places = {token: place for place, token in enumerate(dict.fromkeys(asked))}
        blocks = self._read(list(places)).reshape(len(places), -1, GROUP + 2)
        scale = np.ascontiguousarray(blocks[..., :2]).view(np.float16).astype(np.float32)
        rows = torch.from_numpy((blocks[..., 2:].view(np.int8) * scale).reshape(len(places), self.embedding_dim))
        rows = rows.to(self._dtype)
        if len(asked) > 1:
            rows = rows[[places[token] for token in asked]]
        return rows.view(*input.shape, self.embedding_dim)

    def _read(self, ids: list[int]) -> np.ndarray:
        with self._lock:
            if self._file_stamp() != self._stamp:
                raise GenerationFailed("The model file was changed while the model was loaded. Load it again.")
            parts = []
            for row in ids:
                self._file.seek(self._start + row * self._row_bytes)
                parts.append(self._file.read(self._row_bytes))
        return np.frombuffer(b"".join(parts), np.uint8)

    def _file_stamp(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns
