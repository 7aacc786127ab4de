"""Loads models in the background, and fetches them first, so that a reload of the page neither stops nor hides it."""

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Literal

from llm_app.config import ModelConfig, Settings
from llm_app.engine import catalog
from llm_app.engine.host import Host
from llm_app.engine.hub import Offer
from llm_app.errors import Cancelled, ModelBusy
from llm_app.web.failures import note_error

log = logging.getLogger(__name__)
Stage = Literal["idle", "asking", "offered", "fetching", "loading"]


class Loader:
    """At most one thing at a time; what became of the last one stays to be shown.

    `give_back`: lets go of what is in memory beside the host's model and is not in use.
    """

    def __init__(self, host: Host, give_back: Callable[[], None], settings: Settings) -> None:
        self._host, self._give_back, self._settings = host, give_back, settings
        self._lock = threading.Lock()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self.config = ModelConfig()
        self.stage: Stage = "idle"
        self.fraction = 0.0  # of a download
        self.offer: Offer | None = None  # what the person is asked about, or what is being fetched
        self.failure: Exception | None = None
        self.request_id = ""

    @property
    def is_busy(self) -> bool:
        """Whether something that was asked for here is under way."""
        return self._thread is not None and self._thread.is_alive()

    def load(self, config: ModelConfig, request_id: str) -> None:
        """Begin to load in place of the present model. Raises: ModelBusy."""
        self._start(config, request_id, self._load)

    def ask(self, config: ModelConfig, request_id: str) -> None:
        """Find out what fetching this model would bring; the answer is in `offer`. Raises: ModelBusy."""
        self.offer = None
        self._start(config, request_id, self._ask)

    def fetch(self, request_id: str) -> None:
        """Fetch what was offered, then load it; without an offer, nothing. Raises: ModelBusy."""
        if self.offer is not None and self.stage == "offered":
            self._start(self.config, request_id, self._fetch)

    def cancel(self) -> None:
        """Stop at the next event, or take the question back; the model before stays."""
        self._cancel.set()
        if not self.is_busy:
            self.stage = "idle"

    def _start(self, config: ModelConfig, request_id: str, work: Callable[[threading.Event], None]) -> None:
        with self._lock:
            if self.is_busy:
                raise ModelBusy("Another model is being loaded. Wait until it is ready, or cancel it.")
            self._cancel = threading.Event()
            self.config, self.failure, self.request_id, self.fraction = config, None, request_id, 0.0
            self._thread = threading.Thread(
                target=self._run, args=(work, self._cancel), name="page-load", daemon=True
            )
            self._thread.start()

    def _run(self, work: Callable[[threading.Event], None], cancel: threading.Event) -> None:
        try:
            work(cancel)
        except Exception as error:
            note_error(error, self.request_id)
            self.failure = error
            self.stage = "idle"

    def _load(self, cancel: threading.Event) -> None:
        self.stage = "loading"
        self._give_back()  # that room may be what this one needs
        with closing(self._host.load(self.config)) as events:
            for _ in events:
                if cancel.is_set():
                    raise Cancelled("Loading was cancelled.")
        self.stage = "idle"

    def _ask(self, cancel: threading.Event) -> None:
        self.stage = "asking"
        offer = catalog.offer(self.config.model, self._settings)
        self.offer = offer
        self.stage = "idle" if cancel.is_set() else "offered"

    def _fetch(self, cancel: threading.Event) -> None:
        self.stage = "fetching"
        with closing(catalog.download(self.config.model, self._settings)) as fractions:
            for fraction in fractions:
                self.fraction = fraction
                if cancel.is_set():
                    raise FetchCancelled("The download was cancelled. What is here is kept.")
        self._load(cancel)


class FetchCancelled(Cancelled):
    """The person stopped a download."""
