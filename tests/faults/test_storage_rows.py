"""The run store under faults: rows S1, S6, S7, S8, S10, S12."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder, RunIsRunning, RunNotFound
from llm_app.jobs.repair import DAMAGED_LINES, Fault, faults, storage_mode
from llm_app.jobs.store import RunStore
from tests.test_architecture import imports_of, program_files

ROOT = Path(__file__).parents[2]
SPEC = {"kind": "benchmark", "created": "2026-01-02T03:04:05", "model": {"name": "tiny"}, "tasks": {}}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def finished(store: RunStore, n: int = 3) -> RunFolder:
    """A run of `n` results."""
    folder = store.create(SPEC)
    with folder:
        folder.append([{"type": "result", "sample": number, "done": number + 1} for number in range(n)])
        folder.end("done", done=n)
    return folder


WRITER = """
import sys
from pathlib import Path
from llm_app.errors import UserError
from llm_app.jobs.store import RunStore
store, name = RunStore(Path(sys.argv[1])), sys.argv[2]
shared = store.open(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for run in range(50):
    folder = store.create({"writer": name, "number": run})
    with folder:
        for n in range(200):
            folder.append([{"n": n, "writer": name}])
n_shared = 0
while n_shared < 20:
    try:
        with shared:
            shared.append([{"n": n_shared, "writer": name}])
            n_shared += 1
    except UserError as error:
        assert error.code == "run_is_running", error
"""


def test_S1_two_processes_write_into_one_store_and_nothing_is_lost(store: RunStore) -> None:
    shared = store.create({"writer": "both"})
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.root), name, shared.id], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for name in ("a", "b")
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, errors = writer.communicate(timeout=100)
        assert (writer.returncode, errors) == (0, "")
    runs = [store.open(run_id) for run_id in store.ids() if run_id != shared.id]
    assert sorted((run.spec()["writer"], run.spec()["number"]) for run in runs) == [
        (name, number) for name in ("a", "b") for number in range(50)
    ]
    for run in runs:
        name = run.spec()["writer"]
        assert run.events() == [{"n": n, "writer": name} for n in range(200)]
    both = shared.events()
    assert [[event["n"] for event in both if event["writer"] == name] for name in ("a", "b")] == [list(range(20))] * 2


def test_S6_runs_are_plain_files_and_no_part_of_the_program_opens_a_database(store: RunStore) -> None:
    # trackio keeps its figures in SQLite, beside runs and for those who ask for it; reporting.py hears of its errors.
    files = [name for name in program_files() if name != "llm_app/training/reporting.py"]
    imported = {it.split(".")[0] for name in files for _, it in imports_of(name)}
    assert imported & {"sqlite3", "dbm", "shelve"} == set()
    assert storage_mode(store.root) == "plain files, no database; file locks work"


def found_in(store: RunStore, *, repair: bool = False) -> list[tuple[str, str]]:
    """(file, problem) of what is to be repaired."""
    found = [item for item in faults(store, repair=repair) if item.repair]
    assert all(item.is_repaired == repair for item in found)
    return [(str(item.place.relative_to(store.root)), item.problem) for item in found]


def test_S7_doctor_sets_a_run_without_its_spec_aside_with_its_results(store: RunStore) -> None:
    folder = finished(store)
    events = (folder.path / "events.jsonl").read_bytes()
    (folder.path / "spec.json").unlink()
    assert store.read(folder.id).status == "damaged"
    assert found_in(store) == [(folder.id, "spec.json is missing or unreadable")]
    assert store.ids() == [folder.id]
    found_in(store, repair=True)
    assert store.ids() == [] and found_in(store) == []
    assert (store.root / ".aside" / folder.id / "events.jsonl").read_bytes() == events


def test_S7_doctor_moves_unreadable_lines_beside_the_log_and_the_run_can_go_on(store: RunStore) -> None:
    folder = finished(store)
    log = folder.path / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + b"\x00\x00\x00\n" + lines[2] + lines[3] + b'{"torn')
    with pytest.raises(UserError, match=f"Line 2 of run {folder.id} is damaged.*doctor --repair"):
        folder.events()
    assert found_in(store) == [(f"{folder.id}/events.jsonl", "1 unreadable line")]
    found_in(store, repair=True)
    assert [event["sample"] for event in folder.events() if event["type"] == "result"] == [0, 2]
    assert (folder.path / DAMAGED_LINES).read_bytes() == b"\x00\x00\x00\n"
    assert (store.read(folder.id).status, store.read(folder.id).n_done) == ("interrupted", 2)
    assert found_in(store) == []


def test_S7_doctor_clears_what_kills_left_and_nothing_that_is_being_written(store: RunStore) -> None:
    folder = finished(store)
    old = [store.root / ".deleted-abcdefghijkl-00", store.root / ".new-x", folder.path / ".spec.json.x"]
    for path in old[:2]:
        path.mkdir()
    old[2].write_text("half")
    for path in old:
        os.utime(path, (0, 0))
    young = folder.path / ".asked.jsonl.y"
    young.write_text("being written")
    assert sorted(place for place, _ in found_in(store)) == sorted(str(path.relative_to(store.root)) for path in old)
    assert all(path.exists() for path in old)
    found_in(store, repair=True)
    assert not any(path.exists() for path in old) and young.exists() and store.read(folder.id).status == "done"


def test_S7_doctor_names_a_run_without_events_and_leaves_it_to_be_resumed(store: RunStore) -> None:
    folder = store.create(SPEC)
    (found,) = faults(store, repair=True)
    assert found == Fault(folder.path, "never started: it has no results yet. Resume or delete it")
    assert store.read(folder.id).status == "interrupted"


def test_S7_doctor_leaves_a_run_alone_that_is_under_way(store: RunStore) -> None:
    folder = finished(store)
    with folder:
        (folder.path / "spec.json").unlink()
        assert found_in(store, repair=True) == []


def test_S8_a_file_system_without_locks_is_refused_with_the_way_out(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished(store)

    def has_none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", has_none)
    with pytest.raises(UserError, match="no file locks.*PROOFBENCH_HOME"), folder:
        pass
    assert store.read(folder.id).status == "done" and len(folder.events()) == 4
    assert "no file locks" in storage_mode(store.root)


@pytest.fixture
def memory_store() -> Iterator[RunStore]:
    """In memory where the machine allows it: to remove a hundred thousand folders from a disk takes minutes."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield RunStore(Path(folder) / "runs")


def test_S10_a_page_of_a_hundred_thousand_runs_takes_less_than_300_ms(memory_store: RunStore) -> None:
    whole = finished(memory_store)
    for number in range(100_000 - 1):
        folder = memory_store.root / f"m{number:011d}"
        folder.mkdir()
        if number % 1000 < 40 or number > 100_000 - 40:
            shutil.copytree(whole.path, folder, dirs_exist_ok=True)
    for offset in (0, 50_000, 99_980):
        started = time.monotonic()
        page = memory_store.page(offset, 20)
        seconds = time.monotonic() - started
        assert [run.id for run in page] == sorted((run.id for run in page), reverse=True) and len(page) == 20
        assert seconds < 0.3, f"{seconds:.3f} s at {offset}"


def test_S10_of_a_log_of_a_gigabyte_only_the_end_is_read(store: RunStore) -> None:
    folder = store.create(SPEC)
    log = folder.path / "events.jsonl"
    with log.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + b'{"type": "result", "done": 7}\n' * 3)

    def n_read() -> int:
        return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])

    before = n_read()
    run = store.read(folder.id)
    assert (run.status, run.n_done) == ("interrupted", 7)
    assert n_read() - before < 1 << 20


def test_S12_a_run_that_is_running_is_not_deleted(store: RunStore) -> None:
    folder = finished(store)
    with folder, pytest.raises(RunIsRunning, match="under way. Stop it first") as refused:
        store.delete(folder.id)
    assert (refused.value.status, refused.value.code) == (409, "run_is_running")
    assert len(folder.events()) == 4


def test_S12_who_reads_a_run_while_it_is_deleted_gets_all_of_it(store: RunStore) -> None:
    n_events, reads, failures = 100_000, [], []
    folder = finished(store, n_events)
    is_reading = threading.Event()

    def read() -> None:
        try:
            with (folder.path / "events.jsonl").open("rb") as file:
                first = file.readline()
                is_reading.set()
                reads.append(sum(1 for _ in file) + bool(first))
        except Exception as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert is_reading.wait(10)
    store.delete(folder.id)
    reader.join(30)
    assert (reads, failures) == ([n_events + 1], [])
    with pytest.raises(RunNotFound):
        store.open(folder.id)


def test_S12_a_run_deleted_while_it_waits_for_its_writer_is_not_written_any_more(store: RunStore) -> None:
    folder = finished(store)
    held = RunFolder(folder.path)
    store.delete(folder.id)
    with pytest.raises(RunNotFound, match="was deleted"), held:
        pass
