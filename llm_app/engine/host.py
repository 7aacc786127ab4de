"""Which model is loaded now; swapping and unloading it; the door through which everybody reaches it."""

import logging
import math
import os
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from llm_app.config import ModelConfig, SamplingConfig, ServeConfig, Settings
from llm_app.engine import catalog, fit
from llm_app.engine.adapters import AttachReport
from llm_app.engine.decoding import Decoder
from llm_app.engine.loading import LoadedModel, LoadProgress, load, release_memory
from llm_app.engine.pace import end_team
from llm_app.engine.request import Asked
from llm_app.engine.scoring import prompt_logprobs
from llm_app.engine.turn import CHAT, Turn
from llm_app.errors import ModelBusy, ModelIsRemote, ModelLoading, ModelNotFound, ShuttingDown, UserError
from llm_app.messages import Stream, TokenLogprob
from llm_app.remote.address import REMOTE, is_address
from llm_app.remote.model import RemoteModel, connect

log = logging.getLogger(__name__)
SWAP_GRACE_SECONDS = 60.0  # replies of the old model may end for so long when another takes its place

State = Literal["empty", "loading", "ready", "failed", "stopping"]


@dataclass(frozen=True)
class HostStatus:
    """What a page or a health check shows. `reason` says why there is no model."""

    state: State
    model: str | None = None
    adapter: str | None = None
    precision: str | None = None
    phase: str | None = None
    fraction: float = 0.0
    reason: str | None = None
    n_running: int = 0
    n_waiting: int = 0


class Host:
    """One loaded model, shared by chats, the API and long work; one forward pass at a time.

    A model on another server may take its place: `remote` is there then, and what needs `loaded` says that it cannot.
    `turn`: that of another host, where two of them share the machine.
    """

    def __init__(self, settings: Settings, serve: ServeConfig | None = None, turn: Turn | None = None) -> None:
        self.settings = settings
        self.turn = turn or Turn()
        self._serve = serve or ServeConfig()
        self._decoder: Decoder | None = None
        self._remote: RemoteModel | None = None  # never beside a decoder
        self._loading = threading.Lock()  # held for a whole load or unload
        self._lock = threading.Lock()  # held to change which decoder and adapter answer
        self._progress: LoadProgress | None = None
        self._reason: str | None = None
        self._adapter: str | None = None
        self._adapter_given: str | None = None  # its name or folder, as whoever attached it gave it
        self._is_stopping = False

    @property
    def loaded(self) -> LoadedModel:
        """The model that answers now.

        Raises: ModelLoading when there is none yet; ModelIsRemote where another server's answers; ShuttingDown.
        """
        return self._ready().loaded

    @property
    def remote(self) -> RemoteModel | None:
        """The model on another server, where one of those answers."""
        return self._remote

    @property
    def config(self) -> ModelConfig:
        """What brings back the model that answers now, with the adapter that answers; raises as `loaded`."""
        return replace(self.loaded.config, adapter=self._adapter and self._adapter_given)

    def status(self) -> HostStatus:
        """A snapshot; never blocks."""
        decoder, progress, remote = self._decoder, self._progress, self._remote
        phase, fraction = (progress.phase, progress.fraction) if progress else (None, 0.0)
        if remote is not None:
            state: State = "stopping" if self._is_stopping else "ready"
            return HostStatus(state, remote.name, None, REMOTE, phase, fraction, self._reason)
        if decoder is None:
            waiting: State = "loading" if progress else "failed" if self._reason else "empty"
            state = "stopping" if self._is_stopping else waiting
            return HostStatus(state, phase=phase, fraction=fraction, reason=self._reason)
        loaded = decoder.loaded
        state = "stopping" if self._is_stopping else "failed" if decoder.is_down else "ready"
        reason = "The decoder failed repeatedly." if decoder.is_down else self._reason
        return HostStatus(
            state, loaded.entry.name, self._adapter, loaded.precision, phase, fraction, reason,
            decoder.n_running, decoder.n_waiting,
        )  # fmt: skip

    def load(self, config: ModelConfig) -> Generator[LoadProgress]:
        """Load a model in place of the present one, which answers until the new one is ready.

        Where both do not fit in memory, the old one is unloaded first, and taken back if the new one fails.
        Closing the iterator cancels. Raises: ModelBusy, ModelNotFound, ModelRejected, DoesNotFit.
        """
        if self._is_stopping:
            raise ShuttingDown("The server is shutting down.", retry_after_seconds=30)
        if not self._loading.acquire(blocking=False):
            told = "Another model is being loaded. Wait until it is ready, or cancel it."
            raise ModelBusy(told, retry_after_seconds=5)
        try:
            self._reason = None
            self._progress = LoadProgress("checking", 0.0)
            yield from self._load(config)
        except UserError as error:
            self._reason = error.message
            raise
        finally:
            end_team()
            self._progress = None
            self._loading.release()

    def unload(self) -> None:
        """Let go of the model; its memory is given back. Replies under way end with an error after a moment."""
        if not self._loading.acquire(blocking=False):
            told = "A model is being loaded. Cancel that first, or wait until it is ready."
            raise ModelBusy(told, retry_after_seconds=5)
        try:
            self._close(*self._take(), grace_seconds=1.0)
        finally:
            self._loading.release()

    def attach(self, adapter: str, *, answers: bool = True) -> AttachReport:
        """Put an adapter into the loaded base; unless `answers` is False, it answers whoever does not name one."""
        loaded = self.loaded
        entry = catalog.find_adapter(adapter, self.settings)
        report = loaded.adapters.attach(entry.path, name=entry.name, turn=self.turn.held())
        loaded.adapters.share(entry.name)
        with self._lock:
            if self._decoder is None or self._decoder.loaded is not loaded:
                raise ModelBusy("The model was changed meanwhile. Attach the adapter again.")
            if answers:
                self._adapter, self._adapter_given = entry.name, adapter
        return report

    def detach(self, adapter: str) -> None:
        """Take an adapter out again; the base answers as before."""
        with self.turn.held():
            self.loaded.adapters.detach(adapter)
        if self._adapter == adapter:
            self._adapter = None

    def let_base_answer(self) -> None:
        """Let the base answer whoever names no adapter; those that are attached stay at hand."""
        with self._lock:
            self._adapter = None

    @property
    def adapter(self) -> str | None:
        """The adapter that answers when a request does not name one."""
        return self._adapter

    def stream(
        self, prompt_ids: Sequence[int], sampling: SamplingConfig, *, adapter: str | None = None, rank: int = CHAT
    ) -> Stream:
        """Start a reply. `adapter`: an attached one, or None for the base. `rank`: BATCH lets chats go first.

        Raises: QueueFull, ContextLengthExceeded, ModelLoading, ShuttingDown, ModelNotFound.
        """
        decoder = self._ready()
        self._check_adapter(decoder.loaded, adapter)
        return decoder.submit(prompt_ids, sampling, adapter, rank)

    def require_room(self, n_coming: int = 0) -> None:
        """Raises: QueueFull where there is no place for a reply once `n_coming` others have theirs; as `loaded`."""
        self._ready().require_room(n_coming)

    def stream_together(self, asked: Sequence[Asked], *, adapter: str | None = None) -> list[Stream]:
        """Start replies of an evaluation, whose passes nothing else may change; chats go first.

        Raises: NotEnoughMemory for so many at once, else as `stream`.
        """
        decoder = self._ready()
        self._check_adapter(decoder.loaded, adapter)
        return decoder.submit_together(asked, adapter)

    def prompt_logprobs(
        self, prompt_ids: Sequence[int], n_top: int, *, adapter: str | None = None
    ) -> list[TokenLogprob]:
        """Log-probability of every token of a text given those before it; NaN for the first."""
        loaded = self.loaded
        self._check_adapter(loaded, adapter)
        return prompt_logprobs(loaded, self.turn, prompt_ids, n_top, adapter)

    def shutdown(self, grace_seconds: float = 20.0) -> None:
        """Take nothing new, let replies end for so long, then end them."""
        self._is_stopping = True
        decoder, remote = self._decoder, self._remote
        if decoder is not None:
            decoder.close(grace_seconds)
        if remote is not None:
            remote.close(grace_seconds)

    def _ready(self) -> Decoder:
        if self._is_stopping:
            raise ShuttingDown("The server is shutting down. Try again in a minute.", retry_after_seconds=30)
        if (name := self._remote and self._remote.name) is not None:
            raise ModelIsRemote(f"This needs a model on this machine, and {name} is on another server. Load one first.")
        if self._decoder is None:
            if self._progress is not None:
                percent = math.floor(100 * self._progress.fraction)
                told = f"The model is being loaded ({percent} %). Try again in a moment."
                raise ModelLoading(told, retry_after_seconds=2)
            chinese = f"模型加载失败：{self._reason}" if self._reason else "尚未加载模型，请先加载一个。"
            reason = self._reason or "No model is loaded. Load one first."
            raise ModelLoading(reason, retry_after_seconds=10, message_zh=chinese)
        return self._decoder

    def _check_adapter(self, loaded: LoadedModel, adapter: str | None) -> None:
        if adapter is not None and adapter not in loaded.adapters.names:
            known = ", ".join(loaded.adapters.names) or "none"
            raise ModelNotFound(f"No adapter {adapter} is attached (attached: {known}).", param="model")

    def _load(self, config: ModelConfig) -> Generator[LoadProgress]:
        if is_address(config.model) and not self.settings.is_public:
            yield from self._connect(config)
            return
        estimate = fit.estimate(catalog.find_model(config.model, self.settings), config)
        if self._decoder is None or estimate.fits:
            fit.require(estimate)
            yield from self._place(config)
            return
        freed = fit.Fit(estimate.needs_bytes, estimate.free_bytes + self._decoder.loaded.n_bytes, None)
        fit.require(freed if freed.fits else estimate)
        previous = self.config
        self._close(*self._take(), grace_seconds=SWAP_GRACE_SECONDS)
        try:
            yield from self._place(config)
        except BaseException:
            for _ in self._place(previous):
                pass
            raise

    def _connect(self, config: ModelConfig) -> Generator[LoadProgress]:
        """Let a model on another server answer in place of the present one."""
        yield LoadProgress("checking", 0.1)
        remote = connect(config, os.environ)
        with self._lock:
            old, self._decoder, self._adapter = self._decoder, None, None
            before, self._remote = self._remote, remote
        self._close_later(old, before)

    def _place(self, config: ModelConfig) -> Generator[LoadProgress]:
        """Load, and let the new model answer once nothing can fail any more."""
        loaded: LoadedModel | None = None
        for event in load(config, self.settings):
            if isinstance(event, LoadedModel):
                loaded = event
            else:
                self._progress = event
                yield event
        assert loaded is not None
        adapter = None
        if config.adapter:
            try:
                entry = catalog.find_adapter(config.adapter, self.settings)
                adapter = loaded.adapters.attach(entry.path, name=entry.name).name
            except BaseException:
                loaded.close()
                release_memory()
                raise
        # On a public server, how soon a reply comes must not tell that somebody asked the same before.
        new = Decoder(loaded, self.turn, self._serve, keeps_chats=not self.settings.is_public)
        with self._lock:
            old, self._decoder = self._decoder, new
            before, self._remote = self._remote, None
            self._adapter, self._adapter_given = adapter, config.adapter
        self._close_later(old, before)

    def _take(self) -> tuple[Decoder | None, RemoteModel | None]:
        with self._lock:
            decoder, self._decoder, self._adapter = self._decoder, None, None
            remote, self._remote = self._remote, None
        return decoder, remote

    def _close_later(self, decoder: Decoder | None, remote: RemoteModel | None) -> None:
        """Replies of the old model end in their own time; who loads need not wait for them."""
        threading.Thread(target=self._close, args=(decoder, remote, SWAP_GRACE_SECONDS), daemon=True).start()

    def _close(self, decoder: Decoder | None, remote: RemoteModel | None, grace_seconds: float) -> None:
        if remote is not None:
            remote.close(grace_seconds)
        if decoder is not None:
            decoder.close(grace_seconds)
            decoder.loaded.close()
            release_memory()
