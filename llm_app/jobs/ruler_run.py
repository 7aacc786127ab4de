"""The ruler as a run: in line like all long work, stopped like it, and read from its folder at any time."""

import contextlib
import datetime
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

from eval.statistics import Interval
from llm_app.config import ModelConfig
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.jobs.ending import recorded_end
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.kept import plain, read_plain
from llm_app.jobs.ruler import Ask, Refused, Row, Working, measure
from llm_app.jobs.store import RunStore

KIND = "ruler"
PROGRESS_SECONDS = 1.0  # between lines that say how far it is


class RulerRun:
    """One model through several precisions. Iterate `run()`; close it to stop.

    The host's model makes room for it, and comes back at its end, however that is.
    """

    def __init__(self, folder: RunFolder, host: Host, config: ModelConfig, precisions: Sequence[str], ask: Ask) -> None:
        self.folder = folder
        self._host, self._config, self._precisions, self._ask = host, config, tuple(precisions), ask
        self._n_done = 0
        self._stopped: UserError | None = None

    @property
    def n_done(self) -> int:
        """Precisions that were measured, or cannot be."""
        return self._n_done

    @property
    def n_total(self) -> int:
        """Precisions in all."""
        return len(self._precisions)

    def scores(self) -> Mapping[str, Any]:
        """None: its rows stand in the folder."""
        return {}

    def stop(self, reason: UserError) -> None:
        """End it from another thread, within one pass of the model: `run` raises this."""
        self._stopped = reason

    def run(self) -> Generator[Working | Row | Refused]:
        """Measure; every row is on disk before it is given.

        Raises: UserError if the text is empty, the task cannot be asked, or another model was loaded meanwhile.
        """
        before = self._host.config if self._host.status().state == "ready" else None
        said = 0.0
        try:
            with self.folder, recorded_end(self), closing(
                measure(self._host, self._config, self._precisions, self._ask)
            ) as steps:
                for made in steps:
                    if self._stopped is not None:
                        raise self._stopped
                    if isinstance(made, Working):
                        if time.monotonic() - said >= PROGRESS_SECONDS:
                            said = time.monotonic()
                            self.folder.append([{"type": "working", "done": self._n_done, **asdict(made)}])
                    else:
                        self._n_done += 1
                        kind = "refused" if isinstance(made, Refused) else "row"
                        self.folder.append([{"type": kind, "done": self._n_done, **plain(asdict(made))}])
                    yield made
        finally:
            self._restore(before)

    def _restore(self, before: ModelConfig | None) -> None:
        """Load what answered before. Where that fails, the host says why to whoever asks it next."""
        if before is None:
            return
        with contextlib.suppress(UserError):
            for _ in self._host.load(before):
                pass


def start(
    host: Host, config: ModelConfig, precisions: Sequence[str], ask: Ask, store: RunStore
) -> RulerRun:
    """A new run, ready for the queue.

    Raises: UserError if it cannot be written.
    """
    created = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    spec = {
        "kind": KIND, "created": created, "asked": [],
        "model": {"name": config.model, "adapter_name": config.adapter, "precision": ", ".join(precisions)},
        "precisions": list(precisions), "task": ask.task, "limit": ask.limit, "max_tokens": ask.max_tokens,
    }
    return RulerRun(store.create(spec), host, config, precisions, ask)


def read(folder: RunFolder) -> tuple[list[Row], list[Refused], Working | None]:
    """Rows and refusals so far, and what is being done; None where nothing is under way.

    Raises: UserError if the run is damaged.
    """
    rows, refused, working = list[Row](), list[Refused](), None
    for event in folder.events():
        kind = event.pop("type", "")
        event.pop("done", None)
        if kind == "working":
            working = Working(**event)
            continue
        working = None
        if kind == "refused":
            refused.append(Refused(**event))
        elif kind == "row":
            values = read_plain(event)
            score = values.pop("score")
            rows.append(Row(**values, score=None if score is None else Interval(**score)))
    return rows, refused, working
