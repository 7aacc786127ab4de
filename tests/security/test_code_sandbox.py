"""What a program written by a model can and cannot do: row A14 of the threats."""

import os
import time
from pathlib import Path

import psutil
import pytest

from eval.sandbox import CPU_SECONDS, run_program


@pytest.mark.parametrize(
    "program",
    [
        "import math, re, heapq, collections\nassert math.gcd(4, 6) == 2",
        "import numpy\nassert numpy.arange(4).sum() == 6",
        "with open('own.txt', 'w') as file:\n    file.write('x')\nimport os\nos.remove('own.txt')",
        "import tempfile\nwith tempfile.TemporaryDirectory():\n    pass",
        "print('x' * 10**7)",
        "if __name__ == '__main__':\n    raise ValueError",
    ],
)
def test_what_solutions_of_the_tasks_need_is_there(program: str) -> None:
    assert run_program(program).reason == "passed"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("assert 1 == 2, 'no'", "AssertionError: no"),
        ("import sys\nsys.exit(0)", "SystemExit"),
        ("import os\nos._exit(0)", "ended before the tests did"),
        ("import os\nfor i in range(64):\n    try:\n        os.write(i, b'passed')\n    except OSError:\n        pass\n"
         "os._exit(0)", "passed"),
        ("def (", "SyntaxError"),
        ("def f():\n    return f()\nf()", "RecursionError"),
    ],
)
def test_a_program_that_does_not_reach_its_end_has_not_passed(program: str, reason: str) -> None:
    outcome = run_program(program)
    assert not outcome.passed and reason in outcome.reason


@pytest.mark.parametrize(
    "program",
    [
        "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)",
        "import socket\nsocket.socket()",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.system('true')",
        "import os\nos.fork()",
        "import os\nos.execv('/bin/true', ['true'])",
        "import os, signal\nos.kill(os.getppid(), signal.SIGTERM)",
        "import ctypes\nctypes.CDLL(None).getpid()",
        "import sqlite3\nsqlite3.connect('/tmp/other.db')",
        "import multiprocessing\nmultiprocessing.get_context('fork').Process(target=print).start()",
    ],
)
def test_A14_no_network_no_processes_no_signals(program: str) -> None:
    outcome = run_program(program)
    assert not outcome.passed and "not allowed here" in outcome.reason


@pytest.mark.parametrize(
    "change",
    [
        "open(PATH, 'w')", "open(PATH, 'a')", "os.open(PATH, os.O_RDWR)", "os.remove(PATH)", "os.chmod(PATH, 0)",
        "os.rename(PATH, 'here')", "os.rename('program.py', PATH)", "os.truncate(PATH, 0)", "os.link(PATH, 'here')",
        "os.symlink(PATH, 'link') or open('link', 'w')", "shutil.rmtree(os.path.dirname(PATH))",
        "shutil.move(PATH, 'here')", "pathlib.Path(PATH).unlink()", "os.mkdir(PATH + 'x')",
    ],
)
def test_A14_files_outside_of_the_programs_own_folder_stay_as_they_are(change: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("kept")
    outcome = run_program(f"import os, pathlib, shutil\nPATH = {str(kept)!r}\n{change}")
    assert not outcome.passed and "not allowed here" in outcome.reason
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"] and kept.read_text() == "kept"
    assert kept.stat().st_mode & 0o600 == 0o600


@pytest.mark.parametrize("change", [
    "os.remove('kept.txt', dir_fd=os.open(FOLDER, os.O_RDONLY))",
    "os.open('made', os.O_WRONLY | os.O_CREAT, dir_fd=os.open(FOLDER, os.O_RDONLY))",
    "[os.remove(n, dir_fd=fd) for _, _, names, fd in os.fwalk(FOLDER) for n in names]",
    "os.mkfifo(FOLDER + '/fifo')",
])
def test_A14_a_folder_that_is_held_open_is_no_way_out(change: str, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    assert not run_program(f"import os\nFOLDER = {str(tmp_path)!r}\n{change}").passed
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_A14_the_program_sees_no_environment_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    program = "import os\nassert 'HF_TOKEN' not in os.environ and os.listdir() == ['program.py']"
    assert run_program(program).reason == "passed"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("x = 'a' * 2**31", "MemoryError"),
        ("x = []\nwhile True:\n    x.append(bytearray(10**6))", "MemoryError"),
        ("open('big', 'wb').write(bytes(2**22))", "File too large"),
        ("for i in range(1000):\n    open(str(i), 'w').close()", "more than 200 files"),
        ("files = [open('program.py') for _ in range(500)]", "Too many open files"),
    ],
)
def test_A14_memory_and_disk_are_limited(program: str, reason: str) -> None:
    outcome = run_program(program)
    assert not outcome.passed and reason in outcome.reason


def test_A14_a_program_that_sleeps_is_killed_at_the_deadline_and_leaves_no_process() -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    started = time.monotonic()
    outcome = run_program("import time\nwhile True:\n    time.sleep(1)", wall_seconds=1.0)
    assert outcome.reason == "timed out" and time.monotonic() - started < 5
    assert {process.pid for process in psutil.Process().children(recursive=True)} == before


def test_A14_a_program_that_computes_without_end_is_stopped_by_its_processor_time() -> None:
    started = time.monotonic()
    outcome = run_program("while True:\n    pass", wall_seconds=120.0)
    assert outcome.reason == "timed out"
    assert time.monotonic() - started < 20 * CPU_SECONDS


def test_A14_a_program_that_ignores_signals_and_exceptions_is_killed_all_the_same() -> None:
    program = (
        "import signal, time\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nsignal.signal(signal.SIGTERM, "
        "signal.SIG_IGN)\nwhile True:\n    try:\n        time.sleep(1)\n    except BaseException:\n        pass"
    )
    assert not run_program(program, wall_seconds=1.0).passed


def test_a_program_leaves_nothing_in_the_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = "import os\nos.makedirs('a/b')\nopen('a/b/c', 'w').close()\nos.chmod('a', 0)"
    assert run_program(program).reason == "passed"
    assert os.listdir(tmp_path) == []
