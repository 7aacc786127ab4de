"""Checkpoints: whole or not there, whatever happens to the process or the disk."""

import contextlib
import errno
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from llm_app.training.checkpoint import Damaged, NoValidCheckpoint, at_step, newest_valid, save
from llm_app.training.state import TrainerState


def state(step: int) -> TrainerState:
    """Tensors of every type and shape that a state may hold."""
    made = torch.Generator().manual_seed(step)
    tensors = {
        "weights": torch.randn(300, 7, generator=made), "halves": torch.randn(5, generator=made).bfloat16(),
        "bytes": torch.randint(0, 256, (13,), generator=made, dtype=torch.uint8), "flag": torch.tensor([True, False]),
        "number": torch.tensor(step), "empty": torch.empty(0), "view": torch.randn(8, 8, generator=made).T,
    }  # fmt: skip
    return TrainerState(tensors, {"step": step, "loss": 0.1 + step, "name": "é"})


def write(folder: Path, *steps: int, best: int | None = None, keep: int = 2) -> None:
    for step in steps:
        save(folder, state(step), step=step, best_step=best, keep=keep)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_is(found: TrainerState, step: int) -> None:
    wanted = state(step)
    assert found.values == wanted.values and found.tensors.keys() == wanted.tensors.keys()
    for name, tensor in wanted.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype and torch.equal(found.tensors[name], tensor), name


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    write(tmp_path, 3)
    found, problems = newest_valid(tmp_path)
    assert found is not None and (found.step, found.best_step, problems) == (3, None, [])
    assert_is(found.load(), 3)


def test_the_state_is_a_plain_safetensors_file(tmp_path: Path) -> None:
    write(tmp_path, 1)
    read = load_file(tmp_path / "step-00000001" / "state.safetensors")  # oracle: the library's own reader
    assert torch.equal(read["weights"], state(1).tensors["weights"])


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3, 4, 5, best=2)
    assert names(tmp_path) == ["step-00000002", "step-00000004", "step-00000005"]
    assert_is(at_step(tmp_path, 2).load(), 2)


def test_there_is_none_before_the_first(tmp_path: Path) -> None:
    assert newest_valid(tmp_path / "checkpoint") == (None, [])


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("how", ["gone", "cut", "changed"])
def test_a_damaged_one_is_passed_over_and_the_reason_told(tmp_path: Path, name: str, how: str) -> None:
    write(tmp_path, 1, 2)
    file = tmp_path / "step-00000002" / name
    data = file.read_bytes()
    file.unlink()
    if how != "gone":
        file.write_bytes(data[:-9] if how == "cut" else data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    found, problems = newest_valid(tmp_path)
    if name == "manifest.json" and how == "changed":  # one bit may leave it valid JSON with another digest
        assert found is not None and (found.step == 2 or "is damaged" in problems[0])
        return
    assert found is not None and found.step == 1
    assert len(problems) == 1 and problems[0].startswith("Checkpoint step-00000002 is damaged: ")


def test_T4_when_all_are_damaged_it_asks_and_never_starts_again_by_itself(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    for path in tmp_path.rglob("state.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(NoValidCheckpoint, match="^No valid checkpoint; start again?"):
        newest_valid(tmp_path)


def test_a_step_that_is_made_again_takes_the_place_of_a_damaged_one_and_of_later_ones(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3)
    for step in (2, 3):
        (tmp_path / f"step-0000000{step}" / "state.json").write_text("{}")
    save(tmp_path, state(2), step=2, best_step=None, keep=2)
    assert names(tmp_path) == ["step-00000002"]
    assert_is(at_step(tmp_path, 2).load(), 2)


def test_older_ones_stay_when_the_disk_does_not_give_back_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 1, keep=1)
    real = os.fsync

    def lossy(handle: int) -> None:
        real(handle)
        with contextlib.suppress(OSError):  # a folder
            os.pwrite(handle, b"\xff", 40)

    monkeypatch.setattr(os, "fsync", lossy)
    with pytest.raises(Damaged):
        write(tmp_path, 2, keep=1)
    assert names(tmp_path) == ["step-00000001"]


@pytest.mark.parametrize("place", range(1, 7))
def test_S3_a_full_disk_leaves_the_older_ones_and_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    write(tmp_path, 1)
    real, n_done = os.fsync, 0

    def fsync(file: int) -> None:
        nonlocal n_done
        n_done += 1
        if n_done == place:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    if place < 6:  # three files, the folder, and the folder it stands in
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path, 2)
    else:
        write(tmp_path, 2)
    monkeypatch.setattr(os, "fsync", real)
    found, problems = newest_valid(tmp_path)
    assert found is not None and found.step in (1, 2) and problems == []
    assert all(name.startswith("step-") for name in names(tmp_path))


def dies_at(folder: Path, place: int) -> bool:
    """Saves step 3 in a process that kills itself before its file operation of this number; whether it came to that."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    n_done = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal n_done
        if event in ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "shutil.rmtree"):
            n_done += 1
            if n_done == place:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(count)
        write(folder, 3)
    finally:
        os._exit(0)


def test_T2_a_kill_at_any_file_operation_of_saving_leaves_a_valid_checkpoint_and_the_next_saving_works(
    tmp_path: Path,
) -> None:
    place, n_new = 0, 0
    while True:
        place += 1
        folder = tmp_path / str(place)
        write(folder, 1, 2)
        was_killed = dies_at(folder, place)
        found, problems = newest_valid(folder)
        assert found is not None and problems == [], place
        n_new += found.step == 3
        assert_is(found.load(), found.step)
        write(folder, 3, 4)
        assert names(folder) == ["step-00000003", "step-00000004"], place
        if not was_killed:
            break
    assert place > 15 and 1 < n_new < place - 5  # it was killed before and after the new one came to be
