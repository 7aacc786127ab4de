"""Looks through a store for what a fault of a disk, a kill or a stray hand left behind, and mends what it can.

No result is ever thrown away: what cannot be read is set aside beside its run, and named.
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_app.errors import UserError
from llm_app.jobs import lock
from llm_app.jobs.folder import EVENTS, ID, NEW, RESERVE, RunFolder, read_event, told
from llm_app.jobs.store import TRASH, RunStore

ASIDE = ".aside"  # runs without a readable spec.json
DAMAGED_LINES = "events.damaged.jsonl"
MIN_AGE_SECONDS = 60.0  # younger temporary files may belong to somebody who is writing them


@dataclass(frozen=True)
class Fault:
    """Something in a store that is not as it should be. Without a `repair` it is only worth knowing."""

    place: Path
    problem: str
    repair: str | None = None
    is_repaired: bool = False


def storage_mode(root: Path) -> str:
    """How runs are kept there, and whether two programs are kept apart.

    Raises: UserError if nothing can be written there.
    """
    how = "plain files, no database"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=root, prefix=".doctor.") as file:
            lock.take(file.fileno())
            is_seen = lock.is_held(Path(file.name))
    except OSError as error:
        raise told(error, root) from error
    except UserError as error:
        return f"{how}; {error.message}"
    return f"{how}; file locks {'work' if is_seen else 'have no effect: never run two programs on this folder'}"


def faults(store: RunStore, *, repair: bool = False) -> Iterator[Fault]:
    """What is wrong in a store; with `repair`, after mending it. Runs under way are left alone.

    Raises: UserError if a repair cannot be written.
    """
    if not store.root.is_dir():
        return
    try:
        for path in sorted(store.root.iterdir()):
            if ID.fullmatch(path.name) and path.is_dir():
                yield from _faults_of_run(RunFolder(path), repair)
            elif path.name.startswith((TRASH, NEW)):
                yield from _leftover(path, "left by a kill in the middle of making or deleting a run", repair)
            elif path.name.startswith("."):
                if path.name != ASIDE:
                    yield from _leftover(path, "a temporary file", repair)
            else:
                yield Fault(path, "not a run; left alone")
    except OSError as error:
        raise told(error, store.root) from error


def _faults_of_run(folder: RunFolder, repair: bool) -> Iterator[Fault]:
    if folder.is_locked():
        return
    for path in sorted([*folder.path.iterdir(), *folder.path.glob("checkpoint/.*")]):
        if path.name.startswith(".") and path.name != RESERVE:  # that one goes when the run is resumed
            yield from _leftover(path, "a temporary file", repair)
    try:
        folder.spec()
    except UserError:
        yield _without_spec(folder, repair)
        return
    if not (folder.path / EVENTS).exists():
        yield Fault(folder.path, "never started: it has no results yet. Resume or delete it")
        return
    yield from _damaged_lines(folder, repair)


def _without_spec(folder: RunFolder, repair: bool) -> Fault:
    """Without it nobody knows what the results are of."""
    problem = "spec.json is missing or unreadable"
    if not any(folder.path.iterdir()):
        if repair:
            folder.path.rmdir()
        return Fault(folder.path, f"{problem}, and the folder is empty", "the empty folder is removed", repair)
    target = folder.path.parent / ASIDE / folder.id
    if repair:
        target.parent.mkdir(exist_ok=True)
        folder.path.rename(target)
    return Fault(folder.path, problem, f"the folder, with all its files, moves to {ASIDE}/{folder.id}", repair)


def _damaged_lines(folder: RunFolder, repair: bool) -> Iterator[Fault]:
    """Lines that are no JSON object. A torn last line is none of them: the next writer cuts it."""
    n_damaged = sum(event is None for _, event in _lines(folder))
    if n_damaged == 0:
        return
    if repair:
        _set_aside(folder)
    yield Fault(
        folder.path / EVENTS, f"{n_damaged} unreadable {'line' if n_damaged == 1 else 'lines'}",
        f"they move to {DAMAGED_LINES}; resuming the run asks for what they held", repair,
    )


def _set_aside(folder: RunFolder) -> None:
    """Rewrite the log under its lock: first the damaged lines are safe, then the log without them takes its place."""
    n_results, told = 0, dict[str, Any]()
    partial = folder.path / f".{EVENTS}.repair"
    with folder, (folder.path / DAMAGED_LINES).open("ab") as damaged, partial.open("wb") as kept:
        for line, event in _lines(folder):
            (damaged if event is None else kept).write(line)
            n_results += event is not None and event.get("type") == "result"
            told = {name: event[name] for name in ("done", "total") if name in event} if event else told
        # Of a run without results, such as training, how far it was is told in every line.
        far = {"done": n_results} if n_results or "done" not in told else told
        kept.write(json.dumps({"type": "repaired", **far}).encode() + b"\n")
        for file in (damaged, kept):
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder.path / EVENTS)


def _lines(folder: RunFolder) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Whole lines, one by one, however long the log is; with their events, None for damaged ones."""
    with (folder.path / EVENTS).open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line, read_event(line)


def _leftover(path: Path, what: str, repair: bool) -> Iterator[Fault]:
    with contextlib.suppress(FileNotFoundError):  # its writer has just taken it away
        if time.time() - path.stat().st_mtime < MIN_AGE_SECONDS:
            return
        if repair:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield Fault(path, what, "it is removed", repair)
