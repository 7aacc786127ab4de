"""An LSTM over embeddings that are learned from the table alone: the classic first text classifier, as a baseline."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from llm_app.classify.cut import kept_of_pair
from llm_app.classify.folder import WEIGHTS, ClassifierFile, check_tensors, read_vocabulary
from llm_app.classify.network import Row, padded
from llm_app.classify.types import Item
from llm_app.data.audit import words
from llm_app.errors import ModelRejected

PAD, UNKNOWN, BETWEEN = 0, 1, 2  # BETWEEN stands between the two texts of a pair
N_SPECIAL = 3
WIDTH = 128  # of a word, and of the state of each direction
MAX_WORDS = 50_000


def vocabulary_of(items: Iterable[Item], *, least: int = 2) -> tuple[str, ...]:
    """Words that occur at least so often, the most frequent first; as `words` separates them."""
    counts = Counter(word for item in items for text in (item.text, item.pair or "") for word in words(text))
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple(word for word, n in ranked[:MAX_WORDS] if n >= least)


class LstmModel(nn.Module):
    """Embedding, one LSTM in both directions, and a linear layer on the last state of each."""

    def __init__(self, n_words: int, n_labels: int, *, dropout: float = 0.3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(N_SPECIAL + n_words, WIDTH, padding_idx=PAD)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * WIDTH, n_labels)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """(rows, length) and the words of each row, on the CPU -> (rows, labels)."""
        embedded = self.dropout(self.embedding(ids))
        # Packed, so that the state after padding is never computed.
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        _, (states, _) = self.lstm(packed)
        logits: Tensor = self.head(self.dropout(torch.cat((states[0], states[1]), -1)))
        return logits


class LstmNetwork:
    """The model with its vocabulary."""

    def __init__(self, module: LstmModel, vocabulary: Sequence[str], max_length: int) -> None:
        self.module: nn.Module = module
        self.vocabulary = tuple(vocabulary)
        self._ids = {word: number for number, word in enumerate(vocabulary, N_SPECIAL)}
        self._max_length = max_length

    def rows(self, items: Sequence[Item]) -> list[Row]:
        """Words as numbers; of a text beyond `max_length` words the end is cut, of a pair the longer one's."""
        return [self._row(item) for item in items]

    def logits(self, rows: Sequence[Row]) -> Tensor:
        """(rows, labels)."""
        device = next(self.module.parameters()).device
        ids, _ = padded(rows, PAD, device)
        logits: Tensor = self.module(ids, torch.tensor([len(row.ids) for row in rows]))
        return logits.float()

    def _row(self, item: Item) -> Row:
        ids = self._numbers(item.text)
        if item.pair is None:
            kept = ids[: self._max_length]
            # A text without a word still is a row.
            return Row(tuple(kept or [UNKNOWN]), n_cut=len(ids) - len(kept))
        seconds = self._numbers(item.pair)
        n_first, n_second = kept_of_pair(len(ids), len(seconds), self._max_length - 1)
        n_cut = len(ids) + len(seconds) - n_first - n_second
        return Row((*ids[:n_first], BETWEEN, *seconds[:n_second]), n_cut=n_cut)

    def _numbers(self, text: str) -> list[int]:
        return [self._ids.get(word, UNKNOWN) for word in words(text)]


def open_lstm(folder: Path, file: ClassifierFile, device: torch.device) -> LstmNetwork:
    """The network in a classifier's folder. Raises: ModelRejected."""
    vocabulary = read_vocabulary(folder).get("words")
    if not isinstance(vocabulary, list) or not all(isinstance(word, str) for word in vocabulary):
        raise ModelRejected("The classifier cannot be used: its vocabulary is no list of words.")
    if len(set(vocabulary)) < len(vocabulary) or len(vocabulary) > MAX_WORDS:
        raise ModelRejected("The classifier cannot be used: its vocabulary repeats a word, or is too long.")
    module = LstmModel(len(vocabulary), len(file.labels))
    check_tensors(folder, {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()})
    module.load_state_dict(load_file(folder / WEIGHTS))
    return LstmNetwork(module.to(device).eval(), vocabulary, file.max_length)
