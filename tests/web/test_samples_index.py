"""Samples read by their place in the files of a run."""

import tracemalloc
from pathlib import Path

import pytest

from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.jobs.compare import read_run
from llm_app.jobs.folder import EVENTS
from llm_app.jobs.store import RunStore
from llm_app.web.benchmark.samples_index import SampleIndex
from tests.web.made_results import choice_event, choice_run, text_run

RIGHTS = [True, False, True, True, False]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def test_samples_read_by_place_are_those_of_the_whole_run(store: RunStore, tmp_path: Path) -> None:
    folder = choice_run(store, RIGHTS)
    index = SampleIndex(folder).refresh()
    whole = read_run(str(folder.path), Settings(home=tmp_path)).tasks["quiz"].samples
    assert index.read("quiz", [4, 0, 2]) == [whole[4], whole[0], whole[2]]


def test_each_kind_has_its_samples_in_the_order_in_which_they_were_asked(store: RunStore) -> None:
    index = SampleIndex(choice_run(store, RIGHTS)).refresh()
    assert index.samples("quiz", "right") == [0, 2, 3] and index.samples("quiz", "wrong") == [1, 4]
    assert index.counts("quiz") == {"right": 3, "wrong": 2, "scored": 0, "unscored": 0, "answered": 5, "asked": 5}


def test_a_sample_with_an_error_is_not_scored_and_not_wrong(store: RunStore) -> None:
    index = SampleIndex(text_run(store, ["a", "b"], ["a", None])).refresh()
    assert index.samples("writing", "unscored") == [1] and index.samples("writing", "wrong") == []


def test_what_a_running_run_appends_is_there_after_the_next_look(store: RunStore) -> None:
    folder = choice_run(store, [True], n_asked=3, ends=False)
    index = SampleIndex(folder).refresh()
    assert index.samples("quiz") == [0]
    with folder:
        folder.append([choice_event(2, False)])
    assert index.refresh().samples("quiz") == [0, 2]
    assert index.read("quiz", [2])[0].scores == {"acc,none": 0.0}


def test_a_torn_last_line_is_no_sample_yet(store: RunStore) -> None:
    folder = choice_run(store, [True], n_asked=3, ends=False)
    with (folder.path / EVENTS).open("a") as file:
        file.write('{"type": "result", "task": "quiz", "sam')
    assert SampleIndex(folder).refresh().samples("quiz") == [0]


def test_the_first_answer_of_a_sample_counts(store: RunStore) -> None:
    folder = choice_run(store, [True], n_asked=1, ends=False)
    with folder:
        folder.append([choice_event(0, False)])
    assert SampleIndex(folder).refresh().samples("quiz", "right") == [0]


@pytest.mark.parametrize(("words", "found"), [("HAYSTACK", [1]), ("sesame", [0]), ("requests", []), ("digest", [])])
def test_search_reads_texts_in_capitals_or_not_and_no_names_of_fields(
    store: RunStore, words: str, found: list[int]
) -> None:
    index = SampleIndex(text_run(store, ["open", "a haystack"], ["Sesame", "no"])).refresh()
    assert index.matching("writing", index.samples("writing"), words) == found


def test_a_page_of_a_large_run_takes_the_memory_of_its_samples_only(store: RunStore) -> None:
    folder = choice_run(store, [True] * 4_000, prompt="{n}" + "word " * 400)
    assert (folder.path / "asked.jsonl").stat().st_size > 16e6
    index = SampleIndex(folder).refresh()
    tracemalloc.start()
    index.read("quiz", index.samples("quiz")[2_000:2_020])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_500_000


def test_a_run_that_was_deleted_meanwhile_is_said_in_a_sentence(store: RunStore) -> None:
    folder = choice_run(store, RIGHTS)
    index = SampleIndex(folder).refresh()
    store.delete(folder.id)
    with pytest.raises(UserError, match="deleted meanwhile"):
        index.read("quiz", [0])
