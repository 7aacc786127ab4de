"""The lowest bar: every item gets what was most frequent, whatever its text says."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llm_app.classify.folder import ClassifierFile
from llm_app.classify.types import Item, Kind, Outcome, Prediction


class Majority:
    """Gives each item the share of every label in the training rows; of a regression, their mean."""

    def __init__(self, file: ClassifierFile) -> None:
        if file.shares is None:
            raise ValueError("classifier.json of the majority baseline has shares")
        self.file, self._shares = file, file.shares

    @property
    def kind(self) -> Kind:
        """What it predicts."""
        return self.file.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the scores."""
        return self.file.labels

    def identity(self) -> Mapping[str, Any]:
        """Its shares are all it is."""
        return {"method": "majority", "kind": self.kind, "labels": list(self.labels), "shares": list(self._shares)}

    def predict(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """The same for every item."""
        return (Prediction(index, self._shares) for index in range(len(items)))
