"""Runs that are killed and resumed: their files are those of a run that nobody disturbed, to the last byte."""

import json
import random
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from llm_app.config import Settings
from tests import tiny
from tests.running import benchmark_command

WORDS = ("the quick brown fox ", "hello world ", "what is the answer ", "one two three ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("models") / "tiny", n_context=1024)


def replies(folder: Path, n: int) -> str:
    """A task in which the model writes: prompts of many lengths, replies that end anywhere."""
    rows = [{"source": WORDS[i % 4] * (1 + i % 9) + str(i), "target": f"the lazy dog {i}"} for i in range(n)]
    (folder / "replies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = folder / "replies.yaml"
    task.write_text("name: replies\ndata: replies.jsonl\nkind: generation\nmax_new_tokens: 80\nstop: ['ox', 'z']\n")
    return str(task)


def contents(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.rglob("*.json*")}


def n_results(events: Path) -> int:
    """Whole lines with a result."""
    data = events.read_bytes() if events.exists() else b""
    return sum(b'"type": "result"' in line for line in data[: data.rfind(b"\n") + 1].split(b"\n"))


def kill_and_resume(settings: Settings, arguments: Sequence[str], moments: Sequence[float], output: Path) -> int:
    """An undisturbed run; the same one again, killed when these shares of its lines are written; equal files.

    Gives the number of its lines.
    """
    whole = benchmark_command(settings, *arguments, "--bootstrap", "50", "--output", str(output / "a"))
    table, log = whole.communicate(timeout=600)
    assert whole.returncode == 0, log
    first = settings.home / "runs" / log.split("run ")[1].split(",")[0]
    n_lines = n_results(first / "events.jsonl")
    again = first.parent / ("b" * 12)
    again.mkdir()
    shutil.copy(first / "spec.json", again)
    events = again / "events.jsonl"
    n_seen = n_killed = 0
    for moment in sorted(moments):
        part = benchmark_command(settings, "--resume", again.name, "--output", str(output / "b"))
        while part.poll() is None and n_results(events) < moment * n_lines:
            time.sleep(0.0005)
        n_killed += part.poll() is None
        part.send_signal(signal.SIGKILL)
        part.communicate()
        n_seen = max(n_seen, n_results(events))
    assert 0 < n_seen < n_lines and n_killed == len(moments)
    rest = benchmark_command(settings, "--resume", again.name, "--output", str(output / "b"))
    table_again, log = rest.communicate(timeout=600)
    assert rest.returncode == 0, log
    assert f"resumed at {n_seen}/{n_lines}" in log
    assert table_again == table
    assert contents(output / "a") == contents(output / "b")
    shutil.rmtree(again)
    return n_lines


@pytest.mark.timeout(600)
@pytest.mark.parametrize("precision", [pytest.param("bf16", marks=pytest.mark.verify), "fp32"])
def test_E1_replies_of_a_killed_run_are_byte_equal_in_every_precision(
    precision: str, folder: Path, tmp_path: Path
) -> None:
    arguments = ("--model", str(folder), "--precision", precision, "--tasks", replies(tmp_path, 60))
    assert kill_and_resume(Settings(home=tmp_path / "home"), arguments, [0.1, 0.45, 0.8], tmp_path) == 60


@pytest.mark.timeout(600)
def test_E1_likelihoods_of_a_killed_run_are_byte_equal(hub_data: Path, folder: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", data=hub_data)
    arguments = ("--model", str(folder), "--precision", "bf16", "--tasks", "arc_easy", "--limit", "120", "--shots", "0")
    assert kill_and_resume(settings, arguments, [0.3], tmp_path) == 120


@pytest.mark.verify
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_E1_ten_random_kills_in_a_row_leave_byte_equal_files(
    precision: str, hub_data: Path, folder: Path, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", data=hub_data)
    tasks = f"arc_easy,{replies(tmp_path, 100)},arc_challenge"
    arguments = ("--model", str(folder), "--precision", precision, "--tasks", tasks, "--limit", "100", "--shots", "0")
    rng = random.Random(precision)
    n_lines = kill_and_resume(settings, arguments, [rng.random() for _ in range(10)], tmp_path)
    assert n_lines == 300
