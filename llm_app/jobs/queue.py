"""One heavy job at a time in this process; the others wait in line, first come, first served.

The queue lives as long as the process and knows the jobs handed to it; what came of a run stands in its folder.
"""

import logging
import threading
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from llm_app.errors import Cancelled, QueueFull, ShuttingDown, UserError
from llm_app.jobs.folder import RunFolder, RunIsRunning, RunNotFound
from llm_app.jobs.store import Run

log = logging.getLogger(__name__)
MAX_WAITING = 16
MAX_PER_VISITOR = 2  # waiting or running; the person at this machine has all places
N_REMEMBERED = 100  # finished jobs whose reason is kept; a folder on a full disk could not take it


class Work(Protocol):
    """What a run does, such as a Benchmark."""

    folder: RunFolder

    def run(self) -> Generator[Any]:
        """Do it, step by step; its folder says how it ended."""
        ...

    def stop(self, reason: UserError) -> None:
        """Make `run` raise this soon, wherever it is. Called from another thread."""
        ...


@dataclass(frozen=True)
class JobStatus:
    """Where a job is. `reason` says, in a sentence, why it ended before its time."""

    run_id: str
    state: Literal["queued", "running", "stopping", "over"]
    position: int = 0  # of a queued one: 1 is next
    reason: str | None = None


@dataclass(eq=False)
class _Job:
    run_id: str
    work: Work
    owner: str | None
    stopped: UserError | None = None


class Queue:
    """Takes jobs from any thread; a thread of its own works them off."""

    def __init__(self, *, max_waiting: int = MAX_WAITING) -> None:
        self._max_waiting = max_waiting
        self._condition = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._running: _Job | None = None
        self._over: deque[tuple[str | None, JobStatus]] = deque(maxlen=N_REMEMBERED)  # with owners; newest first
        self._thread: threading.Thread | None = None
        self._is_closing = False

    def submit(self, work: Work, *, owner: str | None = None) -> str:
        """Put a run in line; gives its id at once. `owner`: the visitor whose it is, of a public demo.

        Raises: QueueFull, RunIsRunning if it is in line already, ShuttingDown.
        """
        job = _Job(work.folder.id, work, owner)
        with self._condition:
            if self._is_closing:
                raise ShuttingDown("The server is shutting down. Start the run again in a minute.")
            held = self._held()
            if any(other.run_id == job.run_id for other in held):
                raise RunIsRunning(f"Run {job.run_id} is under way already.", param="run")
            if owner is not None and sum(other.owner == owner for other in held) >= MAX_PER_VISITOR:
                raise QueueFull(
                    f"You have {MAX_PER_VISITOR} runs under way. Wait until one ends, or stop it.",
                    retry_after_seconds=30,
                )
            if len(self._waiting) >= self._max_waiting:
                raise QueueFull(
                    f"{len(self._waiting)} runs wait already. Try again when one has ended.", retry_after_seconds=30
                )
            self._waiting.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="proofbench-jobs", daemon=True)
                self._thread.start()
            self._condition.notify_all()
        return job.run_id

    def cancel(self, run_id: str, *, owner: str | None = None) -> None:
        """Stop a run: one that waits at once, the one that runs within a pass of the model. One that is over stays.

        Raises: RunNotFound, also for a run of another owner.
        """
        reason = Cancelled("The run was stopped. What it has stays, and it can be resumed.")
        with self._condition:
            self._status(run_id, owner)  # whether there is one
            job = next((job for job in self._held() if job.run_id == run_id), None)
            was_waiting = job in self._waiting
            if job is not None and was_waiting:
                self._waiting.remove(job)
                self._forget(job, reason.message)
            elif job is not None:
                job.stopped = reason
        if job is not None and was_waiting:
            self._record(job)
        elif job is not None:
            job.work.stop(reason)

    def status(self, run_id: str, *, owner: str | None = None) -> JobStatus:
        """Where a job is.

        Raises: RunNotFound, also for a run of another owner.
        """
        with self._condition:
            return self._status(run_id, owner)

    def jobs(self, *, owner: str | None = None) -> list[JobStatus]:
        """All jobs that are not over, the running one first; with an owner, that one's."""
        with self._condition:
            return [self._status(job.run_id) for job in self._held() if owner is None or job.owner == owner]

    def is_holding(self, run_id: str) -> bool:
        """Whether a run waits or runs here, whoever's."""
        return any(job.run_id == run_id for job in self.jobs())

    def holds(self, kind: type[Work]) -> bool:
        """Whether work of this kind waits or runs, whoever's."""
        with self._condition:
            return any(isinstance(job.work, kind) for job in self._held())

    def mark(self, runs: Iterable[Run]) -> list[Run]:
        """The runs, with those that wait here shown as queued, and their position."""
        waiting = {job.run_id: job.position for job in self.jobs() if job.state == "queued"}
        return [
            replace(run, status="queued", position=waiting[run.id], reason=None) if run.id in waiting else run
            for run in runs
        ]

    def wait(self, run_id: str, seconds: float | None = None) -> bool:
        """Whether the job was over in this time."""
        with self._condition:
            return self._condition.wait_for(lambda: all(job.run_id != run_id for job in self._held()), seconds)

    def close(self) -> None:
        """Take nothing more and stop what runs; what is not done stays resumable. Returns at once."""
        reason = ShuttingDown("The server was shut down. Resume the run to go on.")
        with self._condition:
            self._is_closing = True
            while self._waiting:
                self._forget(self._waiting.popleft(), reason.message)
            running = self._running
            if running is not None:
                running.stopped = reason
            self._condition.notify_all()
        if running is not None:
            running.work.stop(reason)

    def join(self, seconds: float) -> bool:
        """Whether the worker had ended in this time, after `close`."""
        if self._thread is not None:
            self._thread.join(seconds)
            return not self._thread.is_alive()
        return True

    def _work(self) -> None:
        while self._do_next():
            pass

    def _do_next(self) -> bool:
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._is_closing)
            if self._is_closing:
                return False
            job = self._running = self._waiting.popleft()
        reason = None
        try:
            for _ in job.work.run():
                pass
        except UserError as error:
            reason = error.message
        except Exception as error:  # the worker's boundary: the next job must not wait for ever
            log.exception("run %s failed", job.run_id)
            reason = f"Something failed in this program ({type(error).__name__}); its log says more."
        with self._condition:
            self._running = None
            self._forget(job, reason)
        return True

    def _forget(self, job: _Job, reason: str | None) -> None:
        """Keep of a job only what may be asked for: its work holds data sets and the model."""
        self._over.appendleft((job.owner, JobStatus(job.run_id, "over", reason=reason)))
        self._condition.notify_all()

    def _record(self, job: _Job) -> None:
        """Say in the folder of a job that never ran that it was cancelled."""
        try:
            with job.work.folder as folder:
                folder.end("cancelled")
        except UserError as error:  # deleted meanwhile, or the disk is full: then it says nothing, and is interrupted
            log.warning("run %s: %s", job.run_id, error.message)

    def _held(self) -> list[_Job]:
        return [*([self._running] if self._running is not None else []), *self._waiting]

    def _status(self, run_id: str, owner: str | None = None) -> JobStatus:
        for position, job in enumerate(self._held(), start=1 if self._running is None else 0):
            if job.run_id == run_id and owner in (None, job.owner):
                if job is not self._running:
                    return JobStatus(run_id, "queued", position)
                return JobStatus(run_id, "running" if job.stopped is None else "stopping")
        for whose, status in self._over:
            if status.run_id == run_id and owner in (None, whose):
                return status
        raise RunNotFound(f"There is no run {run_id!r} in the queue.", param="run")
