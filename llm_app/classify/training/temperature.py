"""Temperature scaling: one number that makes a classifier as sure as it is right, and changes no answer of its own.

Source: Guo et al. 2017, arXiv:1706.04599, section 4.2. It is fitted on rows held back from training.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from llm_app.classify.training.events import FEW
from llm_app.classify.training.targets import Problem
from llm_app.classify.types import Truth

LEAST, MOST = 0.05, 20.0  # beyond, probabilities say nothing that the answers do not


def fitted_temperature(problem: Problem, scores: Sequence[Sequence[float]], truths: Sequence[Truth]) -> float:
    """What logits are to be divided by for the lowest loss; 1 for a regression, and where fewer than FEW rows show it.

    `scores`: probabilities at temperature 1, as `Prediction.scores` has them.
    """
    if problem.kind == "regression" or len(truths) < FEW:
        return 1.0
    logits, wanted = _logits(problem, scores), problem.tensor(truths)
    if _all_right(problem, logits, wanted):  # the surer, the better: these rows set no bound
        return 1.0
    # Of its logarithm, so that it stays above zero.
    power = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([power], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = _loss(problem, logits / power.exp().clamp(LEAST, MOST), wanted)
        found.backward()
        return found

    optimizer.step(loss)
    temperature = float(power.detach().exp().clamp(LEAST, MOST))
    with torch.no_grad():
        is_gain = _loss(problem, logits / temperature, wanted) < _loss(problem, logits, wanted)
    return temperature if is_gain else 1.0


def _logits(problem: Problem, scores: Sequence[Sequence[float]]) -> Tensor:
    """Up to a constant a row, which a softmax does not see."""
    table = torch.tensor(scores, dtype=torch.float64).clamp(torch.finfo(torch.float64).tiny, 1.0)
    return table.log() if problem.kind == "single" else table.logit(eps=1e-12)


def _all_right(problem: Problem, logits: Tensor, wanted: Tensor) -> bool:
    guessed = logits.argmax(1) if problem.kind == "single" else (logits >= 0).to(wanted.dtype)
    return bool((guessed == wanted).all())


def _loss(problem: Problem, logits: Tensor, wanted: Tensor) -> Tensor:
    if problem.kind == "single":
        return functional.cross_entropy(logits, wanted)
    return functional.binary_cross_entropy_with_logits(logits, wanted.double())
