"""Long work in a server: killed, told to end, cancelled, out of disk, beside chats. Rows E3, E4, E8, E18."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eval.tasks.harness import TaskOptions
from eval.types import Generation
from llm_app.config import ModelConfig, SamplingConfig, Settings
from llm_app.engine.host import Host
from llm_app.errors import Cancelled, ShuttingDown, UserError
from llm_app.jobs.answers import EngineModel
from llm_app.jobs.benchmark import Benchmark, resume, start
from llm_app.jobs.folder import NoSpace, RunFolder
from llm_app.jobs.queue import Queue
from llm_app.jobs.store import RunStore
from tests import tiny
from tests.faults.test_evaluation import ROWS, hub
from tests.live import slowed, wait_for

MANY = [dict(ROWS[0], sentence1=f"The dog saw {n} cats and wanted to say hello.", label=n % 2) for n in range(300)]
PASS_SECONDS = 0.1

SERVER = f"""
import sys
from pathlib import Path
from llm_app.config import ModelConfig, ServeConfig, Settings, quiet_environment
quiet_environment()
from eval.tasks.harness import TaskOptions
from llm_app.api import build_api
from llm_app.engine.host import Host
from llm_app.http_server import Server, end_process
from llm_app.jobs.benchmark import start
from llm_app.serve import open_port
from llm_app.services import Services
from tests.live import slowed
model, home, data = sys.argv[1:]
settings = Settings(home=Path(home), data=Path(data))
services = Services(settings, ServeConfig(), Host(settings))
for _ in services.host.load(ModelConfig(model, precision="fp32")):
    pass
def begin():
    print(services.queue.submit(start(services.host, ["wnli"], TaskOptions(), settings)), flush=True)
with slowed(services.host, {PASS_SECONDS}):
    Server(build_api(services, environ={{}}), on_start=begin, drain=services.shutdown).run(
        sockets=[open_port("127.0.0.1", 0)]
    )
end_process()
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return hub(tmp_path, MANY)


@pytest.fixture
def host(model: Path, settings: Settings) -> Iterator[Host]:
    host = Host(settings)
    for _ in host.load(ModelConfig(str(model), precision="fp32")):
        pass
    yield host
    host.shutdown(0.0)


@pytest.fixture
def queue() -> Iterator[Queue]:
    queue = Queue()
    yield queue
    queue.close()
    assert queue.join(20)


def begin(host: Host, settings: Settings) -> Benchmark:
    return start(host, ["wnli"], TaskOptions(), settings)


def serving(model: Path, settings: Settings) -> "tuple[subprocess.Popen[str], RunFolder]":
    """A server whose evaluation is under way, and its run."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(model), str(settings.home), str(settings.data)], text=True,
        stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    store = RunStore.of(settings)
    wait_for(lambda: store.read(run_id).n_done > 5, 60)
    assert store.read(run_id).status == "running"
    return process, store.open(run_id)


def results_by_sample(benchmark: Benchmark) -> list[object]:
    return sorted(benchmark.results["wnli"], key=lambda result: result.sample)


def test_E3_a_killed_server_leaves_its_evaluation_interrupted_and_resume_gives_the_same_results(
    model: Path, settings: Settings, host: Host, queue: Queue
) -> None:
    process, folder = serving(model, settings)
    process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    process.communicate()
    store = RunStore.of(settings)
    wait_for(lambda: store.read(folder.id).status == "interrupted", 10)
    assert time.monotonic() - killed < 10
    n_before = store.read(folder.id).n_done
    assert 5 < n_before < len(MANY)
    queue.submit(again := resume(host, folder, settings))
    assert queue.wait(folder.id, 60)
    assert (store.read(folder.id).status, store.read(folder.id).n_done) == ("done", len(MANY))
    list((undisturbed := begin(host, settings)).run())
    assert results_by_sample(again) == results_by_sample(undisturbed)


def test_a_server_that_is_told_to_end_leaves_its_evaluation_interrupted_with_the_reason(
    model: Path, settings: Settings
) -> None:
    process, folder = serving(model, settings)
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    process.communicate(timeout=20)
    assert process.returncode == 0 and time.monotonic() - started < 10
    run = RunStore.of(settings).read(folder.id)
    assert (run.status, run.reason) == ("interrupted", "The server was shut down. Resume the run to go on.")
    assert 5 < run.n_done < len(MANY)


def test_E4_a_run_on_a_full_disk_is_paused_and_says_how_much_it_needs(
    host: Host, settings: Settings, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = begin(host, settings)
    reserve, real = benchmark.folder.path / ".reserve", os.write

    def is_full(file: int, data: bytes) -> int:
        # Full up to the room that the run keeps for itself.
        if benchmark.n_done >= 20 and reserve.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data)

    monkeypatch.setattr(os, "write", is_full)
    queue.submit(benchmark)
    assert queue.wait(benchmark.folder.id, 60)
    run = RunStore.of(settings).read(benchmark.folder.id)
    assert (run.status, run.n_done) == ("paused", 20)
    assert run.reason is not None and "No space left" in run.reason and "It needs about" in run.reason
    assert (NoSpace.status, NoSpace.code) == (507, "insufficient_storage")


def test_E8_a_cancelled_evaluation_ends_within_two_seconds_and_keeps_what_it_has(
    host: Host, settings: Settings, queue: Queue
) -> None:
    with slowed(host, PASS_SECONDS):
        queue.submit(benchmark := begin(host, settings))
        wait_for(lambda: benchmark.n_done > 5, 30)
        queue.cancel(benchmark.folder.id)
        assert queue.wait(benchmark.folder.id, 2)
    run = RunStore.of(settings).read(benchmark.folder.id)
    assert run.status == "cancelled" and 5 < run.n_done < len(MANY)
    assert not benchmark.folder.is_locked()


def test_E8_replies_that_an_evaluation_waits_for_are_stopped_too(host: Host) -> None:
    model = EngineModel(host)
    prompts = [("hello world", Generation(stop=(), max_new_tokens=400))] * 4
    with slowed(host, PASS_SECONDS):
        threading.Timer(0.5, model.stop, [Cancelled("Stopped.")]).start()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            list(model.generate(prompts, range(4)))
        assert time.monotonic() - started < 2.5
        wait_for(lambda: host.status().n_running == 0, 2)


def test_a_server_on_its_way_out_is_no_reason_to_leave_a_sample_out(host: Host) -> None:
    model = EngineModel(host)
    host.shutdown(0.0)
    with pytest.raises(ShuttingDown):
        list(model.generate([("hello", Generation(stop=(), max_new_tokens=4))], {0}))


def test_an_evaluation_whose_model_is_replaced_says_so_and_can_be_resumed(
    host: Host, model: Path, settings: Settings, queue: Queue, tmp_path: Path
) -> None:
    other = tiny.make_model(tmp_path / "other", seed=1)
    with slowed(host, PASS_SECONDS):
        queue.submit(benchmark := begin(host, settings))
        wait_for(lambda: benchmark.n_done > 5, 30)
        for _ in host.load(ModelConfig(str(other), precision="fp32")):
            pass
        assert queue.wait(benchmark.folder.id, 10)
    run = RunStore.of(settings).read(benchmark.folder.id)
    assert (run.status, run.n_done < len(MANY)) == ("failed", True)
    assert run.reason == "Another model was loaded meanwhile. Load the model of this run again, then resume it."
    with pytest.raises(UserError, match="differs in: model weights"):
        resume(host, benchmark.folder, settings)
    for _ in host.load(ModelConfig(str(model), precision="fp32")):
        pass
    again = resume(host, benchmark.folder, settings)
    list(again.run())
    assert again.is_complete


def seconds_to_first_tokens(host: Host, n_chats: int) -> list[float]:
    """Of chats that all start at once; each is read to its end."""
    sampling = SamplingConfig(temperature=0.0, max_new_tokens=8, ignore_eos=True)
    barrier = threading.Barrier(n_chats)

    def chat(number: int) -> float:
        barrier.wait()
        started = time.monotonic()
        stream = host.stream([5, 6, 7 + number], sampling)
        next(stream)
        first = time.monotonic() - started
        deltas = list(stream)
        assert deltas[-1].finish_reason == "length"
        return first

    with ThreadPoolExecutor(n_chats) as pool:
        return sorted(pool.map(chat, range(n_chats)))


def test_E18_of_two_evaluations_one_runs_and_eight_chats_start_within_four_times_their_time_alone(
    host: Host, settings: Settings, queue: Queue
) -> None:
    # A pass takes as long as one of a small real model; what is measured is whose turn it is, not this machine.
    with slowed(host, PASS_SECONDS):
        alone = seconds_to_first_tokens(host, 8)
        first, second = begin(host, settings), begin(host, settings)
        queue.submit(first)
        queue.submit(second)
        wait_for(lambda: first.n_done > 0, 30)
        assert [(job.state, job.position) for job in queue.jobs()] == [("running", 0), ("queued", 1)]
        n_before = first.n_done
        # The better of two: other tests may take the processor for a moment.
        beside = min((seconds_to_first_tokens(host, 8) for _ in range(2)), key=max)
        assert queue.status(first.folder.id).state == "running" and first.n_done > n_before
        assert queue.status(second.folder.id).position == 1 and second.n_done == 0
    # With eight, the 95th percentile is the slowest.
    assert beside[-1] <= 4 * alone[-1], f"{beside[-1]:.2f} s beside an evaluation, {alone[-1]:.2f} s alone"
