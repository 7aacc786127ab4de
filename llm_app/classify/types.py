"""What is classified, what comes of it, and what a classifier is. No third-party imports."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

# single: one of the labels; multi: any number of them; regression: a number, of one label, its name.
Kind = Literal["single", "multi", "regression"]
Truth = str | tuple[str, ...] | float  # of the three kinds, in this order


@dataclass(frozen=True)
class Item:
    """A text to classify, or a pair of texts, such as a premise and a hypothesis."""

    text: str
    pair: str | None = None


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one item; `index` is the item's place in what was given.

    `scores`, one a label. single: probabilities that sum to 1; multi: each label's probability by itself; regression:
    the value, on the scale of the training data. `n_cut`: tokens that were left out, since the text was too long.
    """

    index: int
    scores: tuple[float, ...]
    n_cut: int = 0


@dataclass(frozen=True)
class Unclassified:
    """An item that got no prediction, and why in one sentence, in English and Chinese; those after it still get theirs.

    `reason_zh`: empty where it is not known.
    """

    index: int
    reason: str
    reason_zh: str = ""


Outcome = Prediction | Unclassified


class Classifier(Protocol):
    """Whoever classifies: a zero-shot prompt on the loaded model, a trained encoder, a baseline."""

    @property
    def kind(self) -> Kind:
        """What it predicts."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, in the order of the scores."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """What it is, in plain values: two that may answer differently differ here."""
        ...

    def predict(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """One outcome an item, each as soon as it is known, in any order; closing stops between two passes.

        What an item gets depends on that item alone: not on what stands beside it, nor on how many are given.
        """
        ...


def answer(kind: Kind, labels: Sequence[str], scores: Sequence[float], threshold: float = 0.5) -> Truth:
    """What the scores say: the likeliest label (the first of equals), the labels at the threshold or above, the value.

    `threshold`: of two single labels, what the second one's probability must reach; of several, it has no part.
    """
    if kind == "regression":
        return float(scores[0])
    if kind == "multi":
        return tuple(label for label, score in zip(labels, scores, strict=True) if score >= threshold)
    if len(labels) == 2 and threshold != 0.5:
        return labels[int(scores[1] >= threshold)]
    return labels[max(range(len(labels)), key=lambda number: scores[number])]
