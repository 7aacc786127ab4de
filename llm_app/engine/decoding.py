"""Continuous batching: requests join and leave the batch between steps.

One thread owns the batches. A step reads a chunk of waiting prompts and gives every running reply one token; the turn
is held for one batch's step, never longer. Requests of different adapters form batches of their own, and so do those
of an evaluation: while somebody chats, they get one step of every PATIENCE + 1.
"""

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence

from llm_app.config import SamplingConfig
from llm_app.engine import fallback
from llm_app.engine.batch import Batch
from llm_app.engine.fit import free_bytes
from llm_app.engine.forward import bytes_per_position
from llm_app.engine.loading import LoadedModel
from llm_app.engine.request import Request, Stream, new_request
from llm_app.engine.turn import CHAT, PATIENCE, Turn
from llm_app.errors import (
    ContextLengthExceeded,
    EngineUnavailable,
    GenerationFailed,
    QueueFull,
    ShuttingDown,
    UserError,
)

log = logging.getLogger(__name__)
MAX_FAILURES = 3  # in a row; after that the decoder stays down and says so
MAX_GENERATE_THREADS = 4
CACHE_SHARE = 0.25  # of the free memory, for the keys and values of all replies
IS_DOWN = "The decoder failed repeatedly. Load the model again."


class Decoder:
    """Decodes replies of one loaded model until it is closed."""

    def __init__(self, loaded: LoadedModel, turn: Turn, *, max_streams: int = 32, max_waiting: int = 64) -> None:
        self.loaded = loaded
        self._turn = turn
        self._max_streams, self._max_waiting = max_streams, max_waiting
        self._condition = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._batches: dict[tuple[int, str | None], Batch] = {}  # by rank and adapter
        self._solo: list[Request] = []  # decoded by `generate`
        self._is_closing = False
        self._n_failures = 0
        self._n_steps = 0
        self._bytes_per_position = bytes_per_position(loaded.model) if loaded.is_batchable else 1
        self._thread = threading.Thread(target=self._run, name="proofbench-decode", daemon=True)
        self._thread.start()

    def submit(
        self, prompt_ids: Sequence[int], sampling: SamplingConfig, adapter: str | None = None, rank: int = CHAT
    ) -> Stream:
        """Queue a prompt; the stream starts as soon as there is room.

        Raises: QueueFull, ContextLengthExceeded, EngineUnavailable, ShuttingDown.
        """
        n_context = self.loaded.n_context
        if not prompt_ids:
            raise UserError("The prompt is empty. Write something first.", param="prompt")
        if len(prompt_ids) >= n_context:
            raise ContextLengthExceeded(
                f"The prompt has {len(prompt_ids):,} tokens, the context of this model holds {n_context:,}"
                " including at least one of the reply. Shorten the prompt.",
                param="messages",
            )
        request = new_request(self.loaded, prompt_ids, sampling, adapter, self._wake, rank)
        with self._condition:
            if self._is_closing:
                raise ShuttingDown("This model is being unloaded. Try again in a moment.", retry_after_seconds=5)
            if self.is_down:
                raise EngineUnavailable(IS_DOWN, retry_after_seconds=30)
            if self.n_running + len(self._waiting) >= self._max_streams + self._max_waiting:
                raise QueueFull(
                    f"{self._max_streams} replies run and {self._max_waiting} wait already. Try again shortly.",
                    retry_after_seconds=2,
                )
            self._waiting.append(request)
            self._condition.notify_all()
        return request.stream

    @property
    def n_running(self) -> int:
        """Replies in the batch."""
        return sum(len(batch.requests) for batch in list(self._batches.values())) + len(self._solo)

    @property
    def n_waiting(self) -> int:
        """Requests not yet in the batch."""
        return len(self._waiting)

    @property
    def n_cache_bytes(self) -> int:
        """Memory of all keys and values, in bytes."""
        return sum(batch.n_cache_bytes for batch in list(self._batches.values()))

    @property
    def is_down(self) -> bool:
        """Whether it failed too often in a row to be restarted."""
        return self._n_failures > MAX_FAILURES

    def close(self, grace_seconds: float) -> None:
        """Take nothing more, let replies end for so long, then end them with an error."""
        deadline = time.monotonic() + grace_seconds
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
            self._condition.wait_for(
                lambda: self._is_idle or self.is_down, timeout=max(0.0, deadline - time.monotonic())
            )
        with self._turn.held():  # nothing moves between the lists meanwhile
            left = [*self._waiting, *self._solo, *(r for b in list(self._batches.values()) for r in b.requests)]
        for request in left:
            if not request.is_over:
                request.stream.put(
                    ShuttingDown("The model was unloaded before the reply ended. Send the message again.")
                )
                request.stream.close()
        with self._condition:
            self._condition.wait_for(lambda: self._is_idle, timeout=5.0)
        self._thread.join(timeout=5.0)

    @property
    def _is_idle(self) -> bool:
        return not self._waiting and self.n_running == 0

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._step()
                if self._is_idle:
                    self._wake()
        except Exception as error:  # the worker's last boundary: nobody is left waiting for a thread that is gone
            log.critical("the decoder stopped", exc_info=error)
            self._n_failures = MAX_FAILURES + 1
            for request in (*self._waiting, *(r for batch in self._batches.values() for r in batch.requests)):
                request.fail(EngineUnavailable(IS_DOWN))
            self._waiting.clear()
        finally:
            self._batches.clear()  # they hold the model
            self._wake()

    def _wait_for_work(self) -> bool:
        """Wait, then admit who may join; False when it is closed and empty."""
        with self._condition:
            self._condition.wait_for(lambda: self._has_work or (self._is_closing and self._is_idle))
            if self._is_closing and self._is_idle:
                return False
            self._admit()
            return True

    @property
    def _has_work(self) -> bool:
        return (
            any(batch.requests for batch in self._batches.values())
            or any(request.is_over for request in (*self._solo, *self._waiting))
            or bool(self._admissible())
        )

    def _is_batched(self, request: Request) -> bool:
        return self.loaded.is_batchable and request.sampling.n_beams == 1

    def _admissible(self) -> list[Request]:
        """Who may join now: chats first, then first come, first served; beam searches wait in a line of their own."""
        admitted: list[Request] = []
        n_solo, is_full = len(self._solo), False
        for request in sorted(self._waiting, key=lambda request: request.rank):
            if self.n_running + len(admitted) >= self._max_streams:
                break
            if request.is_over:
                continue
            if not self._is_batched(request):
                if n_solo < MAX_GENERATE_THREADS:
                    n_solo += 1
                    admitted.append(request)
            elif not is_full and self._fits([*admitted, request]):
                admitted.append(request)
            else:
                is_full = True  # nobody smaller overtakes
        return admitted

    def _fits(self, more: list[Request]) -> bool:
        """Whether the caches stay within their share of the memory. The first request always may start."""
        if self.n_running == 0 and len(more) == 1:
            return True
        groups = {key: list(batch.requests) for key, batch in self._batches.items()}
        for request in more:
            groups.setdefault((request.rank, request.adapter), []).append(request)
        # A cache is a rectangle: as many rows as requests, each as long as the longest may come to be.
        n_positions = sum(len(group) * max(r.n_needed for r in group) for group in groups.values() if group)
        n_positions += sum(request.n_needed * request.sampling.n_beams for request in self._solo)
        budget = CACHE_SHARE * (free_bytes(self.loaded.device) + self.n_cache_bytes)
        return n_positions * self._bytes_per_position <= budget

    def _admit(self) -> None:
        self._solo = [request for request in self._solo if not request.is_over]
        admitted = self._admissible()
        self._waiting = deque(r for r in self._waiting if not r.is_over and r not in admitted)
        for request in admitted:
            if self._is_batched(request):
                key = (request.rank, request.adapter)
                self._batches.setdefault(key, Batch(self.loaded.model)).join(request)
            else:
                self._solo.append(request)
                fallback.start(self.loaded.model, request, self._turn, self.loaded.adapters.use, self._ended)

    def _step(self) -> None:
        """One step of every batch whose turn it is; what goes wrong in one does not touch the others."""
        self._n_steps += 1
        is_chatting = any(batch.requests for (rank, _), batch in self._batches.items() if rank == CHAT)
        for (rank, adapter), batch in sorted(self._batches.items(), key=lambda item: item[0][0]):
            if not batch.requests:
                del self._batches[rank, adapter]
                continue
            is_second = rank > CHAT and is_chatting
            if is_second and self._n_steps % (PATIENCE + 1):
                continue
            try:
                with self._turn.held(rank):
                    self.loaded.adapters.use(adapter)
                    batch.step(others_wait=is_second)
                self._n_failures = 0
            except Exception as error:  # the worker's boundary: readers get it as an event
                self._recover(batch, error)

    def _recover(self, batch: Batch, error: Exception) -> None:
        """Readers are told; after a pause, longer each time, the loop goes on."""
        batch.fail(_told(error))
        if isinstance(error, UserError):
            return
        self._n_failures += 1
        log.error("decoding failed, %d in a row", self._n_failures, exc_info=error)
        if self.is_down:
            with self._condition:
                while self._waiting:
                    self._waiting.popleft().fail(EngineUnavailable(IS_DOWN))
            return
        time.sleep(0.1 * 2**self._n_failures)

    def _ended(self, request: Request, error: Exception | None) -> None:
        if error is not None:
            log.error("generate failed", exc_info=None if isinstance(error, UserError) else error)
            request.fail(_told(error))
        self._wake()


def _told(error: Exception) -> Exception:
    """What the reader gets: the sentence of a UserError, else a number that the log has too."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "can't allocate memory" in str(error):
        return GenerationFailed("Not enough memory for this reply. Shorten the prompt or lower the number of streams.")
    number = uuid.uuid4().hex[:8]
    log.error("generation failed, number %s: %s", number, type(error).__name__)
    return GenerationFailed(f"Generation failed (number {number}). The text so far is kept; send the message again.")
