"""The rows that tasks ask about, as texts: what training data must not hold."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eval.tasks.loading import load_definitions
from eval.tasks.own_file import data_file, is_task_file, read_task_file
from eval.tasks.own_rows import read_rows
from eval.tasks.suites import SUITES, expand


def shipped() -> list[str]:
    """Tasks of the suites whose data comes with the program."""
    return [entry.task for entry in expand([suite.name for suite in SUITES]) if is_task_file(entry.task)]


def rows_of(asked: Sequence[str], data: Path | None) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """(task, number of the sample, its texts) for tasks, groups, suites and task files, as they are asked.

    Of a task file, the number is that of the row in its data, which is the sample's unless bad rows are skipped.
    `data`: a folder laid out like the hub. No prompt is made, so this is quick.
    Raises: EvaluationError for an unknown name or missing data.
    """
    names = [entry.task for entry in expand(asked)]
    known = [name for name in names if not is_task_file(name)]
    # Nothing is asked here, so no program runs that a model wrote.
    definitions = load_definitions(known, data, allows_code=True) if known else {}
    for name in names:
        if is_task_file(name):
            yield from _own_rows(Path(name))
            continue
        for task in definitions[name]["tasks"].values():
            for number, doc in task.doc_iterator():
                yield str(task.task_name), number, tuple(_texts(doc))


def _own_rows(path: Path) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """The rows of a task file's data as they stand there: a prompt would make all of them alike."""
    file = read_task_file(path)
    for number, row in enumerate(read_rows(data_file(path, file.data))):
        yield file.name, number, tuple(_texts(dict(row.cells)))


def _texts(value: Any) -> Iterator[str]:
    """Every text in a row, whatever it is nested in."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
