"""What the training of a classifier tells besides steps, notes and checkpoints. No third-party imports."""

from collections.abc import Mapping
from dataclasses import dataclass

from llm_app.training.events import Note, Saved, Step


@dataclass(frozen=True)
class Point:
    """A point of the learning curve: after a step (0: before the first), with dropout off.

    `score`: the metric by which weights are chosen, higher is better; `training_*`: on as many rows, or fewer, of those
    that are learned from, always the same; `loss`: mean over the rows.
    """

    step: int
    metric: str  # accuracy, macro_f1 or spearman
    loss: float
    score: float
    training_loss: float
    training_score: float
    n_validation: int


@dataclass(frozen=True)
class Scored:
    """What one method comes to on rows that nothing was learned from or chosen by.

    `scores`: metric -> (value, low, high), with the ends of its 95 % interval, NaN where none is known. `part`: test,
    or validation where there is no test part; `predictions`: a file of the run with a line a row.
    """

    method: str
    part: str
    n: int
    scores: Mapping[str, tuple[float, float, float]]
    predictions: str


ClassifierEvent = Step | Point | Saved | Note | Scored
