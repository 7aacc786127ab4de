"""Training that is killed and resumed: its adapter is that of an undisturbed run, to the last byte. Rows T1, T2, T8."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from llm_app.config import Settings
from llm_app.jobs.folder import RunFolder, new_id
from llm_app.jobs.queue import Queue
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import Training, resume_training
from llm_app.jobs.train_child import KILLED, ProcessLost
from llm_app.jobs.train_log import read_log
from llm_app.training.events import Step
from tests.live import wait_for
from tests.tuning import SMALL, examples, in_place, resumed, sha256, training

ROOT = Path(__file__).parents[2]
CONFIG = replace(SMALL, max_steps=30, save_every=3, validate_every=6)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return examples(tmp_path / "data.jsonl")


@pytest.fixture
def undisturbed(tiny_llama: Path, data: Path, settings: Settings) -> Training:
    run = in_place(training(tiny_llama, data, settings, CONFIG), settings)
    list(run.run())
    return run


def workers() -> list[psutil.Process]:
    """Training processes that descend from this one."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "llm_app.jobs.train_worker" in child.cmdline():
                found.append(child)
    return found


def kill_at(run: Training, step: int) -> None:
    """Train in a process of its own, which is killed once this step was told."""
    with pytest.raises(ProcessLost, match="killed by the system"):
        for event in run.run():
            if isinstance(event, Step) and event.step >= step:
                for worker in workers():
                    worker.kill()


def assert_equal(run: RunFolder, undisturbed: Training) -> None:
    assert sha256(run.path / "adapter") == sha256(undisturbed.folder.path / "adapter")
    ours, theirs = read_log(run), read_log(undisturbed.folder)
    assert [(s.step, s.loss, s.gradient_norm) for s in ours.steps] == [
        (s.step, s.loss, s.gradient_norm) for s in theirs.steps
    ]
    assert ours.validations == theirs.validations


def test_T1_a_training_process_killed_at_a_random_step_goes_on_to_the_same_adapter(
    tiny_llama: Path, data: Path, settings: Settings, undisturbed: Training
) -> None:
    run = training(tiny_llama, data, settings, CONFIG)
    kill_at(run, random.Random().randint(1, 25))
    shown = RunStore.of(settings).read(run.folder.id)
    assert (shown.status, shown.reason) == ("failed", KILLED)
    list(resumed(run.folder, settings).run())
    assert_equal(run.folder, undisturbed)
    assert RunStore.of(settings).read(run.folder.id).status == "done"


def test_T1_a_killed_program_takes_its_training_along_and_resuming_gives_the_same_adapter(
    tiny_llama: Path, data: Path, settings: Settings, undisturbed: Training
) -> None:
    run = training(tiny_llama, data, settings, replace(CONFIG))
    process = subprocess.Popen(
        [sys.executable, "-m", "llm_app", "train", "--resume", run.folder.id], cwd=ROOT,
        env=os.environ | {"PROOFBENCH_HOME": str(settings.home)}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )
    store = RunStore.of(settings)
    wait_for(lambda: store.read(run.folder.id).n_done >= 4, 120)
    found = workers()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert found and psutil.wait_procs(found, timeout=10)[1] == []
    assert store.read(run.folder.id).status == "interrupted"
    list(resumed(run.folder, settings).run())
    assert_equal(run.folder, undisturbed)


def dies_at(run: Training, settings: Settings, place: int) -> bool:
    """Trains on in a process that kills itself before its file operation of this number among the checkpoints."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    n_done = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal n_done
        if event in ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove") and "checkpoint" in str(arguments[0]):
            n_done += 1
            if n_done == place:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(count)
        list(resumed(run.folder, settings).run())
    finally:
        os._exit(0)


def assert_survives(places: Iterable[int], model: Path, data: Path, settings: Settings, undisturbed: Training) -> None:
    """A run with one checkpoint, killed at each of these file operations of the next ones, and then ended."""
    begun = in_place(training(model, data, settings, CONFIG), settings)
    for event in (events := begun.run()):
        if isinstance(event, Step) and event.step == 4:
            events.close()
    for place in places:
        folder = RunFolder(begun.folder.path.with_name(new_id()))
        shutil.copytree(begun.folder.path, folder.path)
        assert dies_at(resume_training(folder, settings), settings, place)
        list(resumed(folder, settings).run())
        assert_equal(folder, undisturbed)


def test_T2_kills_while_checkpoints_are_saved_leave_the_same_adapter(
    tiny_llama: Path, data: Path, settings: Settings, undisturbed: Training
) -> None:
    assert_survives(random.Random().sample(range(2, 60), 4), tiny_llama, data, settings, undisturbed)


def test_T8_a_training_process_that_the_system_kills_leaves_the_server_alive_with_the_reason(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    queue = Queue()
    first = training(tiny_llama, data, settings, replace(CONFIG, max_steps=3000))
    second = training(tiny_llama, data, settings, replace(CONFIG, max_steps=2))
    try:
        for run in (first, second):
            queue.submit(run)
        wait_for(lambda: first.n_done > 1, 60)
        for worker in workers():
            worker.kill()
        assert queue.wait(second.folder.id, 60)
    finally:
        queue.close()
    assert queue.status(first.folder.id).reason == KILLED
    assert RunStore.of(settings).read(second.folder.id).status == "done"


@pytest.mark.verify
@pytest.mark.timeout(1800)
def test_T1_ten_kills_at_random_steps_in_a_row_leave_the_same_adapter(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    config = replace(CONFIG, max_steps=60)
    whole = in_place(training(tiny_llama, data, settings, config), settings)
    list(whole.run())
    run = training(tiny_llama, data, settings, config)
    for step in sorted(random.Random().choices(range(1, 55), k=10)):
        kill_at(run, step)
        run = resume_training(run.folder, settings)
    list(run.run())
    assert_equal(run.folder, whole)


@pytest.mark.verify
@pytest.mark.timeout(1800)
def test_T2_a_kill_at_each_file_operation_of_a_checkpoint_leaves_the_same_adapter(
    tiny_llama: Path, data: Path, settings: Settings, undisturbed: Training
) -> None:
    assert_survives(range(1, 60), tiny_llama, data, settings, undisturbed)
