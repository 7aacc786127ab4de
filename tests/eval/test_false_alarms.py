"""Where nothing changed, a comparison at 5 % may claim a change in 5 % of the cases, and none of it in more."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from eval.compare import Answered, Metric, Run, TaskRun, compare
from eval.types import GroupMetric, TaskGroup
from tests.eval.made_runs import ACCURACY

Random = np.random.Generator
# Task -> scores of the one model and of the other; and the passage of each sample, if they share some.
Made = dict[str, tuple[Sequence[float], Sequence[float], Sequence[int] | None]]


def run_with(made: Made, side: int, groups: dict[str, TaskGroup], metric: Metric = ACCURACY) -> Run:
    """Answers are all alike, so that no time goes into their word diffs."""
    tasks = {}
    for name, columns in made.items():
        passages = columns[2]
        samples = {}
        for i, score in enumerate(columns[side]):
            doc = {"passage": f"a passage of more than forty characters, number {passages[i]}"} if passages else {}
            samples[i] = Answered(i, "", doc, "", (), ("said",), {f"{metric.name},none": float(score)})
        tasks[name] = TaskRun(name, "1", 0, len(samples), (metric,), samples)
    return Run(str(side), str(side), {"weights": str(side)}, {}, tasks, groups=groups)


def right_or_wrong(random: Random) -> Made:
    """So many changed answers that the exact test, which never claims more than 5 %, comes close to it."""
    return {"task": (right := random.random(800) < 0.5, ~right, None)}


def one_group(random: Random) -> Made:
    hard = random.normal(size=8)
    answers = random.normal(size=(2, 8, 90)) + hard[:, None]
    return {f"t{i}": (answers[0, i] > 0, answers[1, i] > 0, None) for i in range(8)}


def uneven_group(random: Random) -> Made:
    sizes = (5, 12, 40, 100)
    return {f"t{n}": (random.random(n) < 0.6, random.random(n) < 0.6, None) for n in sizes}


def eight_passages(random: Random) -> Made:
    """What a model makes of a passage decides over all its questions, as with long texts."""
    passages = np.repeat(np.arange(8), 12)
    shift = random.normal(size=(2, 8))[:, passages]
    answers = random.normal(size=(2, 96)) + 2 * shift
    return {"task": (list(answers[0]), list(answers[1]), passages.tolist())}


def shares(random: Random) -> Made:
    first = random.random(12)
    return {"task": (list(first), list(np.clip(first + random.normal(0, 0.2, 12), 0, 1)), None)}


GROUPS = {
    one_group: TaskGroup("group", "1", tuple(f"t{i}" for i in range(8)), (GroupMetric("acc"),)),
    uneven_group: TaskGroup(
        "group", "1", ("t5", "t12", "t40", "t100"),
        (GroupMetric("acc", weights=dict.fromkeys(("t5", "t12", "t40", "t100"), 1.0)),),
    ),
}
KINDS = [right_or_wrong, one_group, uneven_group, eight_passages, shares]
QUICK = [eight_passages, shares]  # seconds; the others take minutes


def n_claims(make: Callable[[Random], Made], n_trials: int) -> int:
    """Comparisons that claim a change, of models that are equally good."""
    groups = {"group": GROUPS[make]} if make in GROUPS else {}
    found = 0
    for seed in range(n_trials):
        made = make(np.random.default_rng(seed))
        (comparison,) = compare(run_with(made, 0, groups), [run_with(made, 1, groups)])
        assert comparison.n_tests == 1
        found += comparison.tasks[0].outcome != "no detectable change"
    return found


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "make", [*QUICK, *(pytest.param(make, marks=pytest.mark.verify) for make in KINDS if make not in QUICK)]
)
def test_a_comparison_raises_false_alarms_in_five_per_cent(make: Callable[[Random], Made]) -> None:
    assert n_claims(make, 3000) / 3000 == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("make", [one_group, uneven_group])
def test_a_comparison_raises_no_more_false_alarms_than_it_says(make: Callable[[Random], Made]) -> None:
    n_trials = 120
    assert n_claims(make, n_trials) <= stats.binom.ppf(0.999, n_trials, 0.05)


def test_samples_that_share_a_passage_would_raise_many_if_they_counted_one_by_one() -> None:
    def apart(random: Random) -> Made:
        first, second, _ = eight_passages(random)["task"]
        return {"task": (first, second, None)}

    assert n_claims(apart, 60) > 20


def test_several_tasks_together_raise_no_more_than_one() -> None:
    n_trials, found = 120, 0
    for seed in range(n_trials):
        random: Any = np.random.default_rng(seed)
        made = one_group(random) | {"held": eight_passages(random)["task"]}
        (comparison,) = compare(run_with(made, 0, {}), [run_with(made, 1, {})])
        assert comparison.n_tests == 9
        found += any(task.outcome != "no detectable change" for task in comparison.tasks)
    assert found <= stats.binom.ppf(0.999, n_trials, 0.05)
