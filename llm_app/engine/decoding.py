"""Continuous batching: requests join and leave the batch between steps.

One thread owns the batches. A step reads a chunk of waiting prompts and gives every running reply one token; the turn
is held for one batch's step, never longer. Requests of different adapters form batches of their own, and so do those
of an evaluation: while somebody chats, they get one step of every PATIENCE + 1.

What is submitted together stays together: one batch from its first step on, which nobody joins. Its passes, and with
them every bit of its replies, follow from its prompts alone.
"""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

from llm_app.config import SamplingConfig, ServeConfig
from llm_app.engine import fallback
from llm_app.engine.batch import Batch, positions
from llm_app.engine.blocks import give_back
from llm_app.engine.failures import IS_DOWN, told
from llm_app.engine.fit import free_bytes
from llm_app.engine.kept import KEPT_BYTES, Kept
from llm_app.engine.loading import LoadedModel
from llm_app.engine.memory import bytes_per_position
from llm_app.engine.opening import Opening, opening_ids
from llm_app.engine.pace import Pace, end_team
from llm_app.engine.request import Asked, Request, new_request
from llm_app.engine.turn import BATCH, CHAT, PATIENCE, Turn
from llm_app.errors import EngineUnavailable, NotEnoughMemory, QueueFull, ShuttingDown, UserError
from llm_app.messages import Stream

log = logging.getLogger(__name__)
MAX_FAILURES = 3  # in a row; after that the decoder stays down and says so
MAX_GENERATE_THREADS = 4
CACHE_SHARE = 0.25  # of the free memory, for the keys and values of all replies
MOST_UNUSED, PAUSE_SECONDS = 512 << 20, 5.0  # bytes after which a pause is used to give back what was freed
Party = tuple[Request, ...]  # they join in one step, or not yet


class Decoder:
    """Decodes replies of one loaded model until it is closed."""

    def __init__(self, loaded: LoadedModel, turn: Turn, serve: ServeConfig, *, keeps_chats: bool) -> None:
        self.loaded, self._turn = loaded, turn
        self._max_streams, self._max_waiting = serve.max_streams, serve.max_waiting
        self._condition = threading.Condition()
        self._waiting: deque[Party] = deque()
        self._batches: dict[tuple[int, str | None, int], Batch] = {}
        self._solo: list[Request] = []  # decoded by `generate`
        self._pace, self._kept = Pace.of(loaded.model), Kept(KEPT_BYTES if keeps_chats else 0)
        self._opening = Opening(opening_ids(loaded.tokenizer, loaded.template))
        self._is_closing, self._n_failures, self._n_steps = False, 0, 0
        self._n_promised = 0  # bytes that replies might have come to need since memory was given back
        self._numbers = itertools.count(1)
        self._bytes_per_position = bytes_per_position(loaded.model) if loaded.is_batchable else 1
        self._thread: threading.Thread | None = None  # comes with the first request

    def submit(
        self, prompt_ids: Sequence[int], sampling: SamplingConfig, adapter: str | None = None, rank: int = CHAT
    ) -> Stream:
        """Queue a prompt; the stream starts as soon as there is room.

        Raises: QueueFull, ContextLengthExceeded, EngineUnavailable, ShuttingDown.
        """
        request = new_request(self.loaded, Asked(prompt_ids, sampling), adapter, self._wake, rank)
        with self._condition:
            self._check_open()
            self.require_room()
            self._waiting.append((request,))
            self._begin()
        return request.stream

    def require_room(self, n_coming: int = 0) -> None:
        """Raises: QueueFull where there is no place for one more, once `n_coming` others have theirs."""
        if self._n_places + self.n_waiting + n_coming >= self._max_streams + self._max_waiting:
            raise QueueFull(
                f"{self._max_streams} replies run and {self._max_waiting} wait already. Try again shortly.",
                retry_after_seconds=2,
            )

    def submit_together(self, asked: Sequence[Asked], adapter: str | None = None) -> list[Stream]:
        """Queue prompts as one batch of rank BATCH. Raises: NotEnoughMemory for so many at once, else as `submit`."""
        party = next(self._numbers) if self.loaded.is_batchable else 0
        requests = [new_request(self.loaded, one, adapter, self._wake, BATCH, party) for one in asked]
        n_bytes = self._bytes_per_position * len(requests) * max(request.n_needed for request in requests)
        if party and len(requests) > 1 and n_bytes > self._cache_budget():
            raise NotEnoughMemory(f"There is not enough memory for {len(requests)} replies at once.")
        with self._condition:
            self._check_open()
            self._waiting.extend([tuple(requests)] if party else [(request,) for request in requests])
            self._begin()
        return [request.stream for request in requests]

    def _begin(self) -> None:
        """Wake the thread that decodes, or make it: here, where it does not inherit the low priority of a load."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="proofbench-decode", daemon=True)
            self._thread.start()
        self._condition.notify_all()

    def _check_open(self) -> None:
        if self._is_closing:
            raise ShuttingDown("This model is being unloaded. Try again in a moment.", retry_after_seconds=5)
        if self.is_down:
            raise EngineUnavailable(IS_DOWN, retry_after_seconds=30)

    @property
    def n_running(self) -> int:
        """Replies in the batch."""
        return len(self._batched) + len(self._solo)

    @property
    def n_waiting(self) -> int:
        """Requests not yet in the batch."""
        return sum(len(party) for party in list(self._waiting))

    @property
    def _n_places(self) -> int:
        """Replies that count against the number of streams: all but those of parties, and those that have ended."""
        return sum(request.party == 0 and not request.is_over for request in self._batched) + len(self._solo)

    @property
    def _batched(self) -> list[Request]:
        return [request for batch in list(self._batches.values()) for request in batch.requests]

    @property
    def _waiting_requests(self) -> list[Request]:
        return [request for party in self._waiting for request in party]

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
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._is_idle or self.is_down, timeout=max(0.0, grace_seconds))
        with self._turn.held():  # nothing moves between the lists meanwhile
            left = [*self._waiting_requests, *self._solo, *self._batched]
        for request in left:
            if not request.is_over:
                request.stream.put(
                    ShuttingDown("The model was unloaded before the reply ended. Send the message again.")
                )
                request.stream.close()
        with self._condition:
            self._condition.wait_for(lambda: self._is_idle, timeout=5.0)
        if self._thread is not None:
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
            for request in (*self._waiting_requests, *self._batched):
                request.fail(EngineUnavailable(IS_DOWN))
            self._waiting.clear()
        finally:
            for held in (self._batches, self._kept, self._opening):  # the first ones hold the model
                held.clear()
            self._wake()

    def _wait_for_work(self) -> bool:
        """Wait, then admit who may join; False when it is closed and empty."""
        with self._condition:
            if not self._has_work:
                end_team()
                if self._n_promised > MOST_UNUSED and not self._condition.wait_for(self._is_due, PAUSE_SECONDS):
                    give_back()
                    self._n_promised = 0
            self._condition.wait_for(self._is_due)
            if self._is_closing and self._is_idle:
                return False
            self._admit()
            return True

    def _is_due(self) -> bool:
        return self._has_work or (self._is_closing and self._is_idle)

    @property
    def _has_work(self) -> bool:
        return (
            any(batch.requests for batch in self._batches.values())
            or any(request.is_over for request in (*self._solo, *self._waiting_requests))
            or bool(self._admissible())
        )

    def _is_batched(self, request: Request) -> bool:
        return self.loaded.is_batchable and request.sampling.n_beams == 1

    def _admissible(self) -> list[Party]:
        """Who may join now: chats first, then first come, first served; beam searches wait in a line of their own."""
        admitted: list[Party] = []
        n_solo, n_places, is_full = len(self._solo), self._n_places, False
        for party in sorted(self._waiting, key=lambda party: party[0].rank):
            first = party[0]
            if (n_places >= self._max_streams and first.party == 0) or all(request.is_over for request in party):
                continue
            if not self._is_batched(first):
                if n_solo < MAX_GENERATE_THREADS:
                    n_solo, n_places = n_solo + 1, n_places + 1
                    admitted.append(party)
            elif not is_full and self._fits([*admitted, party]):
                n_places += first.party == 0
                admitted.append(party)
            else:
                is_full = True  # nobody smaller overtakes
        return admitted

    def _fits(self, more: list[Party]) -> bool:
        """Whether the caches stay within their share of the memory. The first party always may start."""
        if self.n_running == 0 and len(more) == 1:
            return True
        n_positions = positions([*self._batched, *(request for party in more for request in party)])
        n_positions += sum(request.n_needed * request.sampling.n_beams for request in self._solo)
        return n_positions * self._bytes_per_position <= self._cache_budget()

    def _cache_budget(self) -> float:
        """Bytes that all keys and values may take."""
        return CACHE_SHARE * (free_bytes(self.loaded.device) + self.n_cache_bytes)

    def _admit(self) -> None:
        self._solo = [request for request in self._solo if not request.is_over]
        admitted = self._admissible()
        left = (party for party in self._waiting if party not in admitted and not all(r.is_over for r in party))
        self._waiting = deque(left)
        for request in (request for party in admitted for request in party):
            self._n_promised += request.n_needed * self._bytes_per_position
            if self._is_batched(request):
                held = (self._kept, self._opening) if request.rank == CHAT and not request.party else (None, None)
                made = Batch(self.loaded.model, self._pace, self.loaded.adapters.digest, *held)
                self._batches.setdefault(request.key, made).join(request)
            else:
                self._solo.append(request)
                fallback.start(self.loaded.model, request, self._turn, self.loaded.adapters.use, self._ended)

    def _step(self) -> None:
        """One step of every batch whose turn it is; what goes wrong in one does not touch the others."""
        self._n_steps += 1
        is_chatting = any(batch.requests for (rank, _, _), batch in self._batches.items() if rank == CHAT)
        for (rank, adapter, party), batch in sorted(self._batches.items(), key=lambda item: item[0][0]):
            if not batch.requests:
                del self._batches[rank, adapter, party]
                continue
            if rank > CHAT and is_chatting and self._n_steps % (PATIENCE + 1):
                continue
            try:
                with self._turn.held(rank, keeps_team=True):
                    self.loaded.adapters.use(adapter)
                    batch.step()
                self._n_failures = 0
            except Exception as error:  # the worker's boundary: readers get it as an event
                self._recover(batch, error)

    def _recover(self, batch: Batch, error: Exception) -> None:
        """Readers are told; after a pause, longer each time, the loop goes on."""
        reason = told(error)
        is_fault = not isinstance(error, UserError) and not isinstance(reason, NotEnoughMemory)
        self._n_failures += is_fault  # before readers hear of it: who asks again at once must not find it up
        batch.fail(reason)
        if not is_fault:
            log.warning("a pass of the decoder failed: %s", reason)
            return
        log.error("decoding failed, %d in a row", self._n_failures, exc_info=error)
        if self.is_down:
            with self._condition:
                for request in self._waiting_requests:
                    request.fail(EngineUnavailable(IS_DOWN))
                self._waiting.clear()
            return
        time.sleep(0.1 * 2**self._n_failures)

    def _ended(self, request: Request, error: Exception | None) -> None:
        if error is not None:
            log.error("generate failed", exc_info=None if isinstance(error, UserError) else error)
            request.fail(told(error))
        self._wake()
