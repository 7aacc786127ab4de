"""The queue of heavy work: one at a time, first come, first served, everybody their own."""

import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_app.config import ServeConfig, Settings
from llm_app.engine.host import Host
from llm_app.errors import QueueFull, ShuttingDown, UserError
from llm_app.jobs.ending import recorded_end
from llm_app.jobs.folder import RunFolder, RunIsRunning, RunNotFound
from llm_app.jobs.queue import Queue
from llm_app.jobs.store import RunStore
from llm_app.services import Services
from tests.live import wait_for


class Counting:
    """Work that counts to `n_total`, each step when it is let; it ends with `error` if there is one."""

    def __init__(self, folder: RunFolder, *, n_total: int = 3, error: Exception | None = None) -> None:
        self.folder, self.n_total, self.n_done = folder, n_total, 0
        self.error = error
        self.may_go_on = threading.Semaphore(0)
        self.stopped: UserError | None = None

    def run(self) -> Generator[int]:
        with self.folder, recorded_end(self):
            while self.n_done < self.n_total:
                self.may_go_on.acquire()
                if self.stopped is not None:
                    raise self.stopped
                if self.error is not None:
                    raise self.error
                self.n_done += 1
                self.folder.append([{"type": "result", "done": self.n_done}])
                yield self.n_done

    def stop(self, reason: UserError) -> None:
        self.stopped = reason
        self.may_go_on.release()

    def let(self, n_steps: int = 100) -> None:
        self.may_go_on.release(n_steps)

    def scores(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


@pytest.fixture
def queue() -> Iterator[Queue]:
    queue = Queue(max_waiting=3)
    yield queue
    queue.close()
    assert queue.join(5)


def counting(store: RunStore, **options: Any) -> Counting:
    return Counting(store.create({"kind": "count"}), **options)


def test_one_job_runs_and_the_others_wait_with_their_position(queue: Queue, store: RunStore) -> None:
    first, second, third = (counting(store) for _ in range(3))
    for work in (first, second, third):
        assert queue.submit(work) == work.folder.id
    wait_for(lambda: queue.status(first.folder.id).state == "running", 2)
    assert [(job.run_id, job.state, job.position) for job in queue.jobs()] == [
        (first.folder.id, "running", 0), (second.folder.id, "queued", 1), (third.folder.id, "queued", 2),
    ]
    first.let()
    wait_for(lambda: queue.status(second.folder.id).state == "running", 2)
    assert (queue.status(first.folder.id).state, queue.status(third.folder.id).position) == ("over", 1)


def test_jobs_run_in_the_order_they_came_each_to_its_end(queue: Queue, store: RunStore) -> None:
    works = [counting(store) for _ in range(3)]
    for work in works:
        work.let()
        queue.submit(work)
    assert all(queue.wait(work.folder.id, 5) for work in works)
    assert [(run.status, run.n_done) for run in store.page()] == [("done", 3)] * 3
    ends = [work.folder.path.joinpath("events.jsonl").stat().st_mtime_ns for work in works]
    assert ends == sorted(ends)


def test_a_job_that_fails_leaves_its_reason_and_the_next_one_runs(queue: Queue, store: RunStore) -> None:
    mendable = counting(store, error=UserError("The data set has no samples."))
    bug, fine = counting(store, error=KeyError("/secret/path")), counting(store)
    for work in (mendable, bug, fine):
        work.let()
        queue.submit(work)
    assert queue.wait(fine.folder.id, 5)
    assert queue.status(mendable.folder.id).reason == "The data set has no samples."
    assert queue.status(bug.folder.id).reason == "Something failed in this program (KeyError); its log says more."
    assert queue.status(fine.folder.id).reason is None
    shown = [(store.read(work.folder.id).status, store.read(work.folder.id).reason) for work in (mendable, bug, fine)]
    assert shown == [
        ("failed", "The data set has no samples."),
        ("failed", "Something failed in this program (KeyError); its log says more."),
        ("done", None),
    ]


def test_a_running_job_is_cancelled_and_keeps_what_it_has(queue: Queue, store: RunStore) -> None:
    work = counting(store)
    queue.submit(work)
    work.let(2)
    wait_for(lambda: work.n_done == 2, 2)
    queue.cancel(work.folder.id)
    assert queue.wait(work.folder.id, 2)
    assert (store.read(work.folder.id).status, store.read(work.folder.id).n_done) == ("cancelled", 2)
    assert not work.folder.is_locked()


def test_a_waiting_job_is_cancelled_at_once_and_never_runs(queue: Queue, store: RunStore) -> None:
    first, second, third = (counting(store) for _ in range(3))
    for work in (first, second, third):
        queue.submit(work)
    queue.cancel(second.folder.id)
    assert (queue.status(second.folder.id).state, store.read(second.folder.id).status) == ("over", "cancelled")
    assert queue.status(third.folder.id).position == 1
    for work in (first, second, third):
        work.let()
    assert queue.wait(third.folder.id, 5) and second.n_done == 0


def test_cancelling_twice_or_after_the_end_is_no_error(queue: Queue, store: RunStore) -> None:
    work = counting(store)
    queue.submit(work)
    queue.cancel(work.folder.id)
    queue.cancel(work.folder.id)
    assert queue.wait(work.folder.id, 2)
    queue.cancel(work.folder.id)
    assert queue.status(work.folder.id).state == "over"


def test_a_cancelled_job_can_be_handed_in_again(queue: Queue, store: RunStore) -> None:
    work = counting(store)
    queue.submit(work)
    queue.cancel(work.folder.id)
    assert queue.wait(work.folder.id, 2)
    again = Counting(work.folder)
    again.let()
    queue.submit(again)
    assert queue.wait(work.folder.id, 5) and store.read(work.folder.id).status == "done"
    assert queue.status(work.folder.id).reason is None


def test_a_run_is_in_line_only_once(queue: Queue, store: RunStore) -> None:
    work = counting(store)
    queue.submit(work)
    with pytest.raises(RunIsRunning, match="under way already"):
        queue.submit(Counting(work.folder))


def test_a_full_queue_says_how_many_wait(queue: Queue, store: RunStore) -> None:
    queue.submit(first := counting(store))
    wait_for(lambda: queue.status(first.folder.id).state == "running", 2)
    for _ in range(3):
        queue.submit(counting(store))
    with pytest.raises(QueueFull, match="3 runs wait already") as refused:
        queue.submit(counting(store))
    assert refused.value.status == 429 and refused.value.retry_after_seconds


def test_visitors_see_and_stop_only_their_own_jobs(queue: Queue, store: RunStore) -> None:
    mine, theirs = counting(store), counting(store)
    queue.submit(mine, owner="me")
    queue.submit(theirs, owner="them")
    assert [job.run_id for job in queue.jobs(owner="them")] == [theirs.folder.id]
    for act in (queue.status, queue.cancel):
        with pytest.raises(RunNotFound) as refused:
            act(mine.folder.id, owner="them")
        assert refused.value.status == 404
    assert queue.status(mine.folder.id, owner="me").state in ("queued", "running")
    assert queue.status(theirs.folder.id, owner="them").position <= 1 + len(queue.jobs(owner="me"))


def test_a_visitor_cannot_fill_the_queue(queue: Queue, store: RunStore) -> None:
    for _ in range(2):
        queue.submit(counting(store), owner="me")
    with pytest.raises(QueueFull, match="You have 2 runs under way"):
        queue.submit(counting(store), owner="me")
    queue.submit(counting(store), owner="them")


def test_runs_that_wait_are_shown_as_queued(queue: Queue, store: RunStore) -> None:
    first, second = counting(store), counting(store)
    queue.submit(first)
    queue.submit(second)
    wait_for(first.folder.is_locked, 2)
    shown = {run.id: (run.status, run.position) for run in queue.mark(store.page())}
    assert shown == {first.folder.id: ("running", None), second.folder.id: ("queued", 1)}


def test_closing_interrupts_what_runs_and_drops_what_waits_and_both_can_be_resumed(store: RunStore) -> None:
    queue = Queue()
    first, second = counting(store), counting(store)
    queue.submit(first)
    queue.submit(second)
    first.let(1)
    wait_for(lambda: first.n_done == 1, 2)
    queue.close()
    assert queue.join(2)
    assert [run.status for run in store.page()] == ["interrupted"] * 2
    assert store.read(first.folder.id).reason == "The server was shut down. Resume the run to go on."
    with pytest.raises(ShuttingDown):
        queue.submit(counting(store))
    for work in (first, second):
        again = Counting(work.folder)
        again.let()
        assert list(again.run()) == [1, 2, 3]


def test_a_queue_that_has_nothing_to_do_uses_no_processor_time(queue: Queue, store: RunStore) -> None:
    queue.submit(work := counting(store))
    work.let()
    assert queue.wait(work.folder.id, 5)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1


def test_S12_a_run_that_waits_for_its_turn_is_not_deleted(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    services = Services(settings, ServeConfig(), Host(settings))
    store = services.runs()
    first, second = counting(store), counting(store)
    for work in (first, second):
        services.queue.submit(work)
    with pytest.raises(RunIsRunning, match="waits for its turn"):
        services.delete_run(store, second.folder.id)
    services.queue.cancel(second.folder.id)
    services.delete_run(store, second.folder.id)
    assert store.ids() == [first.folder.id]
    services.shutdown(0.0)
    assert store.read(first.folder.id).status == "interrupted"
