"""What a classifier is to give, as tensors: the loss of its outputs, and how good they are on rows held back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from eval.metrics.sts.score import sts
from llm_app.classify.types import Kind, Truth
from llm_app.errors import UserError


@dataclass(frozen=True)
class Problem:
    """What is predicted: labels in the order of the outputs; of a regression one, the name of the value."""

    kind: Kind
    labels: tuple[str, ...]

    def tensor(self, truths: Sequence[Truth]) -> Tensor:
        """single: (n,) label numbers; multi: (n, n_labels) zeros and ones; regression: (n,) values."""
        if self.kind == "regression":
            return torch.tensor([float(value) for value in truths if not isinstance(value, tuple)])
        number = {label: place for place, label in enumerate(self.labels)}
        if self.kind == "single":
            return torch.tensor([number[str(label)] for label in truths])
        wanted = torch.zeros(len(truths), len(self.labels))
        for row, labels in enumerate(truths):
            assert isinstance(labels, tuple)
            wanted[row, [number[label] for label in labels]] = 1.0
        return wanted


def check_learnable(problem: Problem, truths: Sequence[Truth]) -> None:
    """Raises: UserError if all rows have the same truth: nothing is to be told apart."""
    if len(set(truths)) < 2:
        what = "value" if problem.kind == "regression" else "label"
        raise UserError(
            f"All {len(truths):,} rows to train on have the same {what}; at least two are needed.", param="data"
        )


class Objective:
    """The loss: cross-entropy, of several labels a row its binary form, of values the squared error.

    `weighs_classes`: each label counts as much as any other in total, going by the truths to train on.
    """

    def __init__(self, problem: Problem, wanted: Tensor, *, weighs_classes: bool) -> None:
        self._kind = problem.kind
        self._weights: Tensor | None = None
        if weighs_classes and problem.kind == "single":
            counts = torch.bincount(wanted, minlength=len(problem.labels)).clamp(min=1)
            self._weights = len(wanted) / (len(problem.labels) * counts)
        elif weighs_classes and problem.kind == "multi":
            counts = wanted.sum(0).clamp(min=1)
            self._weights = ((len(wanted) - counts) / counts).clamp(min=1e-3)

    def losses(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """One a row, weighted: (n, n_outputs), (n, ...) -> (n,)."""
        if self._kind == "regression":
            return (logits[:, 0] - wanted).square()
        weights = None if self._weights is None else self._weights.to(logits.device)
        if self._kind == "single":
            return functional.cross_entropy(logits, wanted, weights, reduction="none")
        each = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none", pos_weight=weights)
        return each.mean(1)

    def weight(self, wanted: Tensor) -> float:
        """What the losses of these rows are divided by, for their mean."""
        if self._weights is None or self._kind != "single":
            return float(len(wanted))
        return float(self._weights[wanted.cpu()].sum())


def metric_of(problem: Problem, *, weighs_classes: bool) -> str:
    """The score by which the best weights are chosen; higher is better."""
    if problem.kind == "regression":
        return "spearman"
    return "macro_f1" if problem.kind == "multi" or weighs_classes else "accuracy"


def score(metric: str, problem: Problem, logits: Tensor, wanted: Tensor) -> float:
    """What the outputs come to; 0 for values without any order."""
    if metric == "spearman":
        found = sts(logits[:, 0].tolist(), wanted.tolist())["spearman"] if len(wanted) > 1 else math.nan
        return 0.0 if math.isnan(found) else found
    guessed: np.ndarray[Any, Any] = ((logits >= 0) if problem.kind == "multi" else logits.argmax(1)).numpy()
    truth = wanted.numpy()
    if metric == "accuracy":
        return float((guessed == truth).mean())
    from sklearn import metrics

    return float(metrics.f1_score(truth, guessed, average="macro", zero_division=0))
