"""A classifier without a model: it counts two words. Enough wherever it matters only that something classifies."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llm_app.classify.types import Item, Kind, Outcome, Prediction, Unclassified

LABELS = ("negative", "positive")


class WordRule:
    """The share of "good" among "good" and "bad"; `asked` remembers what it was given. Refuses a text "rubbish"."""

    def __init__(self, *, smoothing: float = 1.0) -> None:
        self.smoothing = smoothing
        self.asked: list[Item] = []

    @property
    def kind(self) -> Kind:
        """One label."""
        return "single"

    @property
    def labels(self) -> tuple[str, ...]:
        """Two of them."""
        return LABELS

    def identity(self) -> Mapping[str, Any]:
        """All there is to it."""
        return {"method": "word rule", "smoothing": self.smoothing}

    def predict(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """The last item first, as batches sorted by length come."""
        for index in reversed(range(len(items))):
            item = items[index]
            self.asked.append(item)
            if item.text == "rubbish":
                yield Unclassified(index, "nothing to be counted", "没有可数的词")
                continue
            n_good, n_bad = (item.text.count(word) + self.smoothing for word in ("good", "bad"))
            share = n_good / (n_good + n_bad)
            yield Prediction(index, (1 - share, share), n_cut=3 if "long" in item.text else 0)
