"""Training an encoder to tag words: an iterator of events. The weights with the best span F1 are kept.

In the manner of `llm_app.classify.training.loop`, whose loss and score are of rows and not of words.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from eval.metrics.seqeval.score import seqeval
from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.entities.encoder import EncoderTagger, TaggerNetwork, WordRow
from llm_app.classify.network import Network
from llm_app.classify.training.batches import Batches, passes
from llm_app.classify.training.events import Point
from llm_app.classify.training.learner import Learner
from llm_app.classify.training.loop import CHECK_TOKENS, MAX_GRADIENT_NORM, N_CURVE, PASS_TOKENS
from llm_app.data.conll import TaggedSentence
from llm_app.engine.turn import Turn
from llm_app.training.events import Note, Step
from llm_app.training.optim import AdamW, clip, rate_at
from llm_app.training.processes import peak_memory_bytes
from llm_app.training.product import mixed
from llm_app.training.trainer import N_VALIDATIONS, TrainingDiverged

NO_TAG = -100  # of positions that carry no tag; cross-entropy's usual mark
Told = Step | Point | Note


@dataclass(frozen=True)
class _Part:
    """Sentences as the network reads them, and for each the (position, label) of the words that it reads."""

    rows: list[WordRow]
    wanted: list[list[tuple[int, int]]]
    tags: list[list[str]]


class TaggerTrainer:
    """One training run. `dtype`: what passes through the network, None to compute in float32."""

    def __init__(
        self, network: TaggerNetwork, config: EntityConfig, train: Sequence[TaggedSentence],
        validation: Sequence[TaggedSentence], *, dtype: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        self._config, self._network = config, network
        self._train, self._validation = self._part(train), self._part(validation)
        # Spread over the sentences: a corpus is often sorted.
        step = max(1, len(train) // min(N_CURVE, max(len(validation), 1)))
        self._shown = self._part(train[::step])
        # It asks a network for logits alone; what the rows are made of is nothing to it.
        self._learner = Learner(
            cast(Network, network), network.module.named_parameters(), network.head, dtype=dtype
        )
        self._optimizer = AdamW(self._learner.weights, config.weight_decay)
        self._batches = Batches([len(row.ids) for row in self._train.rows], config.batch_size, config.seed)
        self.n_steps = self._batches.n_steps(config.epochs)
        self._tagger = EncoderTagger(network, {}, Turn(), follows_bio=True)
        self._step, self._n_stale = 0, 0
        self.best_step: int | None = None
        self._best: tuple[float, float] = (-math.inf, -math.inf)  # span F1, and less loss of equal ones
        self._best_weights: Tensor | None = None

    @property
    def n_cut(self) -> int:
        """Words of the sentences to train on that are beyond the cut-off length."""
        return sum(row.n_cut for row in self._train.rows)

    @property
    def n_unknown(self) -> int:
        """Words of the sentences to train on that the vocabulary does not hold."""
        return sum(row.n_unknown for row in self._train.rows)

    def run(self) -> Iterator[Told]:
        """Train to the end, and leave the best weights.

        Raises: TrainingDiverged.
        """
        yield from self._validated()
        while self._step < self.n_steps and not self._has_lost_patience:
            yield self._one_step()
            yield from self._validated()
        if self._best_weights is not None:
            self._learner.weights.flat.copy_(self._best_weights)
        self._learner.trains(False)

    @property
    def _has_lost_patience(self) -> bool:
        return 0 < self._config.patience <= self._n_stale

    def _part(self, sentences: Sequence[TaggedSentence]) -> _Part:
        number = {label: place for place, label in enumerate(self._network.labels)}
        rows = self._network.rows([sentence.tokens for sentence in sentences])
        wanted = [
            [(first, number[tag]) for first, tag in zip(row.firsts, sentence.tags, strict=True) if first >= 0]
            for row, sentence in zip(rows, sentences, strict=True)
        ]
        return _Part(rows, wanted, [list(sentence.tags) for sentence in sentences])

    def _one_step(self) -> Step:
        started = time.perf_counter()
        places = self._batches.rows(self._step)
        rows = [self._train.rows[place] for place in places]
        wanted = [self._train.wanted[place] for place in places]
        rate = rate_at(self._step, self.n_steps, self._config)
        loss = self._gradients(rows, wanted)
        norm = clip(self._learner.weights.gradient, MAX_GRADIENT_NORM)
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise TrainingDiverged(
                f"The loss or its gradient became NaN or infinite at step {self._step + 1}, with learning rate"
                f" {rate:.2g}. Lower the learning rate.", param="peak_rate",
            )  # fmt: skip
        self._optimizer.step(rate)
        self._step += 1
        return Step(
            step=self._step, n_steps=self.n_steps, epoch=round(self._step / self._batches.n_an_epoch, 4), loss=loss,
            learning_rate=rate, gradient_norm=norm, n_tokens=sum(len(row.ids) for row in rows),
            n_trained_tokens=sum(map(len, wanted)), seconds=time.perf_counter() - started,
            memory_bytes=peak_memory_bytes(self._learner.weights.flat.device),
        )  # fmt: skip

    def _gradients(self, rows: Sequence[WordRow], wanted: Sequence[list[tuple[int, int]]]) -> float:
        """Fill the gradient of the mean loss over the words of these sentences; gives that mean."""
        self._learner.weights.gradient.zero_()
        self._learner.trains(True)
        total, n_words = 0.0, max(1, sum(map(len, wanted)))
        for places in passes([len(row.ids) for row in rows], PASS_TOKENS):
            part = slice(places.start, places.stop)
            logits = self._learner.logits(rows[part], mixed(self._config.seed, self._step, places.start))
            loss = _loss(logits, wanted[part]) / n_words
            loss.backward()
            total += loss.item()
        return total

    def _validated(self) -> Iterator[Told]:
        """Validate if it is due, and keep the weights if they are the best."""
        every = math.ceil(self.n_steps / N_VALIDATIONS)
        is_last = self._step >= self.n_steps
        if not self._validation.rows or not (is_last or self._step % every == 0):
            return
        (loss, found), (training_loss, training_f1) = self._checked(self._validation), self._checked(self._shown)
        is_gain = (found, -loss) > self._best
        self._n_stale = 0 if is_gain else self._n_stale + 1
        if is_gain:
            self._best, self.best_step = (found, -loss), self._step
            self._best_weights = self._learner.weights.flat.clone()
        yield Point(self._step, "span_f1", loss, found, training_loss, training_f1, len(self._validation.rows))
        if self._has_lost_patience and not is_last:
            text = f"No gain in {self._n_stale} validations: stopped. The best was after step {self.best_step}."
            yield Note(self._step, "stopped_early", text)

    @torch.no_grad()
    def _checked(self, part: _Part) -> tuple[float, float]:
        """Mean loss of a word, and span F1."""
        self._learner.trains(False)
        order = sorted(range(len(part.rows)), key=lambda place: len(part.rows[place].ids))
        total, tags = 0.0, dict[int, tuple[str, ...]]()
        for chosen in passes([len(part.rows[place].ids) for place in order], CHECK_TOKENS):
            places = order[chosen.start : chosen.stop]
            rows = [part.rows[place] for place in places]
            logits = self._learner.logits(rows, 0)
            total += float(_loss(logits, [part.wanted[place] for place in places]))
            tags |= {tagging.index: tagging.tags for tagging in self._tagger.read(places, rows, logits)}
        n_words = max(1, sum(map(len, part.wanted)))
        return total / n_words, seqeval([list(tags[place]) for place in range(len(part.rows))], part.tags)["f1"]


def _loss(logits: Tensor, wanted: Sequence[Sequence[tuple[int, int]]]) -> Tensor:
    """Sum of the cross-entropy over words: (rows, length, labels), and the (position, label) of each row's words."""
    targets = torch.full(logits.shape[:2], NO_TAG)
    for row, words in enumerate(wanted):
        for position, label in words:
            targets[row, position] = label
    return functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten().to(logits.device), ignore_index=NO_TAG, reduction="sum"
    )
