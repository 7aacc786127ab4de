"""The weights of a model with an adapter's change in them, one tensor at a time."""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from llm_app.config import Settings
from llm_app.engine import placing
from llm_app.engine.adapter_file import LoraPair, read_adapter
from llm_app.engine.adapters import Adapters
from llm_app.engine.catalog import ModelEntry
from llm_app.engine.identity import Identity, digest_files
from llm_app.engine.placing import Piece
from llm_app.engine.sources import Source, open_source
from llm_app.errors import ModelRejected


class MergedWeights:
    """Reads what it is asked for and nothing else: a model larger than memory can be merged."""

    source: Source
    outline: PreTrainedModel
    notes: tuple[str, ...]  # how sure it is that the adapter belongs to this model
    digest: str  # of the model's own weights, as Identity has it

    def __init__(self, entry: ModelEntry, adapter: Path | None, settings: Settings) -> None:
        """Check both.

        Raises: ModelNotFound or ModelRejected if one cannot be read, or the two do not belong together.
        """
        self.source = open_source(entry)
        self.outline = self.source.outline()
        self.notes = ()
        self.digest = digest_files(self.source.files, settings)
        self._pairs: dict[str, LoraPair] = {}
        if adapter is not None:
            identity = Identity(weights=self.digest, adapter="", quantization="", tokenizer="", template="")
            self.notes = Adapters(self.outline, identity).check(adapter)
            self._pairs = read_adapter(adapter).pairs
        self._pieces: dict[str, Piece] = {piece.name: piece for piece in self.source.pieces()}
        self._check_whole()
        self._untie()

    def _check_whole(self) -> None:
        tied = set(getattr(self.outline, "all_tied_weights_keys", None) or ())
        missing = sorted(set(self.outline.state_dict()) - set(self._pieces) - tied)
        if missing:
            raise ModelRejected(f"The model's files lack the tensor {missing[0]}.")

    def _untie(self) -> None:
        """An adapter of the output layer changes the output alone: it no longer shares the table of the embeddings."""
        head, table = self.outline.get_output_embeddings(), self.outline.get_input_embeddings()
        names = {id(module): f"{name}.weight" for name, module in self.outline.named_modules()}
        of_head, of_table = names[id(head)], names[id(table)]
        if of_head not in self._pieces and self.is_changed(of_head):
            self.outline.config.tie_word_embeddings = False
            self._pieces[of_head] = Piece(of_head, self._pieces[of_table].n_bytes, self._pieces[of_table].read)

    @property
    def names(self) -> tuple[str, ...]:
        """Every weight, as the model calls it, in the order of the files."""
        return tuple(self._pieces)

    @property
    def n_parameters(self) -> int:
        """Numbers in all weights."""
        return sum(math.prod(self.shape(name)) for name in self._pieces)

    def shape(self, name: str) -> tuple[int, ...]:
        """As the configuration says; who reads it finds out whether it is true."""
        owner, _, leaf = name.rpartition(".")
        return tuple(getattr(self.outline.get_submodule(owner), leaf).shape)

    def is_changed(self, name: str) -> bool:
        """Whether the adapter touches it."""
        return name.endswith(".weight") and name.removesuffix(".weight") in self._pairs

    def read(self, name: str) -> Tensor:
        """One weight: in float32 where the adapter touches it, else in the type of its file.

        Raises: ModelRejected if it has another shape than the configuration says, or is not finite.
        """
        module, _, leaf = name.rpartition(".")
        owner = self.outline.get_submodule(module)
        tensor = placing.checked(self._pieces[name], owner, leaf)
        if not self.is_changed(name):
            return tensor
        is_transposed = isinstance(owner, Conv1D)
        merged = self._pairs[module].merged(tensor.T if is_transposed else tensor)
        placing.check_finite([(name, merged)])
        return merged.T.contiguous() if is_transposed else merged

    def tensors(self, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
        """All of them in this type, read one by one."""
        for name in self._pieces:
            yield name, self.read(name).to(dtype)
