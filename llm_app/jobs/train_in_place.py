"""Training within processes that a launcher has started already, such as `accelerate launch`."""

import signal
from collections.abc import Iterator

from llm_app.config import Settings
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.train_child import Outcome, ProcessLost
from llm_app.jobs.train_log import Told
from llm_app.jobs.train_outcome import Stoppable, outcome_last
from llm_app.jobs.train_worker import Handler, stop_on_signals


class InPlace:
    """What a `TrainChild` is to a run, without a process of its own: it ends when the launcher's processes end."""

    def __init__(self, folder: RunFolder, settings: Settings, n_threads: int) -> None:
        """`n_threads` is the launcher's to set."""
        self._folder, self._settings = folder, settings
        self._trainer: Stoppable | None = None
        self._outcome: Outcome | None = None
        self._handlers: list[tuple[signal.Signals, Handler]] = []

    def __iter__(self) -> Iterator[Told]:
        for told in outcome_last(self._folder, self._settings, self._ready):
            if isinstance(told, Outcome):
                self._outcome = told
            else:
                yield told

    def end_soon(self) -> None:
        """Ask all processes to save and end, within one step."""
        if self._trainer is not None:
            self._trainer.stop()

    def kill(self) -> None:
        """The same: one of several processes cannot end at once without leaving the others waiting."""
        self.end_soon()

    def outcome(self) -> Outcome:
        """How it ended. Raises: ProcessLost if it was not read to its end."""
        if self._outcome is None:
            raise ProcessLost("The training was left before its end.")
        return self._outcome

    def close(self) -> None:
        """Signals mean again what they meant before."""
        for number, handler in self._handlers:
            signal.signal(number, handler)

    def _ready(self, trainer: Stoppable) -> None:
        self._trainer = trainer
        self._handlers = stop_on_signals(trainer)


def join_in(folder: RunFolder, settings: Settings) -> Outcome:
    """The part of a launched process that is not the first: it computes, and the first one speaks and saves."""
    work = InPlace(folder, settings, 0)
    for _ in work:
        pass
    return work.outcome()
