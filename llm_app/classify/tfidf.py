"""Words weighed by how rare they are, and a linear model on them: the baseline that is hard to beat on small tables.

scikit-learn computes both the weights and, when it is used, the features; on disk are JSON and safetensors alone.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from llm_app.classify.folder import VOCABULARY, WEIGHTS, ClassifierFile, check_tensors, read_vocabulary
from llm_app.classify.network import probabilities
from llm_app.classify.types import Item, Kind, Outcome, Prediction
from llm_app.errors import ModelRejected

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

CHUNK_ITEMS = 1_024
MAX_TERMS = 1_000_000


@dataclass(frozen=True)
class Features:
    """What of a text counts; see scikit-learn's TfidfVectorizer. Characters for scripts without spaces."""

    analyzer: str = "word"
    shortest: int = 1  # words, or characters, in a row that make one term
    longest: int = 2
    is_sublinear: bool = True

    def vectorizer(self, terms: Sequence[str] | None = None, **learning: Any) -> "TfidfVectorizer":
        """A new one, with these terms if they are known; `learning`: what only matters where they are found."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        # One-letter words ("I", "a") say something too, and so does every character of Chinese.
        words = {"token_pattern": r"(?u)\b\w+\b"} if self.analyzer == "word" else {}
        return TfidfVectorizer(
            analyzer=self.analyzer, ngram_range=(self.shortest, self.longest), sublinear_tf=self.is_sublinear,
            vocabulary=list(terms) if terms is not None else None, dtype=np.float64, **words, **learning,
        )


@dataclass(frozen=True)
class LinearModel:
    """What was learned: logits = tf-idf (terms) @ coefficients.T (labels, terms) + intercept (labels).

    Of two single labels the first one's row is zero, since scikit-learn keeps only the second one's.
    """

    features: Features
    terms: tuple[str, ...]
    idf: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    intercept: NDArray[np.float64]

    @classmethod
    def of(cls, features: Features, vectorizer: "TfidfVectorizer", coefficients: Any, intercept: Any) -> "LinearModel":
        """From a fitted vectorizer and a linear model's `coef_` and `intercept_`."""
        rows, constants = np.atleast_2d(coefficients), np.atleast_1d(intercept)
        return cls(features, tuple(vectorizer.get_feature_names_out()), vectorizer.idf_, rows, constants)

    def for_two_labels(self) -> "LinearModel":
        """With a row for the first label, where there is only the second one's."""
        zeros = np.zeros_like(self.coefficients), np.zeros_like(self.intercept)
        rows = np.vstack((zeros[0], self.coefficients)), np.concatenate((zeros[1], self.intercept))
        return LinearModel(self.features, self.terms, self.idf, *rows)

    def write(self, folder: Path) -> None:
        """The two files; classifier.json is written by whoever knows the labels."""
        vocabulary = {**asdict(self.features), "terms": self.terms}
        (folder / VOCABULARY).write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")
        tensors = {"idf": self.idf, "coefficients": self.coefficients, "intercept": self.intercept}
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / WEIGHTS)


class Tfidf:
    """The baseline as a classifier."""

    def __init__(self, file: ClassifierFile, model: LinearModel) -> None:
        self.file, self.model = file, model
        self._vectorizer = model.features.vectorizer(model.terms)
        self._vectorizer.idf_ = model.idf

    @property
    def kind(self) -> Kind:
        """What it predicts."""
        return self.file.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the scores."""
        return self.file.labels

    def identity(self) -> Mapping[str, Any]:
        """Method, labels, and digests of what was learned."""
        learned = [self.model.idf, self.model.coefficients, self.model.intercept]
        digest = hashlib.sha256("\n".join(self.model.terms).encode())
        for numbers in learned:
            digest.update(np.ascontiguousarray(numbers).tobytes())
        return {
            "method": "tfidf", "kind": self.kind, "labels": list(self.labels), "temperature": self.file.temperature,
            "features": asdict(self.model.features), "weights": digest.hexdigest(),
        }  # fmt: skip

    def logits(self, items: Sequence[Item]) -> NDArray[np.float64]:
        """(items, labels); a text without any known term gets the intercept."""
        counted = self._vectorizer.transform([text_of(item) for item in items])
        found: NDArray[np.float64] = counted @ self.model.coefficients.T + self.model.intercept
        return found

    def predict(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """One outcome an item, in their order."""
        for first in range(0, len(items), CHUNK_ITEMS):
            logits = torch.from_numpy(self.logits(items[first : first + CHUNK_ITEMS]))
            scores = probabilities(self.kind, logits, self.file.temperature).tolist()
            for index, values in enumerate(scores, first):
                yield Prediction(index, tuple(values))


def text_of(item: Item) -> str:
    """What terms are counted in: both texts of a pair."""
    return item.text if item.pair is None else f"{item.text}\n{item.pair}"


def open_tfidf(folder: Path, file: ClassifierFile) -> Tfidf:
    """The classifier in a folder. Raises: ModelRejected."""
    values = read_vocabulary(folder)
    terms = values.pop("terms", None)
    if not isinstance(terms, list) or not terms or not all(isinstance(term, str) for term in terms):
        raise _rejected("its vocabulary is no list of terms")
    if len(terms) > MAX_TERMS or len(set(terms)) < len(terms):
        raise _rejected("its vocabulary repeats a term, or is too long")
    n_terms, n_labels = len(terms), len(file.labels)
    shapes = {"idf": (n_terms,), "coefficients": (n_labels, n_terms), "intercept": (n_labels,)}
    check_tensors(folder, shapes)
    tensors = load_file(folder / WEIGHTS)
    if not all(tensor.dtype == np.float64 and np.isfinite(tensor).all() for tensor in tensors.values()):
        raise _rejected("its weights are not finite float64 numbers")
    return Tfidf(file, LinearModel(_features(values), tuple(terms), **tensors))


def _features(values: Mapping[str, Any]) -> Features:
    lengths = values.get("shortest"), values.get("longest")
    is_right = (
        values.keys() == asdict(Features()).keys() and values["analyzer"] in ("word", "char", "char_wb")
        and all(type(length) is int for length in lengths) and 1 <= lengths[0] <= lengths[1] <= 10  # type: ignore[operator]
        and isinstance(values["is_sublinear"], bool)
    )
    if not is_right:
        raise _rejected(f"{VOCABULARY} does not say how its terms are found")
    return Features(**values)


def _rejected(why: str) -> ModelRejected:
    return ModelRejected(f"The classifier cannot be used: {why}.", param="model")
