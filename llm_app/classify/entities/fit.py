"""Training an encoder to tag words: the loop that trains classifiers asks it for tags, and span F1 chooses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from eval.metrics.seqeval.score import seqeval
from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.entities.encoder import EncoderTagger, TaggerNetwork, WordRow
from llm_app.classify.network import Network, Row
from llm_app.classify.training.learner import Learner
from llm_app.classify.training.loop import Loop, Part, by_length, for_the_curve
from llm_app.data.conll import TaggedSentence
from llm_app.engine.turn import Turn

NO_TAG = -100  # of positions that carry no tag; cross-entropy's usual mark
METRIC = "span_f1"


@dataclass(frozen=True)
class _Wanted:
    """The tags of a sentence, and (position, label) of those of its words that the network reads."""

    tags: Sequence[str]
    targets: Sequence[tuple[int, int]]


class TaggerTrainer(Loop):
    """One training run. `dtype`: what passes through the network, None to compute in float32."""

    def __init__(
        self, network: TaggerNetwork, config: EntityConfig, train: Sequence[TaggedSentence],
        validation: Sequence[TaggedSentence], *, dtype: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        self._number = {label: place for place, label in enumerate(network.labels)}
        self._tagger = EncoderTagger(network, Turn(), follows_bio=True)
        self._rows = network.rows([sentence.tokens for sentence in train])
        self._wanted = self._wanted_of(self._rows, train)
        # It asks a network for logits alone; what the rows are made of is nothing to it.
        learner = Learner(cast(Network, network), network.module.named_parameters(), network.head, dtype=dtype)
        super().__init__(learner, config, [len(row.ids) for row in self._rows], METRIC)
        held = network.rows([sentence.tokens for sentence in validation])
        self._validation = _part(held, self._wanted_of(held, validation))
        shown = for_the_curve(len(train), len(validation))
        self._shown = _part([self._rows[place] for place in shown], [self._wanted[place] for place in shown])

    @property
    def tagger(self) -> EncoderTagger:
        """What it trains, as it is now; without dropout once `learner.trains(False)` was said."""
        return self._tagger

    @property
    def n_cut(self) -> int:
        """Words of the sentences to train on that are beyond the cut-off length."""
        return sum(row.n_cut for row in self._rows)

    @property
    def n_unknown(self) -> int:
        """Words of the sentences to train on that the vocabulary does not hold."""
        return sum(row.n_unknown for row in self._rows)

    @property
    def validation(self) -> Part:
        """Sentences held back."""
        return self._validation

    @property
    def shown(self) -> Part:
        """Sentences of the learning curve."""
        return self._shown

    def batch(self, places: Sequence[int], epoch: int) -> Part:
        """The sentences at these places, the same in each epoch."""
        return _whole([self._rows[place] for place in places], [self._wanted[place] for place in places])

    def loss(self, logits: Tensor, wanted: Sequence[_Wanted]) -> Tensor:
        """Sum of the cross-entropy over words: logits (rows, length, labels)."""
        targets = torch.full(logits.shape[:2], NO_TAG)
        for row, each in enumerate(wanted):
            for position, label in each.targets:
                targets[row, position] = label
        return functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten().to(logits.device), ignore_index=NO_TAG, reduction="sum"
        )

    def read(self, rows: Sequence[Row], logits: Tensor) -> Sequence[tuple[str, ...]]:
        """The tags of each sentence."""
        found = self._tagger.read(range(len(rows)), cast(Sequence[WordRow], rows), logits)
        return [tagging.tags for tagging in found]

    def score(self, found: Sequence[tuple[str, ...]], part: Part) -> float:
        """Span F1 over all sentences."""
        return seqeval([list(tags) for tags in found], [list(each.tags) for each in part.wanted])["f1"]

    def _wanted_of(self, rows: Sequence[WordRow], sentences: Sequence[TaggedSentence]) -> list[_Wanted]:
        return [
            _Wanted(sentence.tags, [
                (first, self._number[tag]) for first, tag in zip(row.firsts, sentence.tags, strict=True) if first >= 0
            ])
            for row, sentence in zip(rows, sentences, strict=True)
        ]  # fmt: skip


def _part(rows: Sequence[WordRow], wanted: Sequence[_Wanted]) -> Part:
    order = by_length(rows)
    return _whole([rows[place] for place in order], [wanted[place] for place in order])


def _whole(rows: Sequence[WordRow], wanted: Sequence[_Wanted]) -> Part:
    """The loss is the mean over words."""
    n_words = sum(len(each.targets) for each in wanted)
    return Part(rows, wanted, float(max(1, n_words)), n_words)
