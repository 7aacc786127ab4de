"""What visitors leave behind and never come back for."""

import os
import time
from pathlib import Path

from llm_app.config import Settings
from llm_app.jobs.store import RunStore
from llm_app.jobs.sweeping import VISITOR_SECONDS, sweep
from llm_app.web.benchmark.own_data_shelf import TaskShelf
from llm_app.web.tune.data_shelf import DataShelf


def left(folder: Path, hours_ago: float, n_bytes: int = 100) -> Path:
    folder.mkdir(parents=True)
    (folder / "data.jsonl").write_bytes(b"x" * n_bytes)
    for path in (folder, folder.parent):
        os.utime(path, (time.time() - hours_ago * 3_600,) * 2)
    return folder


def test_another_visitors_upload_sweeps_what_an_absent_one_left(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", is_public=True)
    old = left(DataShelf.of(settings, "gone").root / ("a" * 16), 7)
    new = left(DataShelf.of(settings, "still here").root / ("b" * 16), 5)
    upload = tmp_path / "mine.jsonl"
    upload.write_text('{"prompt": "a", "completion": "b"}\n')
    (mine,) = DataShelf.of(settings, "me").keep([upload])
    assert mine.is_file() and new.is_dir() and not old.parent.exists()


def test_of_more_than_all_visitors_may_keep_together_the_oldest_goes(tmp_path: Path) -> None:
    folders = [left(tmp_path / f"{n:032x}" / "data", n, n_bytes=100) for n in range(4)]
    sweep(tmp_path, seconds=36_000, n_bytes=250)
    assert [folder.is_dir() for folder in folders] == [True, True, False, False]


def test_nothing_is_swept_but_what_lies_in_a_visitors_folder(tmp_path: Path) -> None:
    folder = left(tmp_path / "photos" / "holidays", 100_000)
    sweep(tmp_path, seconds=0, n_bytes=0)
    assert folder.is_dir()


def test_a_visitor_who_uploads_task_data_sweeps_tasks_that_others_left_long_ago(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", is_public=True)
    old = left(TaskShelf.of(settings, "gone").root / "quiz", VISITOR_SECONDS / 3_600 + 1)
    new = left(TaskShelf.of(settings, "still here").root / "quiz", 5)
    upload = tmp_path / "mine.csv"
    upload.write_text("question,answer\na,b\n")
    TaskShelf.of(settings, "me").draft("mine.csv", upload)
    assert new.is_dir() and not old.exists()


def test_another_visitors_run_sweeps_the_runs_of_an_absent_one_but_none_under_way(tmp_path: Path) -> None:
    settings, days = Settings(home=tmp_path / "home", is_public=True), VISITOR_SECONDS / 3_600 + 1
    gone, busy, new = (RunStore.of(settings, name).create({"kind": "benchmark"}) for name in ("gone", "busy", "new"))
    with busy:
        for folder in (gone, busy):
            os.utime(folder.path, (time.time() - days * 3_600,) * 2)
        RunStore.of(settings, "me").create({"kind": "benchmark"})
    assert [folder.path.is_dir() for folder in (gone, busy, new)] == [False, True, True]


def test_a_run_that_waits_in_the_queue_is_not_swept(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", is_public=True)
    stores = [RunStore.of(settings, name) for name in ("gone", "waiting")]
    gone, waiting = (store.create({"kind": "benchmark"}) for store in stores)
    half = gone.path.with_name(".deleted-half")
    half.mkdir()
    for path in (gone.path, waiting.path, half):
        os.utime(path, (time.time() - VISITOR_SECONDS - 60,) * 2)
    RunStore.of(settings, "me", lambda run: run == waiting.id).create({"kind": "benchmark"})
    assert [path.is_dir() for path in (gone.path, waiting.path, half)] == [False, True, False]


def test_on_a_machine_of_ones_own_nothing_is_swept(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    old = left(DataShelf.of(settings, None).root / ("a" * 16), 10_000)
    upload = tmp_path / "mine.jsonl"
    upload.write_text("{}\n")
    DataShelf.of(settings, None).keep([upload])
    assert old.is_dir()
