"""What was read of runs lately, kept by the state of their files, so that looking again costs nothing."""

import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from eval.compare import Comparison, TaskComparison, compare
from eval.report import Reported, Row, rows_of
from llm_app.config import Settings
from llm_app.jobs.compare import read_runs
from llm_app.jobs.files import read_extracted
from llm_app.jobs.folder import EVENTS, RunFolder
from llm_app.jobs.reports import read_report
from llm_app.jobs.running import N_RESAMPLES_SO_FAR
from llm_app.web.benchmark.samples_index import SampleIndex

N_FIGURES, N_INDICES, N_COMPARISONS, N_EXTRACTED = 64, 8, 8, 4
REST = 15  # times as long as computing took, the figures of a running run stay

Value = TypeVar("Value")
Stamp = tuple[Hashable, ...]

@dataclass(frozen=True)
class Figures:
    """A run's rows and who it is, without its samples."""

    reported: Reported
    rows: tuple[Row, ...]

@dataclass(frozen=True)
class Compared:
    """A comparison without its samples' texts: task -> kind -> numbers of the samples."""

    comparison: Comparison
    kinds: Mapping[str, Mapping[str, Sequence[int]]]

@dataclass(frozen=True)
class _Made:
    figures: Figures
    stamp: Stamp
    at: float
    seconds: float

class Shelf:
    """Figures, indices and comparisons of the runs that were looked at last, of all visitors. For any thread.

    Whoever asks names a folder, which only the store of its owner hands out.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._figures: _Kept[_Made] = _Kept(N_FIGURES)
        self._indices: _Kept[SampleIndex] = _Kept(N_INDICES)
        self._extracted: _Kept[Mapping[int, Mapping[str, Any]]] = _Kept(N_EXTRACTED)
        self._comparisons: _Kept[tuple[Compared, ...]] = _Kept(N_COMPARISONS)

    def figures(self, folder: RunFolder, *, is_running: bool = False) -> Figures:
        """Rows of a run. Those of a running one may be as old as it is worth.

        Raises: UserError if the run is damaged.
        """
        key, now, stamp = str(folder.path), time.monotonic(), stamp_of(folder)
        made = self._figures.get(key)
        if made is not None and (made.stamp == stamp or (is_running and now - made.at < REST * made.seconds)):
            return made.figures
        reported = read_report(key, self._settings)
        rows = rows_of(reported, n_resamples_partial=N_RESAMPLES_SO_FAR) if is_running else rows_of(reported)
        slim = replace(reported, run=replace(reported.run, tasks={}), results={}, extracted={})
        figures = Figures(slim, tuple(rows))
        # An interval of few resamples must not stay when the run has ended.
        kept = stamp if not is_running else (*stamp, "running")
        self._figures.put(key, _Made(figures, kept, time.monotonic(), time.monotonic() - now))
        return figures

    def index(self, folder: RunFolder) -> SampleIndex:
        """Where the run's samples stand, up to the last.

        Raises: UserError if the run is damaged.
        """
        found = self._indices.get(str(folder.path))
        if found is None:
            found = SampleIndex(folder)
            self._indices.put(str(folder.path), found)
        return found.refresh()

    def extracted(self, folder: RunFolder, task: str) -> Mapping[int, Mapping[str, Any]]:
        """Sample -> filter -> what was taken as the answer, of one task; empty as long as its file is not written.

        Raises: UserError if the file is damaged.
        """
        stamp = (*stamp_of(folder), task)
        found = self._extracted.get(stamp)
        if found is None:
            found = read_extracted(folder, task)
            self._extracted.put(stamp, found)
        return found

    def compared(self, folders: Sequence[RunFolder]) -> tuple[Compared, ...]:
        """Each run against the first; what cannot be compared is in `refused`, with the reasons.

        Raises: UserError if a run is damaged.
        """
        stamp = tuple(stamp_of(folder) for folder in folders)
        found = self._comparisons.get(stamp)
        if found is None:
            runs = read_runs([str(folder.path) for folder in folders], self._settings)
            found = tuple(_slim(comparison) for comparison in compare(runs[0], runs[1:]))
            self._comparisons.put(stamp, found)
        return found

class _Kept(Generic[Value]):
    """The `n` values asked for last."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable) -> Value | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: Value) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._n:
                self._values.popitem(last=False)

def stamp_of(folder: RunFolder) -> Stamp:
    """Changes whenever something was written to the run."""
    try:
        made = folder.path.stat().st_mtime_ns
        events = (folder.path / EVENTS).stat()
    except FileNotFoundError:
        return (str(folder.path),)
    return str(folder.path), made, events.st_size, events.st_mtime_ns

def _slim(comparison: Comparison) -> Compared:
    kinds: dict[str, dict[str, array[int]]] = {}
    for task in comparison.single_tasks:
        found = kinds.setdefault(task.task, {})
        for change in task.changes:
            found.setdefault(change.kind, array("q")).append(change.sample)
    return Compared(replace(comparison, tasks=tuple(_without_samples(task) for task in comparison.tasks)), kinds)


def _without_samples(task: TaskComparison) -> TaskComparison:
    return replace(task, changes=(), parts=tuple(_without_samples(part) for part in task.parts))
