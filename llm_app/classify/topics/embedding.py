"""Sentence embeddings as sentence-transformers computes them: the mean (or first) token's output, of length 1.

Source: Reimers and Gurevych 2019, arXiv:1908.10084; the layout of a folder (modules.json, sentence_bert_config.json,
1_Pooling/config.json) as all-MiniLM-L6-v2 has it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from llm_app.classify.encoder import longest
from llm_app.classify.network import Row, batches, padded
from llm_app.config import ModelConfig
from llm_app.engine.loading import choose_device
from llm_app.engine.plain_folder import PlainFolder
from llm_app.engine.turn import BATCH, Turn
from llm_app.engine.weights import CLASSIFIES, read_json
from llm_app.errors import InvalidNumbers, ModelRejected

MEAN, FIRST = "pooling_mode_mean_tokens", "pooling_mode_cls_token"


@dataclass(frozen=True)
class Embeddings:
    """Vectors of length 1 (texts, width) of the texts at `indices`; `n_cut`: how many of them lost their end."""

    indices: tuple[int, ...]
    vectors: NDArray[np.float32]
    n_cut: int


class SentenceEncoder:
    """An encoder whose output stands for a whole text, taking turns with whatever else the machine computes."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, turn: Turn, *, max_length: int,
        takes_first: bool,
    ) -> None:
        self._model, self._tokenizer, self._turn = model, tokenizer, turn
        self.max_length, self._takes_first = max_length, takes_first
        self._pad = int(tokenizer.pad_token_id or 0)

    def embed(self, texts: Sequence[str]) -> Iterator[Embeddings]:
        """Each pass as it is done, texts of like length together; closing stops between two passes.

        Raises: InvalidNumbers if the model gives NaN.
        """
        rows = self._rows(texts)
        for places in batches(rows):
            with self._turn.held(BATCH), torch.inference_mode():
                vectors = self._pooled([rows[place] for place in places]).cpu().numpy()
            if not np.isfinite(vectors).all():
                raise InvalidNumbers("The encoder gave NaN: its weights are damaged.")
            yield Embeddings(tuple(places), vectors, sum(rows[place].n_cut > 0 for place in places))

    def _rows(self, texts: Sequence[str]) -> list[Row]:
        """Without the limit first: what is cut has to be counted."""
        if not texts:
            return []
        options: dict[str, Any] = {"return_attention_mask": False, "return_token_type_ids": False, "verbose": False}
        whole = self._tokenizer(list(texts), **options)["input_ids"]
        cut = self._tokenizer(list(texts), truncation=True, max_length=self.max_length, **options)["input_ids"]
        return [Row(tuple(ids), (), len(all_ids) - len(ids)) for ids, all_ids in zip(cut, whole, strict=True)]

    def _pooled(self, rows: Sequence[Row]) -> Tensor:
        ids, mask = padded(rows, self._pad, self._model.device)
        hidden: Tensor = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        if self._takes_first:
            pooled = hidden[:, 0]
        elif mask is None:
            pooled = hidden.mean(1)
        else:
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(pooled, dim=1)


def open_sentence_encoder(path: Path, turn: Turn) -> SentenceEncoder:
    """The encoder in a folder, on the GPU if there is one; without notes on pooling the mean, up to all positions.

    Raises: ModelNotFound, ModelRejected; also for a way of pooling other than mean and first token.
    """
    folder = PlainFolder(path, CLASSIFIES)
    model, missing = folder.model(AutoModel)
    # Some encoders were trained without a pooler, which has no part in this.
    if lost := [name for name in missing if "pooler." not in name]:
        raise ModelRejected(f"The model's files lack the tensor {lost[0]}.", param="model")
    tokenizer = folder.tokenizer()
    folder.check_vocabulary(model, tokenizer)
    most = longest(model, tokenizer)
    told = _note(path / "sentence_bert_config.json").get("max_seq_length")
    max_length = min(told, most) if isinstance(told, int) and told > 2 else most
    model = model.to(choose_device(ModelConfig(path.name)))
    return SentenceEncoder(model, tokenizer, turn, max_length=max_length, takes_first=_takes_first(path))


def _takes_first(folder: Path) -> bool:
    pooling = _note(folder / "1_Pooling" / "config.json")
    ways = sorted(name for name, is_on in pooling.items() if name.startswith("pooling_mode_") and is_on is True)
    if ways not in ([], [MEAN], [FIRST]):
        raise ModelRejected(f"{folder.name} pools by {', '.join(ways)}; mean and first token are known here.")
    return ways == [FIRST]


def _note(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}
