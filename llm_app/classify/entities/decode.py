"""From the probabilities of tags to the likeliest tags that make sense together, and to spans.

Source: Viterbi 1967, doi:10.1109/TIT.1967.1054010; over words whose tags are independent but for what BIO rules out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_app.classify.entities.types import Span, Tagging
from llm_app.data.conll import OUTSIDE, as_bio, entities_of

Array = NDArray[np.floating[Any]]


def bio_labels(types: Sequence[str]) -> tuple[str, ...]:
    """All tags of these types: O, then beginning and middle of each."""
    return (OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in "BI"))


def types_of(labels: Sequence[str]) -> tuple[str, ...]:
    """The types that tags name, in their order."""
    return tuple(dict.fromkeys(label.partition("-")[2] for label in labels if label != OUTSIDE))


class Decoder:
    """Reads tags off log-probabilities (words, labels).

    `follows_bio`: no I- but after the B- or I- of its type, as in what this program trained; other models' tags are
    read each by itself, and then as conlleval reads them.
    """

    def __init__(self, labels: Sequence[str], *, follows_bio: bool) -> None:
        self.labels = tuple(labels)
        self._barred = _barred(labels) if follows_bio else None

    def tags(self, log_probabilities: Array) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """A tag in BIO for each word, and its probability."""
        if len(log_probabilities) == 0:
            return (), ()
        path = log_probabilities.argmax(1) if self._barred is None else _viterbi(log_probabilities, self._barred)
        chosen = np.exp(log_probabilities[np.arange(len(path)), path])
        return as_bio([self.labels[number] for number in path]), tuple(chosen.tolist())


def spans(tagging: Tagging) -> tuple[Span, ...]:
    """The entities of a sentence, by words."""
    return tuple(
        Span(start, end, kind, sum(tagging.probabilities[start:end]) / (end - start))
        for start, end, kind in entities_of(tagging.tags)
    )


def _barred(labels: Sequence[str]) -> Array:
    """(labels + 1, labels): -inf where the column's label may not follow the row's; the last row is the beginning."""
    barred = np.zeros((len(labels) + 1, len(labels)))
    for column, label in enumerate(labels):
        if label.startswith("I-"):
            goes_on = (f"B-{label[2:]}", label)
            barred[[row for row, before in enumerate((*labels, OUTSIDE)) if before not in goes_on], column] = -np.inf
    return barred


def _viterbi(log_probabilities: Array, barred: Array) -> NDArray[np.intp]:
    n, between = len(log_probabilities), barred[:-1]
    score = log_probabilities[0] + barred[-1]
    came_from = np.zeros(log_probabilities.shape, dtype=np.intp)
    for word in range(1, n):
        ways = score[:, None] + between
        came_from[word] = ways.argmax(0)
        score = ways.max(0) + log_probabilities[word]
    path = np.zeros(n, dtype=np.intp)
    path[-1] = score.argmax()
    for word in range(n - 1, 0, -1):
        path[word - 1] = came_from[word, path[word]]
    return path
