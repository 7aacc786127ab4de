"""A search for good settings: trials one after the other, each a run of its own kept by whoever knows its kind.

The search's own folder says all that is needed to go on after a kill: trials that ended are never run again, the one
under way is taken up where its run stands, and the next proposal is the one that an undisturbed search would make.
"""

import math
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from llm_app.errors import Cancelled, ShuttingDown, UserError
from llm_app.jobs.ending import Paused, recorded_end
from llm_app.jobs.folder import NoSpace, RunFolder, RunIsRunning
from llm_app.training.search_proposals import propose
from llm_app.training.search_space import Params, Space, n_combinations
from llm_app.training.search_trials import LOSS, State, Trial, is_losing, leader

N_HOPELESS = 3  # so many failed trials, and none that worked, end a search
NOT_A_TRIALS_FAULT = (Cancelled, ShuttingDown, NoSpace, Paused, RunIsRunning)


@dataclass(frozen=True)
class Plan:
    """What to search, how, and for how long. `seconds`: of all trials together; None is no limit."""

    space: Space
    strategy: str  # one of search_proposals.STRATEGIES
    seed: int
    n_trials: int
    seconds: float | None = None


@dataclass(frozen=True)
class Tick:
    """A trial has come to this step of so many; `loss`, the lower the better, where it was measured there.

    `metric`: a score of which the loss is what it lacks to 1, where that is what is compared.
    """

    step: int
    n_steps: int
    loss: float | None = None
    metric: str = LOSS


@dataclass(frozen=True)
class Progress:
    """How far the search is: the trial under way or just over, `done` of `total`."""

    trial: Trial
    done: int
    total: int


class Trials(Protocol):
    """The work that is searched over: all that knows what a trial is."""

    def is_possible(self, params: Params) -> bool:
        """Whether the options fit together."""
        ...

    def begin(self, params: Params, number: int) -> str:
        """Make the run of a trial; gives its id. One that was made for this number before is taken again."""
        ...

    def run(self, run_id: str) -> Generator[Tick]:
        """All steps of it, those of earlier parts again; to stop, close it.

        Raises: UserError if these settings do not work.
        """
        ...

    def stop(self, reason: UserError) -> None:
        """Make `run` raise this soon. Called from another thread."""
        ...

    def drop(self, run_id: str) -> None:
        """It does not lead: delete what is large, or end it at once where it is under way. What it told stays.

        No error if the run is gone.
        """
        ...

    def offer(self, run_id: str) -> Mapping[str, Any]:
        """It came out best: put it where it is used. Gives what the log is to say of it besides.

        No error if the run is gone.
        """
        ...


class Search:
    """A search, new or resumed. Iterate `run()`; close it to stop."""

    def __init__(self, folder: RunFolder, plan: Plan, trials: Trials) -> None:
        self.folder, self.plan = folder, plan
        self._trials = trials
        self.history = read_trials(folder.events())
        self._stopped: UserError | None = None

    @property
    def n_done(self) -> int:
        """Trials that ended, however that was."""
        return sum(trial.state != "running" for trial in self.history)

    @property
    def n_total(self) -> int:
        """Trials at most."""
        return min(self.plan.n_trials, n_combinations(self.plan.space) or self.plan.n_trials)

    def scores(self) -> Mapping[str, Any]:
        """The lowest validation loss of all, or the highest score."""
        best = leader(self.history)
        return {} if best is None else {"best": [f"validation_{best.metric}", best.best_value]}

    def stop(self, reason: UserError) -> None:
        """End it from another thread, within one step of the trial under way."""
        self._stopped = reason
        self._trials.stop(reason)

    def run(self) -> Generator[Progress]:
        """Try what is left; what was measured is on disk before it is given.

        Raises: UserError if trial after trial fails, or there is nothing to try.
        """
        with self.folder, recorded_end(self):
            self.history = read_trials(self.folder.events())  # another process may have gone on with it until now
            self._tidy()
            while (number := self._next()) is not None:
                yield from self._try(number)
                self._tidy()
                self._give_up_if_hopeless()
            best = leader(self.history)
            if best is not None and best.run is not None:
                found = self._trials.offer(best.run)
                counts = {"done": self.n_done, "total": self.n_total}
                self._record({"type": "best", "trial": best.number, **found, **counts})

    def _next(self) -> int | None:
        """The trial that is to be run, a new one where none is under way; None at the end of the search."""
        self._raise_if_stopped()
        number = len(self.history)
        if number > 0 and self.history[-1].state == "running":
            return number - 1
        if number >= self.plan.n_trials or self._is_over(0.0):
            return None
        plan = self.plan
        params = propose(plan.strategy, plan.space, plan.seed, self.history, self._trials.is_possible)
        if params is None:
            if number == 0:
                raise UserError("None of the settings of this space fit together.", param="space")
            return None
        self._record({"type": "trial", "trial": number, "params": params})
        return number

    def _try(self, number: int) -> Generator[Progress]:
        """One trial to its end, written down."""
        begun = time.monotonic() - self.history[number].seconds
        state: State
        try:
            state, reason = (yield from self._follow(number, begun)), None
        except NOT_A_TRIALS_FAULT:
            raise
        except UserError as error:
            state, reason = "failed", error.message
        self._record({
            "type": "trial_end", "trial": number, "state": state, "reason": reason,
            "steps": self.history[number].n_steps, "seconds": _seconds_since(begun),
            "done": self.n_done + 1, "total": self.n_total,
        })
        yield self._progress(number)

    def _follow(self, number: int, begun: float) -> Generator[Progress, None, State]:
        """The steps of a trial until it ends or is ended; gives how."""
        run_id = self.history[number].run
        if run_id is None:
            run_id = self._trials.begin(self.history[number].params, number)
            self._record({"type": "run", "trial": number, "run": run_id})
        yield self._progress(number)
        with closing(self._trials.run(run_id)) as ticks:
            for tick in ticks:
                self._raise_if_stopped()
                trial = self.history[number]
                self.history[number] = replace(trial, n_steps=max(trial.n_steps, tick.step))
                self._measure(number, tick, begun)
                yield self._progress(number)
                is_last = tick.step >= tick.n_steps
                if tick.loss is not None and not is_last and is_losing(self.history[number], self.history):
                    self._trials.drop(run_id)
                    return "pruned"
                if self._is_over(_seconds_since(begun), number):
                    return "cut"
        if not self.history[number].points:
            raise UserError("Its loss was never measured.")
        return "done"

    def _measure(self, number: int, tick: Tick, begun: float) -> None:
        """Write down what was measured, once.

        Raises: UserError if it is no number.
        """
        trial = self.history[number]
        is_known = trial.before is not None if tick.step == 0 else any(step == tick.step for step, _ in trial.points)
        if tick.loss is None or is_known:
            return
        if not math.isfinite(tick.loss):
            raise UserError(f"Its loss at step {tick.step} is not a number.")
        self._record({
            "type": "point", "trial": number, "step": tick.step, "loss": tick.loss, "metric": tick.metric,
            "seconds": _seconds_since(begun), "done": self.n_done, "total": self.n_total,
        })

    def _tidy(self) -> None:
        """Keep the files of the best trial only."""
        best = leader(self.history)
        for trial in self.history:
            if trial is not best and trial.run is not None and trial.state != "running":
                self._trials.drop(trial.run)

    def _give_up_if_hopeless(self) -> None:
        if len(self.history) >= N_HOPELESS and all(trial.state == "failed" for trial in self.history):
            raise UserError(
                f"The first {len(self.history)} trials failed. The last one said: {self.history[-1].reason}"
            )

    def _is_over(self, seconds: float, number: int | None = None) -> bool:
        """Whether the time is spent, where the trial of this number has taken so long."""
        others = sum(trial.seconds for trial in self.history if trial.number != number)
        return self.plan.seconds is not None and others + seconds >= self.plan.seconds

    def _record(self, event: Mapping[str, Any]) -> None:
        self.folder.append([event])
        _take(self.history, event)

    def _progress(self, number: int) -> Progress:
        return Progress(self.history[number], self.n_done, self.n_total)

    def _raise_if_stopped(self) -> None:
        if self._stopped is not None:
            raise self._stopped


def _seconds_since(begun: float) -> float:
    return round(time.monotonic() - begun, 3)


def read_trials(events: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """The trials that the log of a search tells of, in their order."""
    trials: list[Trial] = []
    for event in events:
        _take(trials, event)
    return trials


def _take(trials: list[Trial], event: Mapping[str, Any]) -> None:
    """Bring the trials up to date with one more event."""
    kind, number = event.get("type"), event.get("trial", -1)
    if kind == "trial":
        # JSON has no tuples.
        params = {name: tuple(value) if isinstance(value, list) else value for name, value in event["params"].items()}
        trials.append(Trial(number, params))
    elif kind == "run":
        trials[number] = replace(trials[number], run=event["run"])
    elif kind == "point":
        step, loss = event["step"], event["loss"]
        trial = replace(trials[number], n_steps=max(trials[number].n_steps, step), seconds=event["seconds"])
        trial = replace(trial, metric=event.get("metric", LOSS))
        points = trial.points if step == 0 else (*trial.points, (step, loss))
        trials[number] = replace(trial, points=points, before=loss if step == 0 else trial.before)
    elif kind == "trial_end":
        trials[number] = replace(
            trials[number], state=event["state"], n_steps=event["steps"], seconds=event["seconds"],
            reason=event["reason"],
        )
