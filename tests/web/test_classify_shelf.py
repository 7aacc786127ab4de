"""What the Classify tab keeps: each table once, each line of a log read once, as much as fits; how a live run does."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from llm_app.classify.table import Columns
from llm_app.config import Settings
from llm_app.data.table import Limits, Reading
from llm_app.errors import UserError
from llm_app.jobs.classify import Classification, Source, begin
from llm_app.jobs.classify_open import Asked, Opened
from llm_app.jobs.folder import EVENTS
from llm_app.jobs.store import RunStore
from llm_app.web.classify.desk import Desk, Laid
from llm_app.web.classify.live import ClassifyTally
from llm_app.web.classify.recent import Recent
from llm_app.web.classify.results_shelf import ResultShelf
from llm_app.web.classify.tables import Tables
from tests.classify.word_rule import WordRule

TABLE = "text,label\ngood,positive\nbad,negative\nrubbish,negative\nbad bad,positive\n"
COLUMNS, READING = Columns("text", truth="label"), Reading(separator=",")


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "reviews.csv"
    path.write_text(TABLE, encoding="utf-8")
    return Source(path, COLUMNS, READING)


@pytest.fixture
def run(source: Source, settings: Settings) -> Classification:
    return begin(Opened(WordRule(), source.read()), Asked("rule"), source, RunStore.of(settings))


def test_a_table_is_held_once_for_the_desk_and_for_all_runs_over_it(
    run: Classification, source: Source, settings: Settings
) -> None:
    tables = Tables()
    known = Desk(settings, tables).read(Laid(str(source.path), READING, COLUMNS))
    assert tables.of_run(run.folder) is known.rows and known.rows.table is known.table


def test_a_table_that_was_written_anew_is_read_anew(source: Source, settings: Settings) -> None:
    desk, laid = Desk(settings, Tables()), Laid(str(source.path), READING, COLUMNS)
    assert len(desk.read(laid).rows.items) == 4
    source.path.write_text(TABLE + "more,positive\n", encoding="utf-8")
    assert len(desk.read(laid).rows.items) == 5


class Late(type(Path())):  # type: ignore[misc]
    """A file that is written just after somebody has looked for it in vain."""

    n_looks = 0

    def stat(self, **options: Any) -> os.stat_result:
        self.n_looks += 1
        if self.n_looks == 1:
            raise FileNotFoundError(self)
        return super().stat(**options)


def test_a_file_that_was_missing_is_not_kept_as_what_another_missing_one_held(tmp_path: Path) -> None:
    tables, found = Tables(), []
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text(f"text\n{name}\n", encoding="utf-8")
        found.append(tables.table(Late(tmp_path / f"{name}.csv"), READING, Limits()).rows[0].cells["text"])
    assert found == ["one", "two"]


def test_what_was_asked_for_last_stays_as_far_as_it_fits() -> None:
    recent: Recent[str] = Recent(10, len)
    made: list[str] = []

    def make(word: str) -> str:
        return recent.get(word, lambda: made.append(word) or word)

    for word in ("four", "five", "four", "more"):
        make(word)
    assert made == ["four", "five", "more"]
    make("four")
    assert made == ["four", "five", "more"]
    make("a long one")  # nothing else fits beside it
    for word in ("a long one", "four"):
        make(word)
    assert made == ["four", "five", "more", "a long one", "four"]


def test_of_a_run_only_the_lines_that_are_new_are_read(run: Classification, settings: Settings) -> None:
    shelf, store, log = ResultShelf(Tables()), RunStore.of(settings), run.folder.path / EVENTS
    steps = run.run()
    next(steps)
    first = shelf.shown(run.folder)
    assert first is not None and first.n_done == 1
    n_bytes = log.stat().st_size
    list(steps)
    # What was read is not looked at again: here it is spoilt.
    whole = log.read_bytes()
    log.write_bytes(b"x" * (n_bytes - 1) + b"\n" + whole[n_bytes:])
    done = shelf.shown(run.folder)
    assert done is not None and done.n_done == 4 and first.n_done == 1
    assert shelf.shown(run.folder) is done
    with pytest.raises(UserError, match="Line 1"):
        ResultShelf(Tables()).results(store, run.folder)


def test_a_log_that_became_shorter_is_read_from_its_beginning(run: Classification) -> None:
    shelf, log = ResultShelf(Tables()), run.folder.path / EVENTS
    list(run.run())
    assert shelf.shown(run.folder).n_done == 4  # type: ignore[union-attr]
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    assert shelf.shown(run.folder).n_done == 2  # type: ignore[union-attr]


def test_how_a_live_run_does_is_told_by_its_log_without_the_table(run: Classification) -> None:
    tables = Tables()
    tally = ClassifyTally(run.folder, tables)
    list(run.run())
    (run.folder.path / "table.csv").unlink()
    events = run.folder.events()
    for event in [*events[:-1], *events[:2]]:  # a line that comes twice counts once
        tally.add(event)
    html = tally.body()
    assert "0.667" in html and "could not be classified: 1." in html, "two of three"
    details = tally.details()
    assert "Line 4" in details and "nothing to be counted" in details and "没有可数的词" in details


def test_the_last_rows_are_shown_while_it_goes_on_and_not_after(run: Classification) -> None:
    tally = ClassifyTally(run.folder, Tables())
    list(run.run())
    *rows, end = run.folder.events()
    for event in rows:
        tally.add(event)
    assert "bad bad" in tally.details()
    tally.add(json.loads(json.dumps(end)))
    assert "bad bad" not in tally.details()
