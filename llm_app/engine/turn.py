"""Whose forward pass is next."""

import heapq
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from llm_app.engine.pace import end_team

CHAT, BATCH = 0, 1
LEAST_SECONDS = 0.02  # that a pass goes on before it gives way
PATIENCE = 2  # passes of higher rank that one waiting of lower rank lets by


class Turn:
    """A lock that is held for one forward pass: chats first, but work of lower rank is never starved.

    Not re-entrant. Within a rank, first come, first served. A long pass may give way in its middle.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._numbers = itertools.count()
        self._is_held = False
        self._holder = (CHAT, 0)  # the ticket of who holds it, or held it last
        self._since = self._waited = 0.0  # when it was taken last; how long it was away when last given way, in seconds
        self._n_passed = 0  # passes that overtook somebody since the last of lower rank

    @contextmanager
    def held(self, rank: int = CHAT, *, keeps_team: bool = False) -> Iterator[None]:
        """Wait for the turn, hold it for the block. `keeps_team`: for who comes back at once, and ends it itself."""
        self.acquire(rank)
        try:
            yield
        finally:
            if not keeps_team:
                end_team()
            self.release()

    def give_way(self, rank: int) -> bool:
        """For who holds it, in the middle of a long pass: let waiting passes of higher rank go first.

        Whether there were; then whatever they share with this pass may have changed meanwhile. The pass keeps a third
        of the time: it goes on for half as long as it waited last, and for LEAST_SECONDS.
        """
        with self._condition:
            since = time.monotonic()
            is_due = since - self._since >= max(LEAST_SECONDS, self._waited / 2)
            if not is_due or not any(other < rank for other, _ in self._waiting):
                return False
            ticket = self._holder
        end_team()
        self.release()
        self._acquire(ticket)  # before others of its rank
        self._waited = self._since - since
        return True

    def acquire(self, rank: int = CHAT) -> None:
        """Wait for the turn."""
        self._acquire((rank, next(self._numbers)))
        self._waited = 0.0

    def _acquire(self, ticket: tuple[int, int]) -> None:
        with self._condition:
            heapq.heappush(self._waiting, ticket)
            self._condition.wait_for(lambda: not self._is_held and self._next() == ticket)
            self._waiting.remove(ticket)
            heapq.heapify(self._waiting)
            self._is_held, self._holder, self._since = True, ticket, time.monotonic()
            overtakes = any(rank > ticket[0] for rank, _ in self._waiting)
            self._n_passed = self._n_passed + 1 if overtakes else 0

    def release(self) -> None:
        """Give it to the next."""
        with self._condition:
            self._is_held = False
            self._condition.notify_all()

    def _next(self) -> tuple[int, int]:
        if self._n_passed >= PATIENCE:
            return max(self._waiting, key=lambda ticket: (ticket[0], -ticket[1]))
        return self._waiting[0]
