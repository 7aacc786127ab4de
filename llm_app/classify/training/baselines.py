"""The bars to beat: the most frequent label, and a linear model on words; both learned in seconds."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm_app.classify.folder import ClassifierFile
from llm_app.classify.scripts import UNSPACED
from llm_app.classify.tfidf import MAX_TERMS, Features, LinearModel, Tfidf, text_of
from llm_app.classify.training.events import Point
from llm_app.classify.training.examples import Examples
from llm_app.classify.training.targets import Objective, Problem, check_learnable, metric_of, score
from llm_app.classify.types import Item, Truth
from llm_app.errors import UserError
from llm_app.training.events import Step
from llm_app.training.processes import peak_memory_bytes

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # C of the logistic regression, and 1 / alpha of the ridge
USUAL = 1.0  # scikit-learn's own
# Rows held back from which on they choose the strength. Fewer choose by chance: with 30 of 300 rows of SST-2 the choice
# came to less on others than the usual strength, and 4 rows that all strengths get wrong chose one that learns nothing.
CHOOSE_FROM = 100
UNSPACED_SHARE = 0.3  # of a table's letters, from which on characters count instead of words
N_LOOKED_AT = 1_000
MAX_CANDIDATES = 2_000_000  # terms that are counted at once, before the best are chosen
MAX_WEIGHTS = 4_000_000  # labels times terms; to learn one takes some 200 bytes
NEVER = -1e3  # a logit beside which no other is zero
_UNSPACED = re.compile(f"[{UNSPACED}]")


@dataclass(frozen=True)
class Learned:
    """A TF-IDF model: how strongly it was let loose, its loss on the rows learned from, its score on those held back.

    `score`: NaN without such rows.
    """

    model: LinearModel
    strength: float
    loss: float
    score: float


def shares(problem: Problem, truths: Sequence[Truth]) -> tuple[float, ...]:
    """Share of the rows that have each label; of a regression, the mean value."""
    wanted = problem.tensor(truths)
    if problem.kind == "regression":
        return (float(wanted.double().mean()),)
    if problem.kind == "multi":
        return tuple(wanted.double().mean(0).tolist())
    counts = wanted.bincount(minlength=len(problem.labels)).double()
    return tuple((counts / counts.sum()).tolist())


def features_for(items: Sequence[Item]) -> Features:
    """Pairs of words; of scripts without spaces, one to three characters in a row."""
    texts = [text_of(item) for item in items[:: max(1, len(items) // N_LOOKED_AT)]]
    n_unspaced = sum(len(_UNSPACED.findall(text)) for text in texts)
    n_letters = sum(letter.isalpha() for text in texts for letter in text)
    is_unspaced = n_unspaced > UNSPACED_SHARE * n_letters
    return Features(analyzer="char", shortest=1, longest=3) if is_unspaced else Features()


def terms_of(
    features: Features, texts: Sequence[str], n_most: int, *, n_candidates: int = MAX_CANDIDATES
) -> list[str]:
    """The terms that stand in most texts, at most so many, in the order of their letters.

    On a large table those that stand in two texts at least: what one alone has tells nothing of others. However large
    it is, about `n_candidates` are held at once: those that were seen least are forgotten, and begin anew.
    Source: lossy counting, Manku and Motwani 2002, https://www.vldb.org/conf/2002/S10P03.pdf, section 4.2.
    """
    taken_apart = features.vectorizer().build_analyzer()
    counts, least = Counter[str](), 2 if len(texts) > N_LOOKED_AT else 1
    floor = 0
    for text in texts:
        counts.update(set(taken_apart(text)))
        while len(counts) > n_candidates:
            floor += 1
            counts = Counter({term: n for term, n in counts.items() if n > floor})
    found = [term for term, n in counts.items() if n >= least]
    return sorted(sorted(found, key=lambda term: (-counts[term], term))[:n_most])


def fit_tfidf(
    problem: Problem, train: tuple[Sequence[Item], Sequence[Truth]],
    validation: tuple[Sequence[Item], Sequence[Truth]], *, weighs_classes: bool = False,
) -> Iterator[Learned]:
    """One model for each strength, the one that is held back most first; which to keep is for the caller to say.

    With fewer than CHOOSE_FROM rows to choose by only the usual strength. single: logistic regression; multi: one
    against the rest; regression: ridge.
    Raises: UserError if there is nothing to tell apart, or to tell it by.
    """
    items, truths = train
    check_learnable(problem, truths)
    features = features_for(items)
    texts = [text_of(item) for item in items]
    n_outputs = 1 if problem.kind == "regression" else len(problem.labels)
    vectorizer = features.vectorizer(terms_of(features, texts, min(MAX_TERMS, MAX_WEIGHTS // n_outputs)))
    try:
        counted = vectorizer.fit_transform(texts)
    except ValueError as error:
        raise UserError("The texts hold no words that could be counted.", param="data") from error
    wanted, metric = problem.tensor(truths), metric_of(problem, weighs_classes=weighs_classes)
    for strength in STRENGTHS if len(validation[1]) >= CHOOSE_FROM else (USUAL,):
        coefficients, intercept = _fitted(problem, counted, wanted.numpy(), strength, weighs_classes=weighs_classes)
        model = LinearModel.of(features, vectorizer, coefficients, intercept)
        model = model.for_two_labels() if problem.kind == "single" and len(coefficients) == 1 else model
        loss = Objective(problem, wanted, weighs_classes=False).losses(_logits(problem, model, items), wanted).mean()
        yield Learned(model, strength, float(loss), _score(problem, model, metric, *validation))


def best(found: Sequence[Learned]) -> Learned:
    """The one with the highest score; of equals the one whose strength is nearest to the usual one."""

    def merit(learned: Learned) -> tuple[float, float]:
        score = -math.inf if math.isnan(learned.score) else learned.score
        return score, -abs(math.log(learned.strength / USUAL))

    return max(found, key=merit)


def _fitted(
    problem: Problem, counted: Any, wanted: NDArray[Any], strength: float, *, weighs_classes: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients (labels, terms) and intercept (labels,); of two single labels only the second one's."""
    from sklearn.linear_model import LogisticRegression, Ridge

    if problem.kind == "regression":
        ridge = Ridge(alpha=1 / strength, solver="sparse_cg").fit(counted, wanted)
        return np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_)
    linear = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced" if weighs_classes else None)
    if problem.kind == "single":
        linear.fit(counted, wanted)
        return for_all(linear, len(problem.labels))
    rows = [_one_label(linear, counted, column) for column in wanted.T.astype(int)]
    return np.vstack([row for row, _ in rows]), np.array([constant for _, constant in rows])


def for_all(linear: "LogisticRegression", n_labels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients and intercept of all labels: a row that is never chosen for one that no row to train on has.

    The classes it was fitted on are numbers of labels; of two labels in all there is only the second one's row.
    """
    seen = linear.classes_.tolist()
    coefficients, intercept = linear.coef_, linear.intercept_
    if len(seen) == n_labels:
        return coefficients, intercept
    if len(seen) == 2:  # one row, the second one's
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercept = np.concatenate([np.zeros_like(intercept), intercept])
    rows, constants = np.zeros((n_labels, coefficients.shape[1])), np.full(n_labels, NEVER)
    rows[seen], constants[seen] = coefficients, intercept
    return rows, constants


def _one_label(linear: "LogisticRegression", counted: Any, wanted: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Against the rest; a constant for a label that all rows have, or none."""
    if wanted.min() == wanted.max():
        return np.zeros(counted.shape[1]), -NEVER if wanted[0] else NEVER
    linear.fit(counted, wanted)
    return linear.coef_[0].copy(), float(linear.intercept_[0])


def _score(problem: Problem, model: LinearModel, metric: str, items: Sequence[Item], truths: Sequence[Truth]) -> float:
    if not truths:
        return math.nan
    return score(metric, problem, _logits(problem, model, items), problem.tensor(truths))


def _logits(problem: Problem, model: LinearModel, items: Sequence[Item]) -> Tensor:
    made = Tfidf(ClassifierFile("tfidf", problem.kind, problem.labels), model)
    return torch.from_numpy(made.logits(items)).float()


def point_of(learned: Learned, problem: Problem, train: Examples, validation: Examples, metric: str) -> Point:
    """The fit on the learning curve. `metric`: by which it was chosen; there are rows held back."""

    def checked(rows: Examples) -> tuple[float, float]:
        logits, wanted = _logits(problem, learned.model, rows.items), problem.tensor(rows.truths)
        losses = Objective(problem, wanted, weighs_classes=False).losses(logits, wanted)
        return float(losses.mean()), score(metric, problem, logits, wanted)

    (training_loss, training_score), (loss, found) = checked(train), checked(validation)
    return Point(1, metric, loss, found, training_loss, training_score, len(validation), len(train))


def fitted_step(loss: float, n_targets: int, seconds: float) -> Step:
    """A fit in the log of a run: all at once, which counts as a step."""
    return Step(
        step=1, n_steps=1, epoch=1.0, loss=loss, learning_rate=0.0, gradient_norm=0.0, n_tokens=0,
        n_trained_tokens=n_targets, seconds=seconds, memory_bytes=peak_memory_bytes(torch.device("cpu")),
    )  # fmt: skip
