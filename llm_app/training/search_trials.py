"""The trials of a search: what was measured of each, which one leads, and which one may as well stop."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llm_app.training.search_space import Params

# cut: the search ran out of time in the middle of it. failed: the settings do not work, and `reason` says why.
State = Literal["running", "done", "pruned", "cut", "failed"]
Point = tuple[int, float]  # step, loss there
LOSS = "loss"
N_WHOLE_TRIALS = 3  # before one is stopped early: the median of fewer says little
N_FREE_POINTS = 2  # at which no trial is stopped: a high rate that wins in the end often begins badly


def as_measured(metric: str, loss: float) -> float:
    """What a loss stands for: of a score, which is the better the higher, the loss is what it lacks to 1."""
    return loss if metric == LOSS else 1 - loss


@dataclass(frozen=True)
class Trial:
    """One setting that was tried. `params`: only what is searched over; the rest is shared by all.

    `metric`: by what trials are compared, loss or a score; `before` and `points` are losses in any case.
    """

    number: int  # from 0
    params: Params
    run: str | None = None  # id of the run that holds all of it
    before: float | None = None  # its loss before the first step, where all trials are the same model: no one's merit
    points: tuple[Point, ...] = ()  # in order of steps, from 1
    n_steps: int = 0
    seconds: float = 0.0
    state: State = "running"
    reason: str | None = None
    metric: str = LOSS

    @property
    def best(self) -> Point | None:
        """Where its loss was lowest, as (step, loss); the earlier one of two alike."""
        return min(self.points, key=lambda point: (point[1], point[0]), default=None)

    @property
    def best_value(self) -> float | None:
        """The lowest loss or, where a score is compared, the highest score."""
        return as_measured(self.metric, self.best[1]) if self.best else None

    @property
    def losses(self) -> tuple[float, ...]:
        """One a measurement, in order."""
        return tuple(loss for _, loss in self.points)


def is_losing(trial: Trial, others: Sequence[Trial]) -> bool:
    """The median rule: its best loss so far is above the median of what whole trials had at the same measurement.

    Trials of a search run one after the other, tens rather than hundreds of them. Successive halving would have to
    give most of its budget to short runs, whose order says little of the order in the end where the rate falls over
    the run; the median rule spends it on whole ones, and has no setting that a person would have to know.
    Source: Golovin et al. 2017, "Google Vizier", 3.2.2, in the form of Optuna's MedianPruner.
    """
    whole = [other.losses for other in others if other.state == "done"]
    place = len(trial.points) - 1
    if len(whole) < N_WHOLE_TRIALS or place < N_FREE_POINTS:
        return False
    there = [losses[place] for losses in whole if len(losses) > place]
    return bool(there) and min(trial.losses) > statistics.median(there)


def leader(trials: Sequence[Trial]) -> Trial | None:
    """The one with the lowest loss; one whose time ran out only where no other came to its end."""
    ranked = [trial for trial in ranking(trials) if trial.state in ("done", "cut") and trial.points]
    return ranked[0] if ranked else None


def ranking(trials: Sequence[Trial]) -> list[Trial]:
    """Best first: whole trials by their best loss, then those cut, stopped early, still running, and failed."""
    order = ("done", "cut", "pruned", "running", "failed")

    def place(trial: Trial) -> tuple[int, float, int]:
        return order.index(trial.state), trial.best[1] if trial.best else float("inf"), trial.number

    return sorted(trials, key=place)
