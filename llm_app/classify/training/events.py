"""What the training of a classifier tells besides steps, notes and checkpoints. No third-party imports."""

from collections.abc import Mapping
from dataclasses import dataclass

from llm_app.training.events import Note, Saved, Step

CHOSEN_BY = (
    "No rows are held back for a test: the scores are those of the rows for validation, by which choices were made, and"
    " flatter."
)

FEW = 20  # rows held back, below which a choice by them is told to be one of chance


@dataclass(frozen=True)
class Point:
    """A point of the learning curve: after a step (0: before the first), with dropout off.

    `score`: the metric by which weights are chosen, higher is better; `training_*`: on `n_training` of the rows that
    are learned from, always the same; `loss`: mean over the rows.
    """

    step: int
    metric: str  # accuracy, macro_f1 or spearman; span_f1 of a tagger
    loss: float
    score: float
    training_loss: float
    training_score: float
    n_validation: int
    n_training: int = 0  # 0: an older log, which does not say


@dataclass(frozen=True)
class Scored:
    """What one method comes to on rows that nothing was learned from.

    `scores`: metric -> (value, low, high), with the ends of its 95 % interval, NaN where none is known. `part`: test,
    by which nothing was chosen, or validation where there is no test part; `predictions`: a file of the run with a line
    a row.
    """

    method: str
    part: str
    n: int
    scores: Mapping[str, tuple[float, float, float]]
    predictions: str

    @property
    def flatters(self) -> bool:
        """Whether the rows are those by which choices were made."""
        return self.part == "validation"


ClassifierEvent = Step | Point | Saved | Note | Scored
