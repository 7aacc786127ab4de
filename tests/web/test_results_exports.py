"""Files of a run: every form, under safe names, made only for whose run it is."""

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from llm_app.services import Services
from llm_app.web.benchmark.exports import FORMS, ExportHandlers, Turns
from llm_app.web.benchmark.results_cache import Shelf
from llm_app.web.handout import new_place
from tests.web.made_results import choice_run, text_run
from tests.web.test_results import asking, services_of, words


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return services_of(tmp_path / "home")


def made(services: Services, form: object, run: object, compared: object = (), visitor: str = "") -> tuple[Any, Any]:
    """(path of the file or None, what is said)."""
    save, said, preview = gr.DownloadButton(), gr.HTML(), gr.HTML()
    handlers = ExportHandlers(services, Shelf(services.settings), gr.Dropdown(), save, said, preview)
    *_, shown = handlers.make(asking(visitor), form, run, compared, Turns())
    return (Path(shown[save]["value"]) if save in shown else None), words(shown[said])


@pytest.mark.parametrize(("form", "holds"), [
    ("html-en", "<!doctype html>"), ("html-zh", "评测报告"), ("csv", "quiz,acc"), ("markdown", "| quiz | acc ↑ |"),
    ("json", '"task": "quiz"'), ("samples", "quiz,0,right"),
])  # fmt: skip
def test_each_form_is_a_file_named_by_the_run(services: Services, form: str, holds: str) -> None:
    run = choice_run(services.runs(), [True, False]).id
    path, said = made(services, form, run)
    assert path is not None and path.name == f"proofbench-{run}{FORMS[form].ending}"
    assert holds in path.read_text(encoding="utf-8") and "is ready" in said


def test_the_report_of_a_compared_run_begins_with_the_comparison(services: Services) -> None:
    base = choice_run(services.runs(), [True] * 5 + [False] * 5).id
    other = choice_run(services.runs(), [True] * 6 + [False] * 4, weights="v" * 64).id
    path, _ = made(services, "html-en", other, (base, other))
    assert path is not None and "Did it help?" in path.read_text(encoding="utf-8")


def test_the_harness_files_come_as_they_are_in_one_archive(services: Services) -> None:
    folder = choice_run(services.runs(), [True])
    (folder.path / "tiny").mkdir()
    (folder.path / "tiny" / "results_x.json").write_text("{}")
    path, _ = made(services, "harness", folder.id)
    assert path is not None
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["tiny/results_x.json"] and archive.read("tiny/results_x.json") == b"{}"


@pytest.mark.parametrize(("form", "reason"), [
    ("harness", "when a run has ended"), ("eval-results", "no results file yet"), ("model-index", "no results file yet")
])  # fmt: skip
def test_a_form_that_has_nothing_to_hold_says_why(services: Services, form: str, reason: str) -> None:
    path, said = made(services, form, choice_run(services.runs(), [True]).id)
    assert path is None and reason in said


@pytest.mark.parametrize("form", ["html-en", "html-zh", "csv", "markdown", "json", "samples"])
def test_a_public_page_tells_nobody_where_a_visitors_own_task_lies(tmp_path: Path, form: str) -> None:
    services, visitor = services_of(tmp_path / "home", is_public=True), "m" * 43
    path = tmp_path / "home" / "visitor-tasks" / "x" / "mine" / "mine.yaml"
    run = choice_run(services.runs(visitor), [True, False], asked=[str(path)]).id
    file, _ = made(services, form, run, visitor=visitor)
    assert file is not None and str(tmp_path / "home") not in file.read_text(encoding="utf-8")
    parts = gr.Dropdown(), gr.DownloadButton(), gr.HTML(), gr.HTML()
    handlers = ExportHandlers(services, Shelf(services.settings), *parts)
    assert "--tasks=mine" in handlers.choose(asking(visitor), run, Turns())[-1]


def test_two_exports_at_once_may_both_clear_away_what_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    root = tmp_path / "proofbench-exports"
    root.mkdir()
    (root / "gone").symlink_to(root / "nowhere")  # listed, and not there when it is looked at
    assert new_place("x.csv").parent.is_dir()


def test_B14_a_cell_that_would_be_a_formula_is_text(services: Services) -> None:
    path, _ = made(services, "samples", text_run(services.runs(), ["=1+1", "+x"], ["@cmd", "-2"]).id)
    assert path is not None
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert [(row["prompt"], row["answer"]) for row in rows] == [("'=1+1", "'@cmd"), ("'+x", "'-2")]


@pytest.mark.parametrize(("form", "run"), [
    ("pdf", "abcdefghijkl"), (None, "abcdefghijkl"), ({"path": "/etc/passwd"}, "abcdefghijkl"), ("csv", "/etc/passwd"),
    ("csv", "../../etc"), ("csv", {"path": "x"}), ("csv", ""), ("csv", "zzzzzzzzzzzz"),
])  # fmt: skip
def test_W6_B2_no_file_is_made_of_what_no_form_would_send(services: Services, form: object, run: object) -> None:
    path, said = made(services, form, run)
    assert path is None and "request" in said


def test_W9_no_file_is_made_of_the_run_of_another_visitor(tmp_path: Path) -> None:
    services = services_of(tmp_path / "public", is_public=True)
    run = choice_run(services.runs("o" * 43), [True]).id
    assert made(services, "csv", run, visitor="m" * 43)[0] is None


def test_files_of_before_do_not_pile_up(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    run = choice_run(services.runs(), [True]).id
    first, _ = made(services, "csv", run)
    monkeypatch.setattr("llm_app.web.handout.KEEP_SECONDS", -1)
    second, _ = made(services, "csv", run)
    assert first is not None and second is not None and second.is_file() and not first.exists()


def test_the_report_is_made_when_the_part_is_opened_and_a_form_that_was_chosen_stays(services: Services) -> None:
    run = choice_run(services.runs(), [True, False]).id
    form, save, said, preview = gr.Dropdown(), gr.DownloadButton(), gr.HTML(), gr.HTML()
    handlers = ExportHandlers(services, Shelf(services.settings), form, save, said, preview)
    seen = gr.EventData(None, {"language": "zh-CN", "is_seen": True})
    first, *_, last = handlers.begin(asking(), seen, None, run, (), Turns())
    assert first[form] == "html-zh" and "评测报告" in Path(last[save]["value"]).read_text(encoding="utf-8")
    for event, chosen in ((seen, "csv"), (gr.EventData(None, {"language": "zh-CN", "is_seen": False}), None)):
        (kept,) = handlers.begin(asking(), event, chosen, run, (), Turns())
        assert save not in kept and form not in kept


def test_the_form_chosen_last_stays_though_the_report_is_ready_after_it(services: Services) -> None:
    run = choice_run(services.runs(), [True, False]).id
    form, save, turns = gr.Dropdown(), gr.DownloadButton(), Turns()
    handlers = ExportHandlers(services, Shelf(services.settings), form, save, gr.HTML(), gr.HTML())
    slow = handlers.begin(asking(), gr.EventData(None, {"language": "en", "is_seen": True}), None, run, (), turns)
    shown = {**next(slow), **next(slow)}  # the report is being written
    for update in (*handlers.make(asking(), "csv", run, (), turns), *slow):
        shown |= update
    assert shown[form] == "csv" and shown[save]["value"].endswith(".csv")


def test_a_file_that_is_ready_when_another_run_is_shown_is_not_offered_with_it(services: Services) -> None:
    run, other = (choice_run(services.runs(), [True, False]).id for _ in range(2))
    save, turns = gr.DownloadButton(), Turns()
    handlers = ExportHandlers(services, Shelf(services.settings), gr.Dropdown(), save, gr.HTML(), gr.HTML())
    slow = handlers.make(asking(), "csv", run, (), turns)
    next(slow)
    handlers.choose(asking(), other, turns)
    assert all(save not in update for update in slow)  # whoever shows the other run sees no file of this one
