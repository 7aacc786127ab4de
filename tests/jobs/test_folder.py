"""Run folders: nothing that was written is lost, nothing half-written is read."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llm_app.errors import UserError
from llm_app.jobs.folder import ID, RunFolder, write_whole


def test_a_run_gets_an_id_of_twelve_letters_and_digits(tmp_path: Path) -> None:
    folders = [RunFolder.create(tmp_path, {"kind": "x"}) for _ in range(3)]
    assert all(ID.fullmatch(folder.id) for folder in folders) and len({folder.id for folder in folders}) == 3
    assert folders[0].spec() == {"id": folders[0].id, "kind": "x"}


@pytest.mark.parametrize("name", ["../abcdefghijkl", "abc", "ABCDEFGHIJKL", "abcdefghijk/", "", "abcdefghijkl\n"])
def test_an_id_never_leads_out_of_the_folder_of_runs(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no run"):
        RunFolder.open(tmp_path, name)


@pytest.mark.parametrize("torn", [b'{"n": 2, "te', b"x" * 200_000, b"\xff\xfe"])
def test_a_torn_last_line_is_cut_before_anything_is_appended(torn: bytes, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, {})
    with folder:
        folder.append([{"n": 0}, {"n": 1}])
    with (folder.path / "events.jsonl").open("ab") as file:
        file.write(torn)
    assert folder.events() == [{"n": 0}, {"n": 1}]
    with folder:
        folder.append([{"n": 2}])
    assert folder.events() == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert (folder.path / "events.jsonl").read_bytes() == b'{"n": 0}\n{"n": 1}\n{"n": 2}\n'


def test_a_file_that_is_only_a_torn_line_becomes_empty(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, {})
    (folder.path / "events.jsonl").write_bytes(b'{"n"')
    with folder:
        pass
    assert (folder.path / "events.jsonl").read_bytes() == b""


def test_a_second_writer_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, {})
    with folder, pytest.raises(UserError, match="under way in another process"):
        RunFolder(folder.path).__enter__()
    with RunFolder(folder.path):
        pass


WRITER = """
import sys
from pathlib import Path
from llm_app.jobs.folder import RunFolder
with RunFolder(Path(sys.argv[1])) as folder:
    for n in range(10**9):
        folder.append([{"n": n, "text": "x" * (n % 5000)}])
        print(n, flush=True)
"""


def test_S2_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, {})
    for n_acknowledged in (1, 57, 400):
        (folder.path / "events.jsonl").unlink(missing_ok=True)
        command = [sys.executable, "-c", WRITER, str(folder.path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(n_acknowledged):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with folder:
            found = folder.events()
        assert [event["n"] for event in found] == list(range(len(found))) and len(found) >= n_acknowledged


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_S3_a_failing_disk_is_one_clear_error_and_the_state_is_old_or_new(
    call: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.create(tmp_path, {})
    with folder:
        folder.append([{"n": 0}])
        folder._synced = 0.0
        real = getattr(os, call)

        def fails(*args: object) -> int:
            if call == "write":
                real(args[0], args[1][:3])  # type: ignore[index]
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, call, fails)
        with pytest.raises(UserError, match="No space left" if code == errno.ENOSPC else "Cannot write to"):
            folder.append([{"n": 1}])
        monkeypatch.undo()
        assert folder.events() in ([{"n": 0}], [{"n": 0}, {"n": 1}])
        folder.append([{"n": 2}])
    assert folder.events()[-1] == {"n": 2}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_S3_a_file_is_there_whole_or_as_it_was(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_whole(tmp_path / "a" / "b.json", "old")

    def fails(*args: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, call, fails)
    with pytest.raises(UserError, match="No space left"):
        write_whole(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old" and [p.name for p in path.parent.iterdir()] == ["b.json"]


def test_S4_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match="Cannot write to"):
        RunFolder.create(tmp_path / "runs", {})


def test_E20_a_number_that_json_lacks_is_never_written(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, {})
    with folder, pytest.raises(ValueError):
        folder.append([{"n": float("nan")}])
    assert json.loads((folder.path / "spec.json").read_text())["id"] == folder.id
