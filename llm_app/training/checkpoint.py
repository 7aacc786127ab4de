"""Checkpoints on disk: each is whole and verified, or not there. Safetensors and JSON only.

`step-00000012/` holds state.safetensors, state.json and, written last, manifest.json with the names, sizes and
SHA-256 of the two. A kill at any moment leaves the older ones as they were; only one process at a time may save.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from llm_app.errors import UserError
from llm_app.training.new_path import sync_folder
from llm_app.training.state import TrainerState

STATE, VALUES, MANIFEST = "state.safetensors", "state.json", "manifest.json"
NEW, OLD = ".new-", ".old-"  # names of a folder that is being made, and of one that a new one takes the place of
_NAME = re.compile(r"step-(\d{8,})")
_BLOCK = 1 << 20
# Names of the format. Source: the `Dtype` of safetensors.
_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}


class Damaged(UserError):
    """A checkpoint does not hold what its manifest says."""

    status, code = 500, "damaged_checkpoint"


class NoValidCheckpoint(UserError):
    """There are checkpoints, and not one can be read: whether to start again is for the person to say."""

    status, code = 409, "no_valid_checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """One that was read and found whole. `best_step`: which step had the lowest validation loss when it was saved."""

    path: Path
    step: int
    best_step: int | None

    def load(self) -> TrainerState:
        """What the trainer restores."""
        values = json.loads((self.path / VALUES).read_text(encoding="utf-8"))
        return TrainerState(load_file(self.path / STATE), values)


def save(folder: Path, state: TrainerState, *, step: int, best_step: int | None, keep: int) -> Checkpoint:
    """Write a checkpoint, read it back, and only then delete older ones: the newest `keep` and the best one stay.

    Raises: OSError, with the others as they were; Damaged if the disk does not give back what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    target = _path(folder, step)
    made = folder / f"{NEW}{target.name}"
    try:
        made.mkdir()
        files = {STATE: _write_tensors(made / STATE, state.tensors), VALUES: _write_json(made / VALUES, state.values)}
        _write_json(made / MANIFEST, {"step": step, "best_step": best_step, "files": files})
        sync_folder(made)
        _check(made)
        if target.exists():  # damaged, else training would have gone on after it
            target.rename(folder / f"{OLD}{target.name}")
        made.rename(target)
        sync_folder(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    _rotate(folder, step, best_step, keep)
    return Checkpoint(target, step, best_step)


def newest_valid(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and why newer ones are passed over; None where none was ever written.

    Raises: NoValidCheckpoint if there are some, all of them damaged.
    """
    problems: list[str] = []
    for step in sorted(_steps(folder), reverse=True):
        try:
            return _check(_path(folder, step)), problems
        except Damaged as error:
            problems.append(error.message)
    if problems:
        raise NoValidCheckpoint(f"No valid checkpoint; start again? {' '.join(problems)}", param="run")
    return None, problems


def at_step(folder: Path, step: int) -> Checkpoint:
    """The checkpoint of this step.

    Raises: Damaged, also if it is missing.
    """
    return _check(_path(folder, step))


def _check(path: Path) -> Checkpoint:
    """Compare every byte with the manifest. Raises: Damaged."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name in (STATE, VALUES):
            told = manifest["files"][name]
            n_bytes = (path / name).stat().st_size
            if n_bytes != told["bytes"]:
                raise _damaged(path, f"{name} has {n_bytes:,} bytes instead of {told['bytes']:,}")
            if _digest(path / name) != told["sha256"]:
                raise _damaged(path, f"{name} is not what was written")
        return Checkpoint(path, manifest["step"], manifest["best_step"])
    except OSError as error:
        name = Path(error.filename).name if error.filename else "a file"
        raise _damaged(path, f"{name} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"{MANIFEST} is not one") from error


def _damaged(path: Path, why: str) -> Damaged:
    return Damaged(f"Checkpoint {path.name} is damaged: {why}.")


def _steps(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [int(found[1]) for path in folder.iterdir() if (found := _NAME.fullmatch(path.name))]


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08}"


def _rotate(folder: Path, newest: int, best_step: int | None, keep: int) -> None:
    """Later steps are left from before a resumption, and damaged: this step was gone on to from an older one."""
    steps = _steps(folder)
    kept = {*sorted(step for step in steps if step <= newest)[-keep:], best_step}
    for step in steps:
        if step not in kept:
            # Out of the list first: a kill in the middle leaves no half of a checkpoint under its name.
            trash = folder / f"{OLD}{step}"
            _path(folder, step).rename(trash)
            shutil.rmtree(trash)
    _remove_leftovers(folder)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name.startswith((NEW, OLD)):
            shutil.rmtree(path)


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A safetensors file, tensor by tensor, with its size and the SHA-256 of what was in memory.

    The library's own writer copies the whole state first, and its digest could only be taken from what reached
    the disk. Source: the format's description in the README of safetensors.
    """
    # Large elements first, so that each tensor begins at a multiple of its element's size.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header, offset = {}, 0
    for name in names:
        tensor = tensors[name]
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with _Hashed(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            file.write(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return file.described()


def _write_json(path: Path, value: Any) -> dict[str, Any]:
    with _Hashed(path) as file:
        file.write(json.dumps(value, indent=1, allow_nan=False).encode())
    return file.described()


class _Hashed:
    """A new file that is on the disk when its block ends, with the digest of what was put into it."""

    def __init__(self, path: Path) -> None:
        self._path, self._digest, self._n_bytes = path, hashlib.sha256(), 0

    def __enter__(self) -> "_Hashed":
        self._file = self._path.open("wb")
        return self

    def write(self, data: bytes | memoryview) -> None:
        """Append."""
        self._file.write(data)
        self._digest.update(data)
        self._n_bytes += len(data)

    def described(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {"bytes": self._n_bytes, "sha256": self._digest.hexdigest()}

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        with self._file:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        with contextlib.suppress(AttributeError, OSError):  # so that it comes from the disk, where the system can
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
