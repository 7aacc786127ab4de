"""Classifiers that are neural networks: rows of tokens in, logits out, many rows a pass and hardly any padding."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from llm_app.classify.folder import ClassifierFile
from llm_app.classify.types import Item, Kind, Outcome, Prediction, Unclassified
from llm_app.engine.failures import is_out_of_memory
from llm_app.engine.turn import BATCH, Turn
from llm_app.errors import UserError
from llm_app.options import Text

BUDGET_TOKENS = 2_048  # of one pass, padding counted; a chat waits no longer than for this
MOST_PADDING = 0.1  # share of the longest row that the shortest one of a pass may lack
CHUNK_ITEMS = 2_048  # read at once: enough that rows of like length find each other
INVALID = "The classifier gave NaN.", "分类器给出了 NaN。"
NO_MEMORY = "There is not enough memory for this text.", "内存不足，无法处理这条文本。"


@dataclass(frozen=True)
class Row:
    """An item as a network reads it. `kinds`: for each token, which text it is of, where the network wants to know.

    `n_cut`: tokens that were left out.
    """

    ids: tuple[int, ...]
    kinds: tuple[int, ...] = ()
    n_cut: int = 0


class Network(Protocol):
    """A model with a head, and how it reads text. `module` holds all weights, trained or not."""

    module: nn.Module

    def rows(self, items: Sequence[Item]) -> list[Row]:
        """Every item as tokens, at least one each, and no more than the network takes."""
        ...

    def logits(self, rows: Sequence[Row]) -> Tensor:
        """(rows, labels) in float32. Equally long rows are not padded, and no row sees another's padding."""
        ...


def batches(rows: Sequence[Row], budget_tokens: int = BUDGET_TOKENS) -> list[list[int]]:
    """Which rows go through together, by their places: of like length, longest first, so that memory fails early."""
    found: list[list[int]] = []
    n_longest = 0
    for place in sorted(range(len(rows)), key=lambda place: (-len(rows[place].ids), place)):
        n = len(rows[place].ids)
        is_alike = n >= (1 - MOST_PADDING) * n_longest
        if found and is_alike and (len(found[-1]) + 1) * n_longest <= budget_tokens:
            found[-1].append(place)
        else:
            found.append([place])
            n_longest = n
    return found


def padded(rows: Sequence[Row], pad: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Ids (rows, length), padded on the right, and the mask of what is text; no mask where all is."""
    ids, is_whole = _stacked([row.ids for row in rows], pad, device)
    if is_whole:
        return ids, None
    lengths = torch.tensor([len(row.ids) for row in rows], device=device)
    return ids, (torch.arange(ids.shape[1], device=device) < lengths[:, None]).long()


def padded_kinds(rows: Sequence[Row], device: torch.device) -> Tensor | None:
    """Which text each token is of: (rows, length), or None where no row says so."""
    return _stacked([row.kinds for row in rows], 0, device)[0] if rows[0].kinds else None


def _stacked(lines: Sequence[tuple[int, ...]], pad: int, device: torch.device) -> tuple[Tensor, bool]:
    n = max(map(len, lines))
    is_whole = min(map(len, lines)) == n
    return torch.tensor([(*line, *(pad,) * (n - len(line))) for line in lines], device=device), is_whole


def probabilities(kind: Kind, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """What `Prediction.scores` holds, from (rows, labels); in float64, so that those of a row sum to 1."""
    if kind == "regression":
        return logits.double()
    scaled = logits.double() / temperature
    return scaled.softmax(-1) if kind == "single" else scaled.sigmoid()


class NetworkClassifier:
    """Classifies with a network, taking turns with whatever else the machine computes.

    `identity`: digests of its files. `is_strict`: a text that is too long is refused instead of cut.
    """

    def __init__(
        self, network: Network, file: ClassifierFile, identity: Mapping[str, Any], turn: Turn, *,
        is_strict: bool = False,
    ) -> None:
        self.network, self.file = network, file
        self._identity, self._is_strict = identity, is_strict
        self.turn = turn

    @property
    def kind(self) -> Kind:
        """What it predicts."""
        return self.file.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the scores."""
        return self.file.labels

    def identity(self) -> Mapping[str, Any]:
        """Its method, labels and digests."""
        file = self.file
        return {
            "method": file.method, "kind": file.kind, "labels": list(file.labels), "max_length": file.max_length,
            "temperature": file.temperature, "strict": self._is_strict, **self._identity,
        }  # fmt: skip

    def predict(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """One outcome an item; closing stops between two passes."""
        for first in range(0, len(items), CHUNK_ITEMS):
            chunk = items[first : first + CHUNK_ITEMS]
            if self.file.is_pair and any(item.pair is None for item in chunk):
                raise UserError("This classifier reads pairs: give the second text too, or its column.", param="pair")
            rows = self.network.rows(chunk)
            asked: list[tuple[int, Row]] = []
            for index, row in enumerate(rows, first):
                if row.n_cut and self._is_strict:
                    yield Unclassified(index, *too_long(row.n_cut))
                else:
                    asked.append((index, row))
            for places in batches([row for _, row in asked]):
                yield from self._pass([asked[place] for place in places])

    def _pass(self, asked: Sequence[tuple[int, Row]]) -> Iterator[Outcome]:
        """What does not fit in memory is halved, not lost."""
        scores = self._scores([row for _, row in asked])
        if scores is None and len(asked) > 1:
            middle = len(asked) // 2
            yield from self._pass(asked[:middle])
            yield from self._pass(asked[middle:])
            return
        for number, (index, row) in enumerate(asked):
            if scores is None:
                yield Unclassified(index, *NO_MEMORY)
            elif all(map(math.isfinite, scores[number])):
                yield Prediction(index, tuple(scores[number]), row.n_cut)
            else:
                yield Unclassified(index, *INVALID)

    def _scores(self, rows: Sequence[Row]) -> list[list[float]] | None:
        """One list a row, or None where memory does not suffice."""
        try:
            with self.turn.held(BATCH), torch.inference_mode():
                logits = self._logits(rows)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            error.__traceback__ = None  # nothing of the failed pass may stay while smaller ones run
            return None
        scores: list[list[float]] = probabilities(self.kind, logits, self.file.temperature).tolist()
        return scores

    def _logits(self, rows: Sequence[Row]) -> Tensor:
        """Of one pass, while it has the turn."""
        return self.network.logits(rows)


def too_long(n_cut: int) -> Text:
    """Why a text is refused that would have to be cut."""
    return (
        f"The text has {n_cut:,} tokens more than the classifier reads, and nothing may be cut (strict).",
        f"文本比分类器能读的多 {n_cut:,} 个词元，而此处不许截断（strict）。",
    )
