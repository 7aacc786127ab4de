"""What a comparison came to, as plain values."""

from dataclasses import dataclass
from typing import Literal

from eval.compare.changes import SampleChange
from eval.compare.difference import Difference
from eval.compare.measure import Unit
from eval.compare.pairing import Refusal
from eval.compare.run import Text

# "described": a task of a group, shown with its difference and interval, of which nothing is claimed.
Outcome = Literal["better", "worse", "no detectable change", "described"]
FIRST_METRICS = "mean"  # stands for the metric of a group whose tasks have different ones


@dataclass(frozen=True)
class TaskComparison:
    """One thing that was asked for: a task, or a group of tasks with one score. `outcome` claims no more than Holm's p.

    `parts`: a group's tasks, each with its samples (`changes` of the group is empty), `p_corrected` None and the
    outcome "described", since only the group was tested; `weighting`: how its score is made of theirs; `left_out`: its
    tasks that one of the runs has not begun. Differences are candidate minus baseline in the metric's own units.
    `n_one_sided`: samples that only one run has answered; `n_unscored`: samples that either could not score. Both are
    left out. `is_metric_asked`: whether a person chose the metric; if not, it is the first that the task or group
    names, so that it was chosen before anything was seen.
    """

    task: str
    metric: str
    is_metric_asked: bool
    is_higher_better: bool
    unit: Unit
    result: Difference
    p_corrected: float | None
    outcome: Outcome
    wins: int
    losses: int
    ties: int
    n_unscored: int
    n_one_sided: int
    changes: tuple[SampleChange, ...]
    parts: tuple["TaskComparison", ...] = ()
    weighting: Literal["", "by size", "equal"] = ""
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A candidate against the baseline. `n_tests`: how many p-values Holm's correction is over."""

    baseline: str
    candidate: str
    baseline_id: str
    candidate_id: str
    alpha: float
    n_tests: int
    tasks: tuple[TaskComparison, ...]
    refused: tuple[Refusal, ...]
    alarms: tuple[Text, ...]
    notes: tuple[Text, ...]

    def having(self, outcome: Outcome) -> list[str]:
        """Names of the tasks and groups that came out so."""
        return [task.task for task in self.tasks if task.outcome == outcome]

    @property
    def single_tasks(self) -> list[TaskComparison]:
        """All that hold samples: a group's tasks in its place; none twice."""
        tasks = (task for one in self.tasks for task in (one.parts or (one,)))
        return list({task.task: task for task in tasks}.values())
