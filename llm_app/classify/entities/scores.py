"""Span scores of a tagger, with 95 % intervals by the bootstrap over sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.metrics.seqeval.score import seqeval
from eval.statistics.intervals import Interval, bootstrap_interval
from eval.statistics.resampling import Array
from llm_app.classify.entities.types import Tagging
from llm_app.data.conll import entities_of


@dataclass(frozen=True)
class SpanScore:
    """Precision, recall and F1 of entities whose type and both ends are right; `support`: how many there are."""

    precision: Interval
    recall: Interval
    f1: Interval
    support: int


@dataclass(frozen=True)
class EntityScores:
    """Over all entities (micro), and for each type; `accuracy`: of single tags.

    `n_cut`: words that were not read and count as O; `n_unknown`: words that the vocabulary does not hold.
    `n_learned`: sentences that the tagger is known to have learned from, on which it looks better than it is.
    """

    all: SpanScore
    by_type: dict[str, SpanScore]
    accuracy: float
    n_sentences: int
    n_words: int
    n_cut: int
    n_unknown: int
    n_learned: int


def score(references: Sequence[Sequence[str]], taggings: Sequence[Tagging], *, n_learned: int = 0) -> EntityScores:
    """Scores of the taggings, in any order, against tags in BIO, one sequence a sentence; the figures are seqeval's.

    An interval has NaN ends where there are fewer than five sentences.
    """
    ordered = sorted(taggings, key=lambda tagging: tagging.index)
    predictions = [list(tagging.tags) for tagging in ordered]
    found = seqeval(predictions, [list(tags) for tags in references])
    counts = _counts(predictions, references)
    return EntityScores(
        _span_score(np.sum(list(counts.values()), axis=0) if counts else np.zeros((len(predictions), 3))),
        {kind: _span_score(counts[kind]) for kind in sorted(counts)},
        found["accuracy"], len(predictions), sum(map(len, predictions)),
        sum(tagging.n_cut for tagging in ordered), sum(tagging.n_unknown for tagging in ordered),
        n_learned,
    )  # fmt: skip


def _counts(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> dict[str, Array]:
    """For each type (sentences, 3): entities that are right, that were found, that there are."""
    counts: dict[str, Array] = {}
    for row, pair in enumerate(zip(predictions, references, strict=True)):
        found, wanted = (set(entities_of(tags)) for tags in pair)
        for column, entities in enumerate((found & wanted, found, wanted)):
            for _, _, kind in entities:
                counts.setdefault(kind, np.zeros((len(predictions), 3)))[row, column] += 1
    return counts


def _span_score(counts: Array) -> SpanScore:
    def interval(over: Array) -> Interval:
        return bootstrap_interval(counts @ over, statistic=_ratio)

    # Columns of `over`: what is divided, and by what; F1 is 2 * right / (found + wanted).
    return SpanScore(
        interval(np.array([[1, 0], [0, 1], [0, 0]])), interval(np.array([[1, 0], [0, 0], [0, 1]])),
        interval(np.array([[2, 0], [0, 1], [0, 1]])), int(counts[:, 2].sum()),
    )  # fmt: skip


def _ratio(totals: Array) -> Array:
    """0 where nothing is divided by nothing, as seqeval has it."""
    return np.divide(totals[..., 0], totals[..., 1], out=np.zeros_like(totals[..., 0]), where=totals[..., 1] > 0)
