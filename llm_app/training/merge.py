"""Base and adapter -> one model folder that needs neither."""

from collections.abc import Iterator
from pathlib import Path

import torch

from llm_app import __version__
from llm_app.config import Settings
from llm_app.engine.catalog import ModelEntry
from llm_app.training.merged import MergedWeights
from llm_app.training.model_folder import write_note, write_rest, write_weights
from llm_app.training.new_path import check_allowed, check_free, new_path

PRECISIONS = {"bf16": torch.bfloat16, "fp32": torch.float32}
_SPARE_BYTES = 50_000_000  # tokenizer, configuration, headers


def merge(
    entry: ModelEntry, adapter: Path | None, folder: Path, *, precision: str, settings: Settings,
    room: int | None = None,
) -> Iterator[float]:
    """Write the model with the adapter's change in its weights (the model alone for None); yields the fraction done.

    Closing the iterator, or any failure, leaves nothing behind. `room`: bytes that it may take at most, if there is a
    limit. A change is added in float32 and rounded once.
    Raises: ModelNotFound, ModelRejected, or UserError if `folder` exists or the disk is too small.
    """
    check_free(folder)
    weights = MergedWeights(entry, adapter, settings)
    dtype = PRECISIONS[precision]
    n_bytes = weights.n_parameters * dtype.itemsize
    check_allowed(folder, n_bytes, room)
    with new_path(folder, n_bytes=n_bytes + _SPARE_BYTES) as partial:
        partial.mkdir()
        write_rest(partial, weights.source, weights.outline, dtype)
        for n_done in write_weights(partial, weights.tensors(dtype)):
            yield n_done / n_bytes
        base = {"name": entry.id, "weights": weights.digest}
        write_note(partial, base, adapter=adapter.name if adapter else None, program=f"proofbench {__version__}")
