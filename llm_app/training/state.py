"""A training run between two steps: everything that decides what comes next, taken out and put back."""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from llm_app.errors import UserError
from llm_app.training.optim import AdamW, Weights

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class TrainerState:
    """Everything that decides what comes next: tensors, and values that JSON can hold."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]


def taken(weights: Weights, optimizer: AdamW, progress: "DataclassInstance") -> TrainerState:
    """Copies of weights, moments and progress; of its values the infinite ones, which JSON lacks, are None."""
    tensors = {
        "weights": weights.flat.clone().cpu(), "first_moments": optimizer.first.clone().cpu(),
        "second_moments": optimizer.second.clone().cpu(),
    }  # fmt: skip
    values = {name: value if abs(value) != math.inf else None for name, value in asdict(progress).items()}
    return TrainerState(tensors, {"progress": values, "layout": _layout(weights)})


def put_back(state: TrainerState, weights: Weights, optimizer: AdamW, *, of_others: str) -> dict[str, Any]:
    """Fill weights and moments; gives the progress, without what is infinite, as it is in the beginning.

    `of_others`: what a state of another layout belongs to. Raises: UserError if it is one.
    """
    if state.values["layout"] != _layout(weights):
        raise UserError(f"This checkpoint is of {of_others}: it cannot go on here.")
    weights.flat.copy_(state.tensors["weights"])
    optimizer.first.copy_(state.tensors["first_moments"])
    optimizer.second.copy_(state.tensors["second_moments"])
    progress: dict[str, Any] = state.values["progress"]
    optimizer.set_steps(progress["step"])
    return {name: value for name, value in progress.items() if value is not None}


def _layout(weights: Weights) -> list[list[Any]]:
    """Names and shapes of the trained weights, in their order."""
    return [[name, list(shape)] for name, shape in zip(weights.names, weights.shapes, strict=True)]
