"""BERT-like encoders that tag words: the first piece of a word carries the word's tag.

Source: Devlin et al. 2019 (BERT), section 5.3, arXiv:1810.04805.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForTokenClassification, PreTrainedModel, PreTrainedTokenizerBase

from llm_app.classify.encoder import longest
from llm_app.classify.entities.decode import Decoder, types_of
from llm_app.classify.entities.folder import Method
from llm_app.classify.entities.types import Tagging
from llm_app.classify.network import CHUNK_ITEMS, Row, batches, padded
from llm_app.data.conll import OUTSIDE, as_bio
from llm_app.data.types import RowRefused
from llm_app.engine.plain_folder import PlainFolder, write_plain
from llm_app.engine.turn import BATCH, Turn
from llm_app.errors import InvalidNumbers, ModelRejected

NO_HEAD = "{name}: this model has no trained head for named entities. Train one: classify entities train."
PROBE = ("in", "Paris", "it's", "1st")


@dataclass(frozen=True)
class WordRow(Row):
    """A sentence as an encoder reads it; `n_cut` counts words.

    `firsts`: where each word's first piece stands, -1 for words that are cut, or of which the tokenizer keeps nothing.
    `n_unknown`: words with a piece that the vocabulary does not hold.
    """

    firsts: tuple[int, ...] = ()
    n_unknown: int = 0


class TaggerNetwork:
    """A transformers model for token classification with its tokenizer. `max_length`: tokens, special ones too."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        self.module: nn.Module = model
        self.model, self.tokenizer, self.max_length = model, tokenizer, max_length
        self._pad = int(tokenizer.pad_token_id or 0)
        self._before = _before_words(tokenizer)

    @property
    def labels(self) -> tuple[str, ...]:
        """Tags in the order of the logits."""
        return tuple(str(self.model.config.id2label[number]) for number in range(self.model.config.num_labels))

    @property
    def head(self) -> nn.Linear:
        """The layer that gives the logits."""
        n_labels = self.model.config.num_labels
        layers = [layer for layer in self.module.modules() if isinstance(layer, nn.Linear)]
        return [layer for layer in layers if layer.out_features == n_labels][-1]

    def rows(self, sentences: Sequence[Sequence[str]]) -> list[WordRow]:
        """The pieces of each sentence, none of which may be without words."""
        if not sentences:
            return []
        encoded = self.tokenizer(
            [[self._before + word for word in words] for words in sentences], is_split_into_words=True,
            truncation=True, max_length=self.max_length, return_attention_mask=False, return_token_type_ids=False,
            verbose=False,
        )  # fmt: skip
        return [
            self._row(ids, encoded.word_ids(number), len(words))
            for number, (ids, words) in enumerate(zip(encoded["input_ids"], sentences, strict=True))
        ]

    def _row(self, ids: Sequence[int], word_of: Sequence[int | None], n_words: int) -> WordRow:
        firsts = [-1] * n_words
        unknown: set[int] = set()
        last = -1
        for place, (piece, word) in enumerate(zip(ids, word_of, strict=True)):
            if word is None:
                continue
            if firsts[word] < 0:
                firsts[word] = place
            if piece == self.tokenizer.unk_token_id:
                unknown.add(word)
            last = word
        n_cut = n_words - 1 - last if len(ids) >= self.max_length else 0
        return WordRow(tuple(ids), (), n_cut, tuple(firsts), len(unknown))

    def logits(self, rows: Sequence[Row]) -> Tensor:
        """(rows, length, labels) in float32."""
        ids, mask = padded(rows, self._pad, next(self.module.parameters()).device)
        logits: Tensor = self.module(input_ids=ids, attention_mask=mask).logits
        return logits.float()


class EncoderTagger:
    """Finds entities with an encoder, taking turns with whatever else the machine computes.

    `follows_bio`: see `Decoder`; `learned`: see `Tagger`.
    """

    method: Method = "encoder"

    def __init__(
        self, network: TaggerNetwork, turn: Turn, *, follows_bio: bool, learned: frozenset[str] = frozenset()
    ) -> None:
        self.network, self.learned = network, learned
        self._turn = turn
        self._decoder = Decoder(network.labels, follows_bio=follows_bio)

    @property
    def types(self) -> tuple[str, ...]:
        """All types of entities, in the order of the labels."""
        return types_of(self.network.labels)

    @property
    def max_length(self) -> int:
        """Tokens that are read of a sentence."""
        return self.network.max_length

    def tag(self, sentences: Sequence[Sequence[str]]) -> Iterator[Tagging]:
        """One tagging a sentence, those of like length together; closing stops between two passes.

        Raises: InvalidNumbers if the model gives NaN.
        """
        for first in range(0, len(sentences), CHUNK_ITEMS):
            chunk = range(first, min(first + CHUNK_ITEMS, len(sentences)))
            asked = [index for index in chunk if sentences[index]]
            yield from (Tagging(index, (), ()) for index in chunk if not sentences[index])
            rows = self.network.rows([sentences[index] for index in asked])
            for places in batches(rows):
                passed = [rows[place] for place in places]
                with self._turn.held(BATCH), torch.inference_mode():
                    logits = self.network.logits(passed)
                yield from self.read([asked[place] for place in places], passed, logits)

    def read(self, indices: Sequence[int], rows: Sequence[WordRow], logits: Tensor) -> Iterator[Tagging]:
        """The taggings of sentences that went through the network together: logits (rows, length, labels).

        Raises: InvalidNumbers for NaN.
        """
        found = logits.double().log_softmax(-1).cpu().numpy()
        for index, row, log_probabilities in zip(indices, rows, found, strict=True):
            yield self._tagging(index, row, log_probabilities)

    def _tagging(self, index: int, row: WordRow, log_probabilities: Any) -> Tagging:
        if not np.isfinite(log_probabilities[: len(row.ids)]).all():
            raise InvalidNumbers("The tagger gave NaN: its weights are damaged.")
        places = np.array(row.firsts)
        of_words = log_probabilities[places]
        # Nobody looked at these words: they are no entity, and none goes on behind them.
        of_words[places < 0] = np.where(np.array(self.network.labels) == OUTSIDE, 0.0, -np.inf)
        tags, chances = self._decoder.tags(of_words)
        seen = tuple(0.0 if place < 0 else chance for place, chance in zip(row.firsts, chances, strict=True))
        return Tagging(index, tags, seen, row.n_cut, row.n_unknown)

    def save(self, folder: Path) -> None:
        """A plain transformers folder; tagger.json is for whoever knows the rest."""
        write_plain(folder, self.network.model, self.network.tokenizer)


def open_network(folder: PlainFolder, max_length: int | None, device: torch.device, *, name: str) -> TaggerNetwork:
    """The network in a folder with a trained head; `name`: what a person calls it.

    Raises: ModelRejected if there is none, or its labels are no tags of entities.
    """
    model, missing = folder.model(AutoModelForTokenClassification)
    is_tagger = any(str(kind).endswith("ForTokenClassification") for kind in folder.config.architectures or ())
    if missing or not is_tagger:
        raise ModelRejected(NO_HEAD.format(name=name), param="model")
    network = _network(folder, model, max_length, device)
    try:
        as_bio(network.labels)
    except RowRefused as refused:
        raise ModelRejected(f"{name} does not find entities: {refused.reason}.", param="model") from None
    if OUTSIDE not in network.labels:
        raise ModelRejected(f"{name} does not find entities: it has no label {OUTSIDE}.", param="model")
    return network


def new_network(folder: PlainFolder, labels: Sequence[str], max_length: int, device: torch.device) -> TaggerNetwork:
    """An encoder with a new head, which nobody may be shown before it is trained; torch's seed decides its weights.

    Raises: ModelRejected if the encoder itself is not whole.
    """
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: number for number, label in enumerate(labels)}}
    model, missing = folder.model(AutoModelForTokenClassification, names)
    if lost := [name for name in missing if name.startswith(f"{model.base_model_prefix}.")]:
        raise ModelRejected(f"The model's files lack the tensor {lost[0]}.", param="model")
    return _network(folder, model, max_length, device)


def _network(
    folder: PlainFolder, model: PreTrainedModel, max_length: int | None, device: torch.device
) -> TaggerNetwork:
    tokenizer = folder.tokenizer()
    folder.check_vocabulary(model, tokenizer)
    most = longest(model, tokenizer)
    return TaggerNetwork(model.to(device), tokenizer, min(max_length or most, most))


def _before_words(tokenizer: PreTrainedTokenizerBase) -> str:
    """What is put before each word so that it is read as inside a sentence: a space, if that is part of its pieces.

    Byte-level tokenizers have two pieces of a word, with a space before it and without.
    Raises: ModelRejected if words by themselves cannot be read so.
    """
    options: dict[str, Any] = {"add_special_tokens": False, "verbose": False}
    for before in ("", " "):
        words = tokenizer([before + word for word in PROBE], is_split_into_words=True, **options)
        if words.input_ids == tokenizer(before + " ".join(PROBE), **options).input_ids:
            return before
    raise ModelRejected("The model's tokenizer has other pieces of words by themselves than in text.", param="model")
