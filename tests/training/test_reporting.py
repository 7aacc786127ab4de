"""Figures for TensorBoard and trackio: read back by the readers of those packages."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_app.errors import UserError
from llm_app.training.events import Event, Note, Saved, Step, Validation
from llm_app.training.reporting import TENSORBOARD_FOLDER, ReportedRun, Reporter, check_reporter

# Writes one part of a run for each list of steps, as trackio, and prints what trackio's own reader finds. A process of
# its own, since trackio keeps the folder that it first saw, and one that may not connect to anything.
TRACKIO = """
import json, socket, sys
from pathlib import Path
def refuse(*_):
    raise AssertionError("connects")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from llm_app.training.events import Step, Validation
from llm_app.training.reporting import ReportedRun, Reporter
import threading
run = ReportedRun("abc", Path(sys.argv[1]) / "runs" / "abc", Path(sys.argv[1]) / "home", {"rank": 8, "targets": ["a"]})
for steps in json.loads(sys.argv[2]):
    reporter = Reporter("trackio", run)
    for step in steps:
        reporter.write(Step(step, 9, 0.5, 2.0 / step, 1e-4, 0.7, 100, 40, 0.5, 2**30))
        if step % 2 == 0:
            reporter.write(Validation(step, 3.0 / step, 40))
    reporter.close()
from trackio.sqlite_storage import SQLiteStorage
print(json.dumps({
    "runs": SQLiteStorage.get_runs("proofbench"), "logs": SQLiteStorage.get_logs("proofbench", "abc", run_id="abc"),
    "config": SQLiteStorage.get_run_config("proofbench", "abc"), "threads": threading.active_count(),
}, default=str))
"""


def step(number: int) -> Step:
    return Step(
        step=number, n_steps=9, epoch=0.5, loss=2.0 / number, learning_rate=1e-4, gradient_norm=0.7, n_tokens=100,
        n_trained_tokens=40, seconds=0.5, memory_bytes=2**30,
    )


def report(folder: Path, events: Sequence[Event]) -> None:
    reporter = Reporter("tensorboard", ReportedRun("abc", folder, folder / "home", {}))
    for event in events:
        reporter.write(event)
    reporter.close()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard's own reader finds: tag -> (step, value)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder / TENSORBOARD_FOLDER)).Reload()
    return {tag: [(s.step, s.value) for s in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_tensorboard_reads_every_figure_of_a_run(tmp_path: Path) -> None:
    rest = [Validation(2, 1.5, 40), Saved(2, True), Note(2, "loss_rises", "It rises.")]
    report(tmp_path, [Validation(0, 4.0, 40), step(1), step(2), *rest])
    found = scalars(tmp_path)
    assert found["training/loss"] == [(1, 2.0), (2, 1.0)]
    assert found["validation/loss"] == [(0, 4.0), (2, 1.5)]
    assert found["training/learning_rate"] == [(1, pytest.approx(1e-4)), (2, pytest.approx(1e-4))]
    assert found["speed/tokens_per_second"] == [(1, 200.0), (2, 200.0)]
    assert found["speed/memory_bytes"] == [(1, float(2**30)), (2, float(2**30))]
    assert set(found) == {
        "training/loss", "training/learning_rate", "training/gradient_norm", "training/epoch",
        "speed/tokens_per_second", "speed/memory_bytes", "validation/loss",
    }


def test_what_a_resumed_run_does_again_stands_once_in_tensorboard(tmp_path: Path) -> None:
    report(tmp_path, [step(1), step(2), Validation(2, 1.5, 40), step(3), step(4)])
    report(tmp_path, [step(3), step(4), Validation(4, 1.0, 40), step(5)])
    found = scalars(tmp_path)
    assert [number for number, _ in found["training/loss"]] == [1, 2, 3, 4, 5]
    assert found["validation/loss"] == [(2, 1.5), (4, 1.0)]


def test_what_was_told_before_a_kill_is_on_disk(tmp_path: Path) -> None:
    reporter = Reporter("tensorboard", ReportedRun("abc", tmp_path, tmp_path, {}))
    reporter.write(step(1))
    assert scalars(tmp_path)["training/loss"] == [(1, 2.0)]  # it is open still
    reporter.close()


def test_event_files_do_not_say_whose_machine_it_is(tmp_path: Path) -> None:
    import socket

    report(tmp_path, [step(1)])
    (made,) = (tmp_path / TENSORBOARD_FOLDER).iterdir()
    assert made.name.startswith("events.out.tfevents.")
    assert socket.gethostname() not in made.name


def trackio(folder: Path, parts: Sequence[Sequence[int]], **environ: str) -> dict[str, Any]:
    """What trackio's own reader finds of a run in these parts."""
    made = subprocess.run(
        [sys.executable, "-c", TRACKIO, str(folder), json.dumps(parts)], cwd=Path(__file__).parents[2],
        env=os.environ | environ, capture_output=True, text=True, timeout=100,
    )
    assert made.returncode == 0, made.stderr
    found: dict[str, Any] = json.loads(made.stdout)
    return found


def test_trackio_reads_every_figure_once_and_nothing_is_sent_wherever_the_environment_points(tmp_path: Path) -> None:
    found = trackio(
        tmp_path, [[1, 2, 3], [3, 4]], TRACKIO_SPACE_ID="somebody/space", TRACKIO_SERVER_URL="https://127.0.0.1:9/",
        TRACKIO_BUCKET_ID="somebody/bucket", TRACKIO_WEBHOOK_URL="https://127.0.0.1:9/",
        TRACKIO_DIR=str(tmp_path / "no"),
    )
    assert found["runs"] == ["abc"]
    losses = [(log["step"], log["training/loss"]) for log in found["logs"] if "training/loss" in log]
    assert losses == [(number, 2.0 / number) for number in (1, 2, 3, 4)]
    assert [(log["step"], log["validation/loss"]) for log in found["logs"] if "validation/loss" in log] == [
        (2, 1.5), (4, 0.75),
    ]
    assert found["config"]["rank"] == 8
    assert found["threads"] == 1
    assert (tmp_path / "home" / "trackio" / "proofbench.db").is_file()
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("kind", ["tensorboard", "trackio"])
def test_a_package_that_is_missing_is_told_before_the_run(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, kind, None)  # as Python marks what cannot be imported
    with pytest.raises(UserError, match=f"pip install {kind}"):
        check_reporter(kind)


def test_reporting_to_none_needs_no_package_and_writes_nothing(tmp_path: Path) -> None:
    reporter = Reporter("none", ReportedRun("abc", tmp_path, tmp_path, {}))
    reporter.write(step(1))
    reporter.close()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_figures_is_told(tmp_path: Path) -> None:
    (tmp_path / TENSORBOARD_FOLDER).write_text("a file stands where the folder should be")
    with pytest.raises(UserError, match="Cannot write the figures for TensorBoard"):
        report(tmp_path, [step(1)])
