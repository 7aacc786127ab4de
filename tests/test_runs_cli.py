"""The commands `runs` and `doctor`: what others script against, names, streams and exit codes."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llm_app.cli import main
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.store import RunStore
from llm_app.runs_cli import HEADER

Run = Callable[..., tuple[int, str, str]]
SPEC = {
    "kind": "benchmark", "created": "2026-01-02T03:04:05.000006", "asked": ["wnli", "cola"],
    "model": {"name": "tiny", "adapter_name": "polite", "precision": "fp32"},
    "tasks": {"wnli": {"n_samples": 71}, "cola": {"n_samples": 29}},
}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    """The runs of a home of its own; the log handlers of the test runner are put back."""
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TZ", "UTC")
    handlers = logging.root.handlers[:]
    yield RunStore(tmp_path / "home" / "runs")
    logging.root.handlers[:] = handlers


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process; gives exit code, stdout and stderr."""
    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(list(arguments))
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def finished(store: RunStore) -> RunFolder:
    folder = store.create(SPEC)
    with folder:
        folder.append([{"type": "result", "done": n} for n in range(1, 101)])
        folder.end("done", done=100, scores={"wnli": ["acc", 0.5634], "cola": ["mcc", 0.1]})
    return folder


def test_runs_prints_a_line_for_each_run_newest_first(run: Run, store: RunStore) -> None:
    done = finished(store)
    begun = RunFolder(store.root / "zzzzzzzzzzzz")
    done.path.with_name(begun.id).mkdir()
    begun.write("spec.json", json.dumps(SPEC))
    code, out, err = run("runs")
    header, first, second = out.splitlines()
    assert (code, err) == (0, "") and header.split() == list(HEADER)
    assert first.split()[:6] == [begun.id, "benchmark", "interrupted", "tiny+polite", "wnli,cola", "0/100"]
    assert second.split()[:6] == [done.id, "benchmark", "done", "tiny+polite", "wnli,cola", "100/100"]
    assert "wnli acc 0.5634 +1" in second


def test_runs_takes_a_number_and_an_offset(run: Run, store: RunStore) -> None:
    for _ in range(3):
        finished(store)
    pages = [run("runs", "--n", "2", "--offset", offset)[1].splitlines()[1:] for offset in ("0", "2", "4")]
    assert [len(page) for page in pages] == [2, 1, 0]
    assert [line.split()[0] for page in pages for line in page] == store.ids()


def test_runs_as_json_has_every_field(run: Run, store: RunStore) -> None:
    folder = finished(store)
    store.note(folder.id, "对照组")
    code, out, _ = run("runs", "--json")
    (found,) = json.loads(out)
    assert code == 0 and "对照组" in out
    assert found == {
        "id": folder.id, "status": "done", "kind": "benchmark", "model": "tiny", "adapter": "polite",
        "precision": "fp32", "tasks": ["wnli", "cola"], "created": SPEC["created"], "n_done": 100, "n_total": 100,
        "scores": {"wnli": ["acc", 0.5634], "cola": ["mcc", 0.1]}, "reason": None, "note": "对照组", "position": None,
    }


def test_runs_delete_removes_the_run(run: Run, store: RunStore) -> None:
    folder = finished(store)
    assert run("runs", "delete", folder.id) == (0, f"deleted {folder.id}\n", "")
    assert store.ids() == []


def test_runs_delete_refuses_what_is_running_and_what_is_not_there(run: Run, store: RunStore) -> None:
    folder = finished(store)
    with folder:
        code, out, err = run("runs", "delete", folder.id)
    assert (code, out) == (2, "") and "under way" in err
    assert run("runs", "delete", "nope")[::2] == (2, "There is no run 'nope' here.\n")
    assert store.ids() == [folder.id]


def test_runs_note_writes_a_remark(run: Run, store: RunStore) -> None:
    folder = finished(store)
    assert run("runs", "note", folder.id, "before the new data")[0] == 0
    assert store.read(folder.id).note == "before the new data"


def test_text_from_a_spec_cannot_colour_the_terminal_or_add_a_line(run: Run, store: RunStore) -> None:
    store.create(SPEC | {"model": {"name": "\x1b[31mred\nrun"}})
    _, out, _ = run("runs")
    assert "\x1b" not in out and len(out.splitlines()) == 2


def test_doctor_finds_nothing_wrong_with_whole_runs(run: Run, store: RunStore) -> None:
    finished(store)
    code, out, _ = run("doctor")
    assert code == 0 and out.splitlines() == [
        f"{store.root}: plain files, no database; file locks work", "1 runs looked at, 0 findings, 0 to be repaired",
    ]


def test_doctor_ends_with_1_until_what_it_found_is_repaired(run: Run, store: RunStore) -> None:
    folder = finished(store)
    (folder.path / "spec.json").unlink()
    code, out, _ = run("doctor")
    assert code == 1 and f"{folder.path}: spec.json is missing or unreadable (--repair: " in out
    code, out, _ = run("doctor", "--repair")
    assert code == 0 and "(repaired: " in out
    assert run("doctor")[0] == 0


def test_the_list_needs_no_model_library() -> None:
    code = (
        "import sys; from llm_app.cli import main\n"
        "main(['runs']); print([m for m in ('torch', 'transformers', 'lm_eval', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.endswith("[]\n")
