"""The Tune tab before training: data sets, their mapping, what is refused."""

import json
from pathlib import Path

import gradio as gr
import pytest

from llm_app.data.formats import COLUMNS
from llm_app.training.config import TrainConfig
from llm_app.web.tune.data_handlers import DataHandlers
from llm_app.web.tune.data_parts import Panel, Parts
from tests.web.test_results import asking, services_of, words

ROWS = [{"question": f"what is {n}?", "reply": f"it is {n + 1} and then {n + 2}"} for n in range(24)]
SHORT = TrainConfig(max_steps=2, batch_size=2, accumulation=1, rank=2, validation=0.2, precision="fp32", device="cpu")
STRANGE: list[object] = [None, True, 3, {}, ["x"], "../../etc/passwd", "9", -1, {"path": "/etc/passwd"}]


def a_file(folder: Path, name: str = "asked.jsonl", rows: list[dict[str, str]] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows or ROWS), encoding="utf-8")
    return path


def parts() -> Parts:
    columns = {name: gr.Dropdown() for name in COLUMNS}
    panel = Panel(
        gr.Column(), gr.HTML(), gr.Dropdown(), gr.Number(), gr.Dropdown(), gr.Accordion(), columns, gr.Textbox(),
        gr.Checkbox(), gr.HTML(), gr.HTML(), gr.Button(),
    )  # fmt: skip
    return Parts(
        gr.State(()), gr.File(), gr.Textbox(), gr.HTML(), gr.HTML(), gr.Radio(), gr.Column(), panel, gr.State(False),
        gr.Button(), gr.Button(), gr.HTML(),
    )  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> tuple[DataHandlers, Parts]:
    made = parts()
    return DataHandlers(services_of(tmp_path / "home"), made), made


def form(layout: object = "prompt_completion", weight: object = 1.0, encoding: object = "auto", split_at: object = "",
         is_chat: object = True, **columns: object) -> list[object]:  # fmt: skip
    return [layout, weight, encoding, split_at, is_chat, *(columns.get(name, "") for name in COLUMNS)]


def test_the_example_data_is_one_click_away_and_is_not_put_there_twice(desk: tuple[DataHandlers, Parts]) -> None:
    handlers, made = desk
    data = handlers.example(())[made.data]
    assert len(data) == 1 and len(handlers.example(data)[made.data]) == 1
    shown = handlers.example(())
    assert "calendar.jsonl" in shown[made.rows] and "Messages with roles" in shown[made.chosen.about]


def test_an_upload_is_kept_by_its_content_and_its_layout_found(
    desk: tuple[DataHandlers, Parts], tmp_path: Path
) -> None:
    handlers, made = desk
    paths = []
    for folder in ("one", "two"):  # gradio hands out a folder for each
        shown = handlers.upload(asking(), (), [str(a_file(tmp_path / folder))])
        paths.append(shown[made.data][0].path)
        assert not (tmp_path / folder / "asked.jsonl").exists(), "gradio's copy is removed"
    assert paths[0] == paths[1]
    assert "Prompt and completion" in shown[made.rows] and "24 examples" in words(shown[made.rows])


def test_rows_that_become_no_example_are_listed_with_line_and_reason(
    desk: tuple[DataHandlers, Parts], tmp_path: Path
) -> None:
    handlers, made = desk
    path = a_file(tmp_path, rows=[*ROWS[:3], {"question": "<b>?", "reply": ""}])
    shown = handlers.take((), str(path))
    assert "1 bad rows" in words(shown[made.rows])
    assert "Line 4:" in shown[made.chosen.bad]


def test_a_wrong_mapping_is_refused_in_one_sentence_and_a_right_one_changes_the_examples(
    desk: tuple[DataHandlers, Parts], tmp_path: Path
) -> None:
    handlers, made = desk
    data = handlers.take((), str(a_file(tmp_path)))[made.data]
    assert data[0].mapping is None
    changed = handlers.change(data, "0", *form("text", text="reply"))
    assert changed[made.data][0].mapping.text == "reply" and "Plain text" in changed[made.rows]
    swapped = handlers.change(data, "0", *form(prompt="reply", response="question", weight=2))
    assert swapped[made.data][0].mapping.prompt == "reply" and swapped[made.data][0].weight == 2
    nothing = handlers.change(data, "0", *form("alpaca"))
    assert "say which column" in nothing[made.chosen.about] and nothing[made.chosen.layout] == "alpaca"
    assert nothing[made.chosen.fold]["open"] and "gone" not in nothing[made.chosen.columns["prompt"]]["elem_classes"]
    assert isinstance(hash(nothing[made.data]), int), "gradio hashes what a State holds"
    mended = handlers.change(nothing[made.data], "0", *form(prompt="question", response="reply"))
    assert mended[made.data] == data


@pytest.mark.parametrize("wrong", [
    {"layout": "pickle"}, {"layout": 3}, {"weight": "2"}, {"weight": True}, {"weight": float("nan")}, {"weight": 0},
    {"encoding": "rot13"}, {"encoding": None}, {"is_chat": "yes"}, {"split_at": {}}, {"prompt": ["a"]}, {"prompt": 5},
    {"prompt": "no such column"},
])  # fmt: skip
def test_W6_a_value_that_no_form_of_ours_sends_changes_nothing(
    desk: tuple[DataHandlers, Parts], tmp_path: Path, wrong: dict[str, object]
) -> None:
    handlers, made = desk
    data = handlers.take((), str(a_file(tmp_path)))[made.data]
    shown = handlers.change(data, "0", *form(**({"prompt": "question", "response": "reply"} | wrong)))
    said = shown[made.notice] + str(shown.get(made.chosen.about, ""))
    assert "request" in said and "Traceback" not in said


@pytest.mark.parametrize("value", STRANGE)
def test_W6_no_place_and_no_file_of_a_strange_kind_is_taken(desk: tuple[DataHandlers, Parts], value: object) -> None:
    handlers, made = desk
    data = handlers.example(())[made.data]
    for shown in (handlers.pick(data, value), handlers.remove(data, value), handlers.upload(asking(), data, value)):
        assert "request" in shown[made.notice] and made.data not in shown


@pytest.mark.parametrize("path", [
    None, 3, {}, "", "x" * 2_000, "/no/such/file.jsonl", "~nobody/at/all.jsonl", "/dev/zero",
])  # fmt: skip
def test_a_path_that_leads_to_no_data_is_one_sentence(desk: tuple[DataHandlers, Parts], path: object) -> None:
    handlers, made = desk
    assert "request" in handlers.take((), path)[made.notice]


def test_a_public_page_takes_no_paths(tmp_path: Path) -> None:
    made = parts()
    handlers = DataHandlers(services_of(tmp_path / "home", is_public=True), made)
    shown = handlers.take((), str(a_file(tmp_path)))
    assert made.data not in shown and "public" in shown[made.notice]


def test_W9_uploads_of_two_visitors_lie_apart(tmp_path: Path) -> None:
    made = parts()
    handlers = DataHandlers(services_of(tmp_path / "home", is_public=True), made)
    paths = [
        Path(handlers.upload(asking(who * 43), (), [str(a_file(tmp_path / who))])[made.data][0].path) for who in "ab"
    ]
    assert paths[0].parent.parent != paths[1].parent.parent


def test_a_dataset_info_brings_the_files_it_describes(desk: tuple[DataHandlers, Parts], tmp_path: Path) -> None:
    handlers, made = desk
    info = {"mine": {"file_name": "asked.jsonl", "columns": {"prompt": "question", "response": "reply"}}}
    upload = a_file(tmp_path)
    (tmp_path / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    shown = handlers.upload(asking(), (), [str(upload), str(tmp_path / "dataset_info.json")])
    assert shown[made.data][0].name == "mine" and shown[made.data][0].mapping.layout == "alpaca"
