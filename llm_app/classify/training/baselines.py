"""The bars to beat: the most frequent label, and a linear model on words; both learned in seconds."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from llm_app.classify.folder import ClassifierFile
from llm_app.classify.scripts import UNSPACED
from llm_app.classify.tfidf import MAX_TERMS, Features, LinearModel, Tfidf, text_of
from llm_app.classify.training.targets import Objective, Problem, check_learnable, metric_of, score
from llm_app.classify.types import Item, Truth
from llm_app.errors import UserError
from llm_app.training.events import Step
from llm_app.training.processes import peak_memory_bytes

STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # C of the logistic regression, and 1 / alpha of the ridge
USUAL = 1.0  # without rows to choose by
UNSPACED_SHARE = 0.3  # of a table's letters, from which on characters count instead of words
N_LOOKED_AT = 1_000
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


def fit_tfidf(
    problem: Problem, train: tuple[Sequence[Item], Sequence[Truth]],
    validation: tuple[Sequence[Item], Sequence[Truth]], *, weighs_classes: bool = False,
) -> Iterator[Learned]:
    """One model for each strength, the one that is held back most first; which to keep is for the caller to say.

    single: logistic regression; multi: one against the rest; regression: ridge.
    Raises: UserError if there is nothing to tell apart, or to tell it by.
    """
    items, truths = train
    check_learnable(problem, truths)
    features = features_for(items)
    texts = [text_of(item) for item in items]
    # On large tables, what stands in one text alone tells nothing of others and fills the memory.
    vectorizer = features.vectorizer(min_df=2 if len(texts) > N_LOOKED_AT else 1, max_features=MAX_TERMS)
    try:
        counted = vectorizer.fit_transform(texts)
    except ValueError as error:
        raise UserError("The texts hold no words that could be counted.", param="data") from error
    wanted, metric = problem.tensor(truths), metric_of(problem, weighs_classes=weighs_classes)
    for strength in STRENGTHS if validation[1] else (USUAL,):
        coefficients, intercept = _fitted(problem, counted, wanted.numpy(), strength, weighs_classes=weighs_classes)
        model = LinearModel.of(features, vectorizer, coefficients, intercept)
        model = model.for_two_labels() if problem.kind == "single" and len(coefficients) == 1 else model
        loss = Objective(problem, wanted, weighs_classes=False).losses(_logits(problem, model, items), wanted).mean()
        yield Learned(model, strength, float(loss), _score(problem, model, metric, *validation))


def best(found: Sequence[Learned]) -> Learned:
    """The one with the highest score; of equals the simplest."""
    return max(found, key=lambda each: -math.inf if math.isnan(each.score) else each.score)


def _fitted(
    problem: Problem, counted: Any, wanted: NDArray[Any], strength: float, *, weighs_classes: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients (labels, terms) and intercept (labels,); of two single labels only the second one's."""
    if problem.kind == "regression":
        ridge = Ridge(alpha=1 / strength, solver="sparse_cg").fit(counted, wanted)
        return np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_)
    linear = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced" if weighs_classes else None)
    if problem.kind == "single":
        linear.fit(counted, wanted)
        return _for_all(problem, linear)
    rows = [_one_label(linear, counted, column) for column in wanted.T.astype(int)]
    return np.vstack([row for row, _ in rows]), np.array([constant for _, constant in rows])


def _for_all(problem: Problem, linear: LogisticRegression) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """With a row that is never chosen for a label that no row to train on has."""
    seen, n_labels = linear.classes_.tolist(), len(problem.labels)
    coefficients, intercept = linear.coef_, linear.intercept_
    if len(seen) == n_labels:
        return coefficients, intercept
    if len(seen) == 2:  # one row, the second one's
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercept = np.concatenate([np.zeros_like(intercept), intercept])
    rows, constants = np.zeros((n_labels, coefficients.shape[1])), np.full(n_labels, NEVER)
    rows[seen], constants[seen] = coefficients, intercept
    return rows, constants


def _one_label(linear: LogisticRegression, counted: Any, wanted: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
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


def step_of(learned: Learned, n_rows: int, seconds: float) -> Step:
    """The fit in the log of a run: all at once, which counts as a step."""
    return Step(
        step=1, n_steps=1, epoch=1.0, loss=learned.loss, learning_rate=0.0, gradient_norm=0.0, n_tokens=0,
        n_trained_tokens=n_rows, seconds=seconds, memory_bytes=peak_memory_bytes(torch.device("cpu")),
    )  # fmt: skip
