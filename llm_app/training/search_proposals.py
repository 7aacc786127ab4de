"""What a search tries next: a grid, chance, or what Optuna's TPE makes of the trials so far.

A proposal depends on the space, the seed and the history alone, so that a resumed search goes on as it would have.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llm_app.errors import UserError
from llm_app.training.search_space import Axis, Choices, Params, Space, combinations, n_combinations
from llm_app.training.search_trials import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

STRATEGIES = ("grid", "random", "bayes")
MAX_COMBINATIONS = 10_000  # that are looked through one by one
N_RANDOM_TRIALS = 5  # before TPE has anything to learn from
N_GUESSES, N_DRAWS = 10, 1000  # at a setting that is new and possible, by TPE and by chance


def check_strategy(strategy: str, space: Space) -> None:
    """Raises: UserError if a grid is asked for and the space is none, or has too many points."""
    if strategy != "grid":
        return
    endless = next((axis for axis in space if not isinstance(axis, Choices)), None)
    if endless is not None:
        raise UserError(
            f"A grid needs single values, and {endless.name} is a range. Name them ({endless.name}=A,B,C) or say how"
            f" many: {endless.name}={endless.low}..{endless.high}{':log' if endless.is_log else ''}:5", param="space",
        )
    n = n_combinations(space) or 0
    if n > MAX_COMBINATIONS:
        raise UserError(
            f"This grid has {n:,} settings; at most {MAX_COMBINATIONS:,} are looked through. Name fewer values, or"
            " search by chance: --strategy random", param="space",
        )


def propose(
    strategy: str, space: Space, seed: int, history: Sequence[Trial], is_possible: Callable[[Params], bool]
) -> dict[str, Any] | None:
    """The next setting, one that was not tried; None where there is none left.

    `is_possible`: whether the options fit together. `history`: all trials so far, in their order.
    """
    tried = {_key(trial.params) for trial in history}

    def is_new(params: Params) -> bool:
        return _key(params) not in tried and is_possible(params)

    if strategy == "grid":
        return next(filter(is_new, combinations(space)), None)
    if strategy == "bayes" and len(history) >= N_RANDOM_TRIALS:
        guesses = (_tpe(space, seed_of(seed, len(history), attempt), history) for attempt in range(N_GUESSES))
        found = next(filter(is_new, guesses), None)
        if found is not None:
            return found
    return _by_chance(space, seed_of(seed, len(history)), is_new)


def _by_chance(space: Space, seed: int, is_new: Callable[[Params], bool]) -> dict[str, Any] | None:
    rng = random.Random(seed)  # noqa: S311 - repeatable is the point
    n = n_combinations(space)
    if n is not None and n <= MAX_COMBINATIONS:
        left = list(filter(is_new, combinations(space)))
        return rng.choice(left) if left else None
    draws = ({axis.name: axis.draw(rng) for axis in space} for _ in range(N_DRAWS))
    return next(filter(is_new, draws), None)


def _tpe(space: Space, seed: int, history: Sequence[Trial]) -> dict[str, Any]:
    """One proposal of Optuna's tree-structured Parzen estimator, from a study made anew of the history."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of each study it makes
    axes = {axis.name: _distribution(axis) for axis in space}
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=N_RANDOM_TRIALS)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    study.add_trials([_frozen(trial, space, axes) for trial in history])
    asked = study.ask(axes).params
    return {axis.name: _value(axis, asked[axis.name]) for axis in space}


def _distribution(axis: Axis) -> "BaseDistribution":
    """Single values by their place in the list: for TPE numbers have neighbours, and names have none."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(axis, Choices):
        n = len(axis.values)
        return IntDistribution(0, n - 1) if axis.is_ordered else CategoricalDistribution(range(n))
    if isinstance(axis.low, int):
        return IntDistribution(axis.low, int(axis.high), log=axis.is_log)
    return FloatDistribution(axis.low, axis.high, log=axis.is_log)


def _value(axis: Axis, asked: Any) -> Any:
    return axis.values[asked] if isinstance(axis, Choices) else axis.fit(asked)


def _frozen(trial: Trial, space: Space, axes: "dict[str, BaseDistribution]") -> "FrozenTrial":
    """A trial as Optuna knows it. One that failed counts as stopped before its first measurement, thus as the worst."""
    from optuna.trial import TrialState, create_trial

    params = {
        axis.name: axis.values.index(value) if isinstance(axis, Choices) else value
        for axis in space for value in [trial.params[axis.name]]
    }
    if trial.state == "done" and trial.best is not None:
        return create_trial(params=params, distributions=axes, value=trial.best[1])
    points = {} if trial.state == "failed" else dict(enumerate(trial.losses))
    return create_trial(state=TrialState.PRUNED, params=params, distributions=axes, intermediate_values=points)


def _key(params: Params) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(params.items()))


def seed_of(*parts: int) -> int:
    """A seed for each proposal of a search, from 0 to 2^32 - 1: that of the search, the trial's number, the attempt."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big")
