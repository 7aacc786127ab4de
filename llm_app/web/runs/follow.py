"""Reads on in the log of a run where the last look ended, so that a look costs only what is new."""

import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llm_app.errors import UserError
from llm_app.jobs.folder import EVENTS, RunFolder, read_event

WINDOW_SECONDS = 120.0  # over which the speed is taken; results come in bursts
MAX_FOLLOWED = 32
READ_BYTES = 1 << 24  # at most in one look; a larger log is caught up with in several


class Tally(Protocol):
    """What one kind of run makes of its events."""

    def add(self, event: dict[str, Any]) -> None:
        """Take one more line of the log into account."""
        ...

    def body(self) -> str:
        """HTML below the bar of the card: the parts of the run and their scores so far."""
        ...

    def details(self) -> str:
        """HTML of the fold below the card: the last sample, the log."""
        ...


class LogReader:
    """The log of a run, from where the last look ended. Not for two threads at once."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder, self._offset = folder, 0

    def read(self) -> tuple[list[bytes], bool]:
        """Whole lines that came since, READ_BYTES of them at most; and whether they are the first again.

        That is so where the log was repaired, or its torn end was cut.
        """
        try:
            with (self._folder.path / EVENTS).open("rb") as file:
                is_anew = os.fstat(file.fileno()).st_size < self._offset
                if is_anew:
                    self._offset = 0
                file.seek(self._offset)
                data = file.read(READ_BYTES)
        except FileNotFoundError:
            return [], False
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.split(b"\n")[:-1], is_anew


@dataclass(frozen=True)
class Look:
    """A run at one moment. `per_second`: samples a second of late, None before it can be told."""

    per_second: float | None = None
    body: str = ""
    details: str = ""


class Follower:
    """One run: how far it is, how fast, and its tally. Safe to look at from several threads."""

    def __init__(self, folder: RunFolder, make_tally: Callable[[RunFolder], Tally]) -> None:
        self._folder, self._make_tally = folder, make_tally
        self._tally = make_tally(folder)
        self._n_done = 0
        self._log = LogReader(folder)
        self._pace: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()

    def ask(self, about: Callable[[Any], str]) -> str:
        """Something of the tally, brought up to date."""
        self.look(is_running=False)
        with self._lock:
            return about(self._tally)

    def look(self, *, is_running: bool) -> Look:
        """Take in what was appended since the last look."""
        with self._lock:
            lines, is_anew = self._log.read()
            if is_anew:
                self._tally, self._n_done = self._make_tally(self._folder), 0
            for line in lines:
                event = read_event(line)
                if event is not None:
                    self._tally.add(event)
                    if isinstance(event.get("done"), int):
                        self._n_done = event["done"]
            if not is_running:
                self._pace.clear()
            return Look(self._per_second() if is_running else None, self._tally.body(), self._tally.details())

    def _per_second(self) -> float | None:
        now = time.monotonic()
        self._pace.append((now, self._n_done))
        while len(self._pace) > 2 and self._pace[1][0] < now - WINDOW_SECONDS:
            self._pace.popleft()
        first, n_first = self._pace[0]
        n = self._n_done - n_first
        return n / (now - first) if n > 0 and now > first else None


class Followers:
    """The runs that were looked at last, whoever looked."""

    def __init__(self, make_tally: Callable[[RunFolder], Tally]) -> None:
        self._make_tally = make_tally
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, Follower] = OrderedDict()

    def of(self, folder: RunFolder) -> Follower | None:
        """The follower of this run; None if its spec cannot be read."""
        with self._lock:
            follower = self._kept.pop(folder.path, None)
            if follower is None:
                try:
                    follower = Follower(folder, self._make_tally)
                except UserError:
                    return None
            self._kept[folder.path] = follower
            if len(self._kept) > MAX_FOLLOWED:
                self._kept.popitem(last=False)
            return follower
