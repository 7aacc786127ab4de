"""The list of runs: what a run is and how far it is, read from its folder alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder, RunNotFound
from llm_app.jobs.store import RunStore

SPEC = {
    "kind": "benchmark", "created": "2026-01-02T03:04:05.000006", "asked": ["glue"],
    "model": {"name": "tiny", "adapter_name": "polite", "precision": "fp32"},
    "tasks": {"cola": {"n_samples": 3}, "wnli": {"n_samples": 4}},
}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def results(folder: RunFolder, n: int) -> None:
    folder.append([{"type": "result", "done": done} for done in range(1, n + 1)])


def test_a_new_run_says_what_it_is_and_that_nothing_is_done(store: RunStore) -> None:
    run = store.read(store.create(SPEC).id)
    assert (run.kind, run.model, run.adapter, run.precision) == ("benchmark", "tiny", "polite", "fp32")
    assert (run.tasks, run.created) == (("glue",), "2026-01-02T03:04:05.000006")
    assert (run.status, run.n_done, run.n_total) == ("interrupted", 0, 7)


def test_a_run_is_running_while_somebody_appends_and_interrupted_when_it_just_stops(store: RunStore) -> None:
    folder = store.create(SPEC)
    with folder:
        results(folder, 2)
        assert (store.read(folder.id).status, store.read(folder.id).n_done) == ("running", 2)
    assert (store.read(folder.id).status, store.read(folder.id).n_done) == ("interrupted", 2)


@pytest.mark.parametrize("status", ["done", "cancelled", "interrupted", "paused", "failed"])
def test_a_run_says_how_it_ended_and_why(status: str, store: RunStore) -> None:
    folder = store.create(SPEC)
    with folder:
        results(folder, 5)
        folder.end(status, done=5, reason="Because.", scores={"cola": ["mcc", 0.5]})  # type: ignore[arg-type]
    run = store.read(folder.id)
    assert (run.status, run.n_done, run.reason, run.scores) == (status, 5, "Because.", {"cola": ("mcc", 0.5)})


def test_a_run_that_is_resumed_is_no_longer_what_it_ended_as(store: RunStore) -> None:
    folder = store.create(SPEC)
    with folder:
        folder.end("paused", done=0, reason="No space.")
    with folder:
        results(folder, 1)
        assert (store.read(folder.id).status, store.read(folder.id).reason) == ("running", None)


HOLDER = """
import sys, time
from pathlib import Path
from llm_app.jobs.folder import RunFolder
with RunFolder(Path(sys.argv[1])) as folder:
    folder.append([{"type": "result", "done": 1}])
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_leaves_its_run_interrupted_at_once(store: RunStore) -> None:
    folder = store.create(SPEC)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder.path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"ready\n"
    assert store.read(folder.id).status == "running"
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert (store.read(folder.id).status, store.read(folder.id).n_done) == ("interrupted", 1)


def test_pages_go_from_the_newest_to_the_oldest_run(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(10**18, 2 * 10**18, 10**14))  # nanoseconds, 28 hours apart
    monkeypatch.setattr("llm_app.jobs.folder.time.time_ns", lambda: next(moments))
    made = [store.create(SPEC).id for _ in range(7)]
    assert [run.id for run in store.page(0, 3)] == made[:3:-1]
    assert [run.id for run in store.page(3, 3)] == made[3:0:-1]
    assert [run.id for run in store.page(6, 3)] == made[:1]
    assert store.page(7, 3) == []


def test_a_store_without_a_folder_is_empty(store: RunStore) -> None:
    assert store.page() == [] and store.n_bytes() == 0


def test_a_run_without_its_spec_is_shown_as_damaged(store: RunStore) -> None:
    folder = store.create(SPEC)
    (folder.path / "spec.json").write_text("[1, 2")
    assert [(run.id, run.status) for run in store.page()] == [(folder.id, "damaged")]


def test_lines_longer_than_a_block_are_read_from_the_end(store: RunStore) -> None:
    folder = store.create(SPEC)
    with folder:
        folder.append([{"type": "result", "done": n, "text": "x" * 300_000} for n in (1, 2)])
    assert [event["done"] for event in folder.tail()][:1] == [2]


def test_the_tail_is_the_end_of_the_events_backwards_without_torn_and_damaged_lines(store: RunStore) -> None:
    folder = store.create(SPEC)
    with folder:
        results(folder, 4000)
    with (folder.path / "events.jsonl").open("ab") as file:
        file.write(b'{"type": "res\xff\n{"type": "result", "done": 4001}\n{"type": "resu')
    tail = [event["done"] for event in folder.tail()]
    assert tail[:3] == [4001, 4000, 3999] and tail == sorted(tail, reverse=True)


def test_a_deleted_run_is_gone_with_all_its_files(store: RunStore) -> None:
    folder, other = store.create(SPEC), store.create(SPEC)
    folder.write("results.json", "{}")
    store.delete(folder.id)
    assert [path.name for path in store.root.iterdir()] == [other.id]
    with pytest.raises(RunNotFound):
        store.delete(folder.id)


@pytest.mark.parametrize("name", ["../runs", "x" * 12 + "/..", "", ".", "ABCDEFGHIJKL"])
def test_no_name_leads_out_of_the_store(name: str, store: RunStore) -> None:
    store.create(SPEC)
    for act in (store.read, store.open, store.delete, lambda run_id: store.note(run_id, "x")):
        with pytest.raises(RunNotFound):
            act(name)


def test_a_note_is_kept_on_one_line_and_bounded(store: RunStore) -> None:
    run_id = store.create(SPEC).id
    store.note(run_id, "  the\nlong   one ")
    assert store.read(run_id).note == "the long one"
    with pytest.raises(UserError, match="at most 200 characters, not 201"):
        store.note(run_id, "x" * 201)


def test_a_visitor_of_a_public_demo_sees_only_runs_of_their_own(tmp_path: Path) -> None:
    public = Settings(home=tmp_path, is_public=True)
    mine, theirs = RunStore.of(public, "me"), RunStore.of(public, "../them")
    run_id = mine.create(SPEC).id
    assert mine.read(run_id).id == run_id and mine.open(run_id).spec()["owner"] == mine.owner
    assert theirs.page() == []
    for act in (theirs.read, theirs.open, theirs.delete):
        with pytest.raises(RunNotFound):
            act(run_id)
    assert theirs.root.parent == tmp_path / "visitors" and RunStore.of(public).page() == []
    assert [store.root for store in RunStore.every(public)] == [tmp_path / "runs", mine.root]


def test_on_a_persons_own_machine_all_runs_are_theirs(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert RunStore.of(settings, "me").root == RunStore.of(settings).root == tmp_path / "runs"
