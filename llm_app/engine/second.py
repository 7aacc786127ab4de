"""A second model beside the host's, for as long as somebody compares the two."""

import contextlib
import logging
import threading
from collections.abc import Generator

from llm_app.config import ModelConfig
from llm_app.engine.host import Host
from llm_app.engine.loading import LoadProgress
from llm_app.errors import ModelBusy, UserError

log = logging.getLogger(__name__)
IDLE_SECONDS = 600.0  # after the last use; then the memory is given back


class SecondModel:
    """Loaded when it is asked for and only where it fits beside the first; given back when nobody asks any more.

    Its passes take turns with those of the first model: the machine still does one at a time.
    """

    def __init__(self, beside: Host, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self.host = Host(beside.settings, turn=beside.turn)
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def load(self, config: ModelConfig) -> Generator[LoadProgress]:
        """Have this model at hand: nothing to wait for if it is. Closing the iterator cancels.

        Raises: DoesNotFit with the numbers; else as `Host.load`.
        """
        self._wait(None)
        try:
            if not self._has(config):
                yield from self.host.load(config)
        finally:
            self._wait(self._idle_seconds)

    def give_back(self) -> None:
        """Let go of the model, unless it is answering or on its way in; then later."""
        status = self.host.status()
        if status.state == "empty":
            return
        try:
            if status.n_running + status.n_waiting:
                raise ModelBusy("It is answering.")
            self.host.unload()
            log.info("the second model was given back")
        except ModelBusy:
            self._wait(self._idle_seconds)

    def shutdown(self, grace_seconds: float) -> None:
        """Take nothing new, let replies end for so long, then end them."""
        self._wait(None)
        self.host.shutdown(grace_seconds)

    def _has(self, config: ModelConfig) -> bool:
        with contextlib.suppress(UserError):
            return self.host.loaded.config == config
        return False

    def _wait(self, seconds: float | None) -> None:
        """Give it back after so many seconds, or not at all; what was planned before is forgotten."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
            if seconds is not None:
                self._timer = threading.Timer(seconds, self.give_back)
                self._timer.daemon = True
                self._timer.start()
