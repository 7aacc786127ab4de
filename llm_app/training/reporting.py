"""Figures of a training run for TensorBoard or trackio: files on this machine. Nothing is sent, no server is started.

Only what writes is used of either package: a record of TensorBoard's event file, and trackio's own storage.
"""

import contextlib
import importlib.util
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from llm_app.errors import UserError
from llm_app.training.events import Event, Saved, Step, Validation

NAMES = {"tensorboard": "TensorBoard", "trackio": "trackio"}
TENSORBOARD_FOLDER, TRACKIO_FOLDER = "tensorboard", "trackio"  # in the run, in the home of this program
PROJECT = "proofbench"
FLUSH_SECONDS = 2.0


@dataclass(frozen=True)
class ReportedRun:
    """The run that is reported on. `config`: its options, as JSON has them."""

    id: str
    folder: Path
    home: Path
    config: Mapping[str, Any]


def check_reporter(kind: str) -> None:
    """Raises: UserError if the package that writes such reports is not installed. `none` needs nothing."""
    if kind in NAMES and importlib.util.find_spec(kind) is None:
        raise UserError(
            f"{NAMES[kind]} is not installed: pip install {kind}, or report to none.", param="report_to"
        )


class Reporter:
    """Takes what a run tells. A resumed run tells some steps again; they are not kept twice."""

    def __init__(self, kind: str, run: ReportedRun) -> None:
        """`kind` is one of config.REPORTS.

        Raises: UserError if the package is not installed, or the files cannot be written; so do the methods.
        """
        check_reporter(kind)
        self._kind = kind
        with self._told():
            self._sink = _sink(kind, run)

    def write(self, event: Event) -> None:
        """Keep the figures of an event; one without figures is left out."""
        with self._told():
            self._sink.write(event)

    def close(self) -> None:
        """All of it is on disk."""
        with self._told():
            self._sink.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"Cannot write the figures for {NAMES[self._kind]}: {error}.", param="report_to") from error


def figures(event: Event) -> dict[str, float]:
    """Name -> value of what an event measured; losses in nats, memory in bytes."""
    if isinstance(event, Validation):
        return {"validation/loss": event.loss}
    if not isinstance(event, Step):
        return {}
    return {
        "training/loss": event.loss, "training/learning_rate": event.learning_rate,
        "training/gradient_norm": event.gradient_norm, "training/epoch": event.epoch,
        "speed/tokens_per_second": event.n_tokens / event.seconds if event.seconds > 0 else 0.0,
        "speed/memory_bytes": float(event.memory_bytes),
    }


class _Sink(Protocol):
    def write(self, event: Event) -> None: ...

    def close(self) -> None: ...


def _sink(kind: str, run: ReportedRun) -> _Sink:
    if kind == "tensorboard":
        return _TensorBoard(run.folder / TENSORBOARD_FOLDER)
    return _Trackio(run) if kind == "trackio" else _Nowhere()


class _Nowhere:
    """What a run that reports to none writes into."""

    def write(self, event: Event) -> None:
        pass

    def close(self) -> None:
        pass


class _TensorBoard:
    """One event file a part of the run.

    Written record by record, without the thread of `SummaryWriter`, which a kill would lose two minutes of, and under a
    name without the machine's. Source: `EventFileWriter` and `SummaryWriter(purge_step=...)` of tensorboard and torch.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Record
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._is_resumed = any(folder.iterdir())
        self._record = Record
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        path = folder / f"events.out.tfevents.{seconds:010d}.{nanoseconds:09d}"  # read in the order of their names
        self._file: IO[bytes] = path.open("xb")
        self._writer = RecordWriter(self._file)
        self._put(file_version="brain.Event:2")

    def write(self, event: Event) -> None:
        found = figures(event)
        if not found:
            return
        assert isinstance(event, Step | Validation)
        if self._is_resumed:
            # Steps of the earlier part that were not saved are made again, and count as they are now.
            self._is_resumed = False
            self._put(step=event.step + isinstance(event, Validation), session_log={"status": "START"})
        values = [{"tag": name, "simple_value": value} for name, value in found.items()]
        self._put(step=event.step, summary={"value": values})

    def close(self) -> None:
        self._file.close()

    def _put(self, **fields: Any) -> None:
        self._writer.write(self._record(wall_time=time.time(), **fields).SerializeToString())
        self._file.flush()


class _Trackio:
    """A run of the project `proofbench` in trackio's storage, without trackio's own `init`.

    That would ask the Hugging Face hub who is logged in, watch the machine in a thread, and send everything to a Space,
    server or web hook that the environment names.
    """

    def __init__(self, run: ReportedRun) -> None:
        for name in [name for name in os.environ if name.startswith("TRACKIO_")]:
            del os.environ[name]
        os.environ["TRACKIO_DIR"] = str(run.home / TRACKIO_FOLDER)  # read once, when trackio is first imported
        os.environ["TRACKIO_STORAGE_MODE"] = "sqlite"
        from trackio.sqlite_storage import SQLiteStorage

        self._storage, self._run = SQLiteStorage, run
        self._waiting: list[tuple[str, int, dict[str, float]]] = []
        self._written = time.monotonic()

    def write(self, event: Event) -> None:
        found = figures(event)
        if found:
            assert isinstance(event, Step | Validation)
            self._waiting.append((f"{self._run.id}-{type(event).__name__}-{event.step}", event.step, found))
        if isinstance(event, Saved) or time.monotonic() - self._written > FLUSH_SECONDS:
            self._flush()

    def close(self) -> None:
        self._flush()

    def _flush(self) -> None:
        if self._waiting:
            names, steps, values = (list(column) for column in zip(*self._waiting, strict=True))
            # trackio keeps one line of each name: a step that was told before is not told twice.
            self._storage.bulk_log(
                PROJECT, self._run.id, values, steps=steps, log_ids=names, run_id=self._run.id,
                config=dict(self._run.config),
            )
        self._waiting, self._written = [], time.monotonic()
