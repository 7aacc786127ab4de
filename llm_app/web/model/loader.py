"""Loads models in the background, so that a reload of the page neither stops nor hides it."""

import logging
import threading

from llm_app.config import ModelConfig
from llm_app.engine.host import Host
from llm_app.errors import Cancelled, ModelBusy
from llm_app.web.failures import note_error

log = logging.getLogger(__name__)


class Loader:
    """At most one load at a time; what became of the last one stays to be shown."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self.model = ""
        self.failure: Exception | None = None
        self.request_id = ""

    @property
    def is_loading(self) -> bool:
        """Whether a load that was asked for here is under way."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, config: ModelConfig, request_id: str) -> None:
        """Begin to load in place of the present model.

        Raises: ModelBusy.
        """
        with self._lock:
            if self.is_loading:
                raise ModelBusy("Another model is being loaded. Wait until it is ready, or cancel it.")
            self._cancel = threading.Event()
            self.model, self.failure, self.request_id = config.model, None, request_id
            self._thread = threading.Thread(
                target=self._load, args=(config, self._cancel), name="page-load", daemon=True
            )
            self._thread.start()

    def cancel(self) -> None:
        """Stop at the next event of the load; the model before stays."""
        self._cancel.set()

    def _load(self, config: ModelConfig, cancel: threading.Event) -> None:
        events = self._host.load(config)
        try:
            for _ in events:
                if cancel.is_set():
                    raise Cancelled("Loading was cancelled.")
        except Exception as error:
            note_error(error, self.request_id)
            self.failure = error
        finally:
            events.close()
