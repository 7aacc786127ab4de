"""Where each sample of a run stands in its files: a run of 100,000 samples is browsed without reading it into memory.

Both files are read through once, a line at a time; of each sample stay two places in the files and what became of it.
A run that is under way grows: what was appended since is read when it is asked for.
"""

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from eval.compare import Answered
from eval.report.samples import is_right
from eval.types import Result
from llm_app.errors import UserError
from llm_app.jobs.folder import EVENTS, RunFolder, read_event
from llm_app.jobs.kept import ASKED, asked_row, result_of

Kind = Literal["right", "wrong", "scored", "unscored"]
KINDS: tuple[Kind, ...] = ("right", "wrong", "scored", "unscored")
# The head of a line of ASKED; the rest of it may be a whole book.
_HEAD = re.compile(rb'\{"task": ("(?:[^"\\]|\\.)*"), "sample": (\d+)[,}]')


@dataclass
class _Task:
    """Places of one task's samples, in the order in which they are asked."""

    asked: dict[int, int] = field(default_factory=dict)
    answered: dict[int, int] = field(default_factory=dict)
    kinds: dict[int, Kind] = field(default_factory=dict)
    key: str | None = None  # the score that says right or wrong


class SampleIndex:
    """Samples of one run by task and number. For any thread."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        metrics = {name: task.get("metrics") or [] for name, task in folder.spec().get("tasks", {}).items()}
        self._metrics = {name: found[0]["name"] for name, found in metrics.items() if found}
        self._tasks: dict[str, _Task] = {}
        self._read_to = 0
        self._n_asked_bytes = -1

    def refresh(self) -> "SampleIndex":
        """Take in what was written since."""
        with self._lock:
            n_bytes = _size(self._folder.path / ASKED)
            if n_bytes != self._n_asked_bytes or _size(self._folder.path / EVENTS) < self._read_to:
                self._tasks, self._read_to, self._n_asked_bytes = {}, 0, n_bytes
                self._read_asked()
            self._read_answers()
        return self

    def tasks(self) -> list[str]:
        """Names of the tasks, in their order."""
        return list(self._tasks)

    def counts(self, task: str) -> Mapping[str, int]:
        """Samples of each kind; "answered" and "asked" count all."""
        found = self._tasks.get(task, _Task())
        kinds = list(found.kinds.values())
        return {kind: kinds.count(kind) for kind in KINDS} | {"answered": len(kinds), "asked": len(found.asked)}

    def samples(self, task: str, kind: str = "all") -> list[int]:
        """Numbers of the answered samples, in the order in which they are asked; of one kind, or of "all"."""
        found = self._tasks.get(task, _Task())
        return [n for n in found.asked if n in found.kinds and kind in ("all", found.kinds[n])]

    def kind(self, task: str, sample: int) -> Kind:
        """What became of an answered sample."""
        return self._tasks[task].kinds[sample]

    def read(self, task: str, samples: Sequence[int]) -> list[Answered]:
        """These samples, whole.

        Raises: UserError if the run was deleted or damaged meanwhile.
        """
        return list(self._read(task, samples))

    def each(self, task: str) -> Iterator[Answered]:
        """All answered samples of a task, one at a time.

        Raises: UserError if the run was deleted or damaged meanwhile.
        """
        return self._read(task, self.samples(task))

    def matching(self, task: str, samples: Sequence[int], words: str) -> list[int]:
        """Those of the samples in whose question, target or answer the words stand, in capitals or not."""
        wanted = words.casefold()
        if not wanted:
            return list(samples)
        return [sample.sample for sample in self._read(task, samples) if _holds(sample, wanted)]

    def _read(self, task: str, samples: Sequence[int]) -> Iterator[Answered]:
        found = self._tasks.get(task, _Task())
        try:
            with (self._folder.path / ASKED).open("rb") as asked, (self._folder.path / EVENTS).open("rb") as events:
                for number in samples:
                    row = asked_row(_line(asked, found.asked[number]))
                    result = result_of(json.loads(_line(events, found.answered[number])))
                    yield _answered(row, result)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(f"Run {self._folder.id} was changed or deleted meanwhile. Choose it again.") from error

    def _read_asked(self) -> None:
        for place, line in _lines(self._folder.path / ASKED, 0):
            head = _HEAD.match(line)
            if head is not None:
                self._tasks.setdefault(json.loads(head[1]), _Task()).asked[int(head[2])] = place

    def _read_answers(self) -> None:
        for place, line in _lines(self._folder.path / EVENTS, self._read_to):
            self._read_to = place + len(line)
            event = read_event(line)
            if event is None or event.get("type") != "result":
                continue
            task = self._tasks.get(event["task"])
            if task is None or event["sample"] in task.kinds:
                continue
            result = result_of(event)
            task.key = task.key or self._key(event["task"], result)
            task.answered[result.sample] = place
            task.kinds[result.sample] = _kind(result, task.key)

    def _key(self, task: str, result: Result) -> str | None:
        """The first metric that the task names, with its filter."""
        keys = list(result.scores)
        first = self._metrics.get(task)
        return next((key for key in keys if key.split(",")[0] == first), keys[0] if keys else None)


def _kind(result: Result, key: str | None) -> Kind:
    if result.error is not None:
        return "unscored"
    right = is_right(Answered(result.sample, "", {}, "", (), result.answers, result.scores), key)
    return "scored" if right is None else "right" if right else "wrong"


def _answered(row: Mapping[str, Any], result: Result) -> Answered:
    return Answered(
        result.sample, row["digest"], row["doc"], row["target"], tuple(row["requests"]), result.answers, result.scores,
        result.error,
    )


def _holds(sample: Answered, wanted: str) -> bool:
    texts = [part for request in sample.requests for part in request]
    texts += [sample.target, sample.error or "", *(answer for answer in sample.answers if isinstance(answer, str))]
    return any(wanted in text.casefold() for text in dict.fromkeys(texts))


def _lines(path: Path, start: int) -> Iterator[tuple[int, bytes]]:
    """(place, line) of whole lines; nothing where there is no file."""
    try:
        with path.open("rb") as file:
            place = file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # torn, or being written
                yield place, line
                place += len(line)
    except FileNotFoundError:
        return


def _line(file: Any, place: int) -> bytes:
    file.seek(place)
    line: bytes = file.readline()
    return line


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return -1
