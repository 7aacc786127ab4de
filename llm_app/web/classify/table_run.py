"""A run over a table, read on from where the last look ended: a finished one is read once."""

import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_app.classify.judged import Row, judge, judged_of, row_of
from llm_app.classify.table import LabelledTable
from llm_app.classify.types import Kind, Outcome
from llm_app.jobs.classify_log import outcome_of
from llm_app.jobs.folder import RunFolder, read_event
from llm_app.web.classify.answers import Answers
from llm_app.web.classify.classifiers import named
from llm_app.web.runs.follow import LogReader

ROW_BYTES, SCORE_BYTES = 500, 32  # of a row with its outcome, and of a probability in it; as CPython has them


def key_of(identity: Mapping[str, Any]) -> str:
    """What stays the same of a classifier, whatever else is run or deleted meanwhile."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


class TableRun:
    """What came of each row so far. For any thread."""

    def __init__(self, folder: RunFolder, table: LabelledTable) -> None:
        spec = folder.spec()
        about: dict[str, Any] = spec["classifier"]
        self._folder, self._table, self._log = folder, table, LogReader(folder)
        self._kind: Kind = about["kind"]
        self._labels = tuple(about["labels"])
        adapter = spec["model"].get("adapter_name")
        name = Path(spec["model"]["name"]).name + f" + {Path(adapter).name}" if adapter else spec["model"]["name"]
        self._name, self._identity = named(name, about["identity"]), about["identity"]
        self._n_learned = int(about.get("learned", 0))
        self._lock = threading.Lock()
        self._rows = self._unread()
        self._answers = self._answered()

    @property
    def n_bytes(self) -> int:
        """About what it takes when all rows are classified; the table is held for all runs over it."""
        return len(self._rows) * (ROW_BYTES + SCORE_BYTES * len(self._labels))

    def look(self) -> Answers:
        """What there is now. Raises: UserError naming the line of the log that is damaged."""
        with self._lock:
            is_new = False
            while True:
                lines, is_anew = self._log.read()
                if is_anew:
                    self._rows = self._unread()
                if not lines and not is_anew:
                    break
                is_new = True
                for line in lines:
                    self._take(line)
            if is_new:
                self._answers = self._answered()
            return self._answers

    def _take(self, line: bytes) -> None:
        event = read_event(line)
        if event is None:
            self._folder.events()  # says which line it is
            return
        outcome = outcome_of(event)
        # Of an item that was classified twice, the first outcome.
        if outcome is not None and self._rows[outcome.index].outcome is None:
            self._rows[outcome.index] = self._row(outcome)

    def _row(self, outcome: Outcome) -> Row:
        return row_of(self._kind, self._labels, self._table.truths[outcome.index], outcome)

    def _unread(self) -> list[Row]:
        return list(judge(self._kind, self._labels, self._table.truths, ()).rows)

    def _answered(self) -> Answers:
        return Answers(
            self._name, self._table, judged_of(self._kind, self._labels, self._rows),
            float(self._identity.get("temperature") or 1.0), key=key_of(self._identity), n_learned=self._n_learned,
        )  # fmt: skip
