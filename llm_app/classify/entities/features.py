"""The baseline: logistic regression over what a word and its neighbours look like, each tag by itself.

Source: the features of Ratinov and Roth 2009, section 3, https://aclanthology.org/W09-1119, without their
lists of names; scikit-learn's DictVectorizer and LogisticRegression.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.special import log_softmax

from llm_app.classify.entities.decode import Decoder, types_of
from llm_app.classify.entities.folder import Method
from llm_app.classify.entities.types import Tagging
from llm_app.classify.folder import VOCABULARY, WEIGHTS, check_tensors
from llm_app.classify.training.baselines import for_all
from llm_app.data.conll import TaggedSentence
from llm_app.engine.weights import read_json
from llm_app.errors import ModelRejected, UserError

LEAST_COUNT = 2  # times that a feature must be seen
MAX_ITERATIONS = 300
STRENGTHS = (1.0, 10.0, 100.0)  # that the best one is chosen of, where there is something to choose by
WINDOW = 2  # words on each side
CHUNK_SENTENCES = 1_000
EDGE = "<edge>"
MAX_VOCABULARY_BYTES = 200_000_000
COEFFICIENTS, INTERCEPT = "coefficients", "intercept"


class FeatureTagger:
    """Finds entities by weights (labels, features) of what words look like. `learned`: see `Tagger`."""

    method: Method = "features"
    max_length = None  # all of a sentence is read

    def __init__(
        self, labels: Sequence[str], features: Sequence[str], weights: NDArray[np.float32],
        intercept: NDArray[np.float32], learned: frozenset[str] = frozenset(),
    ) -> None:
        from sklearn.feature_extraction import DictVectorizer

        self.labels = tuple(labels)
        self.learned = learned
        self._weights, self._intercept = weights, intercept
        self._vectorizer = DictVectorizer(dtype=np.float32).fit([dict.fromkeys(features, 1.0)])
        self._decoder = Decoder(labels, follows_bio=True)

    @classmethod
    def fit(
        cls, sentences: Sequence[TaggedSentence], labels: Sequence[str], *, strength: float = STRENGTHS[1]
    ) -> "FeatureTagger":
        """Learn from sentences; `strength`: scikit-learn's C, the more the less weights are held down.

        Raises: UserError if all words have the same tag.
        """
        from sklearn.feature_extraction import DictVectorizer
        from sklearn.linear_model import LogisticRegression

        if len({tag for sentence in sentences for tag in sentence.tags}) < 2:
            raise UserError("All words to train on have the same tag; at least two are needed.", param="data")
        vectorizer = DictVectorizer(dtype=np.float32)
        seen = vectorizer.fit_transform(_features(sentence.tokens for sentence in sentences))
        is_kept = np.asarray(seen.sum(axis=0)).ravel() >= LEAST_COUNT
        vectorizer.restrict(is_kept)
        kept = seen[:, is_kept]
        number = {label: place for place, label in enumerate(labels)}
        model = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)
        model.fit(kept, [number[tag] for sentence in sentences for tag in sentence.tags])
        weights, intercept = for_all(model, len(labels))
        return cls(labels, vectorizer.feature_names_, weights.astype(np.float32), intercept.astype(np.float32))

    @property
    def types(self) -> tuple[str, ...]:
        """All types of entities, in the order of the labels."""
        return types_of(self.labels)

    def tag(self, sentences: Sequence[Sequence[str]]) -> Iterator[Tagging]:
        """One tagging a sentence, in their order."""
        for first in range(0, len(sentences), CHUNK_SENTENCES):
            chunk = sentences[first : first + CHUNK_SENTENCES]
            log_probabilities = self.log_probabilities(chunk)
            start = 0
            for index, words in enumerate(chunk, first):
                end = start + len(words)
                yield Tagging(index, *self._decoder.tags(log_probabilities[start:end]))
                start = end

    def log_probabilities(self, sentences: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        """(words of all sentences, labels)."""
        features = list(_features(sentences))
        if not features:
            return np.zeros((0, len(self.labels)))
        scores = self._vectorizer.transform(features) @ self._weights.T + self._intercept
        found: NDArray[np.float64] = log_softmax(scores.astype(np.float64), axis=1)
        return found

    def loss(self, sentences: Sequence[TaggedSentence]) -> float:
        """Mean of -ln of what each word's tag gets."""
        number = {label: place for place, label in enumerate(self.labels)}
        found = self.log_probabilities([sentence.tokens for sentence in sentences])
        wanted = [number[tag] for sentence in sentences for tag in sentence.tags]
        return -float(found[np.arange(len(wanted)), wanted].mean())

    def save(self, folder: Path) -> None:
        """Weights and vocabulary; tagger.json is for whoever knows the rest."""
        # scikit-learn's columns lie one after the other in memory, which safetensors would write as if they were rows.
        weights = np.ascontiguousarray(self._weights)
        save_file({COEFFICIENTS: weights, INTERCEPT: self._intercept}, folder / WEIGHTS)
        text = json.dumps({"features": list(self._vectorizer.feature_names_)}, ensure_ascii=False)
        (folder / VOCABULARY).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, labels: Sequence[str], learned: frozenset[str]) -> "FeatureTagger":
        """What `save` wrote. Raises: ModelRejected if weights, vocabulary and labels do not belong together."""
        features = read_json(folder / VOCABULARY, max_bytes=MAX_VOCABULARY_BYTES).get("features")
        if not isinstance(features, list) or not all(isinstance(name, str) for name in features):
            raise ModelRejected(f"{VOCABULARY} holds no list of features.", param="model")
        if features != sorted(set(features)):
            raise ModelRejected(f"The features in {VOCABULARY} are not in order, or one comes twice.", param="model")
        check_tensors(folder, {COEFFICIENTS: (len(labels), len(features)), INTERCEPT: (len(labels),)})
        tensors = load_file(folder / WEIGHTS)
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise ModelRejected(f"{WEIGHTS} holds numbers that are NaN or infinite.", param="model")
        return cls(labels, features, tensors[COEFFICIENTS], tensors[INTERCEPT], learned)


def _features(sentences: Any) -> Iterator[dict[str, float]]:
    for words in sentences:
        shown = [EDGE] * WINDOW + [word.lower() for word in words] + [EDGE] * WINDOW
        shapes = [EDGE] * WINDOW + [_shape(word) for word in words] + [EDGE] * WINDOW
        for place, word in enumerate(words, WINDOW):
            yield dict.fromkeys(_features_of(word, place, shown, shapes), 1.0)


def _features_of(word: str, place: int, shown: Sequence[str], shapes: Sequence[str]) -> Iterator[str]:
    for step in range(-WINDOW, WINDOW + 1):
        yield f"word{step:+}={shown[place + step]}"
    for step in range(-1, 2):
        yield f"shape{step:+}={shapes[place + step]}"
    yield f"before={shown[place - 1]} {shown[place]}"
    yield f"after={shown[place]} {shown[place + 1]}"
    yield f"around={shown[place - 1]} {shown[place + 1]}"
    for n in (2, 3, 4):
        if n < len(word):
            yield f"begins={word[:n].lower()}"
            yield f"ends={word[-n:].lower()}"


def _shape(word: str) -> str:
    """Xx of Paris, X of NATO, 0 of 1984, x0 of mp3: runs of capitals, small letters, digits; all else as it is."""
    kinds = "".join(
        "X" if sign.isupper() else "0" if sign.isdigit() else "x" if sign.islower() else "w" if sign.isalpha() else sign
        for sign in word
    )
    return re.sub(r"(.)\1+", r"\1", kinds)
