"""The Tune tab's handlers with a tiny model: data, plan, start, discard, and what is done afterwards."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest

from llm_app.config import ModelConfig
from llm_app.data.formats import COLUMNS
from llm_app.data.mix import DatasetSpec
from llm_app.jobs import export_run
from llm_app.jobs.train_log import read_log
from llm_app.services import Services
from llm_app.training.config import TrainConfig
from llm_app.web.benchmark.changes import KINDS, Changes
from llm_app.web.benchmark.results_cache import Shelf
from llm_app.web.benchmark.samples_controls import build_browser
from llm_app.web.tune.after_handlers import AfterHandlers
from llm_app.web.tune.after_handlers import Parts as AfterParts
from llm_app.web.tune.data_handlers import DataHandlers, Panel, Parts
from llm_app.web.tune.overlay import OverlayHandlers
from llm_app.web.tune.trainings import Trainings
from tests import tiny
from tests.live import wait_for
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
        gr.State(()), gr.File(), gr.Textbox(), gr.HTML(), gr.HTML(), gr.Radio(), gr.Column(), panel, gr.State(False)
    )


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
    assert nothing[made.chosen.fold]["open"] and nothing[made.chosen.columns["prompt"]]["visible"] is True
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


@pytest.fixture(scope="module")
def services(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    services = services_of(tmp_path_factory.mktemp("home"))
    for _ in services.host.load(ModelConfig(model=str(tiny_llama), precision="fp32")):
        pass
    yield services
    services.shutdown(0.0)


@pytest.fixture
def after(services: Services) -> tuple[AfterHandlers, AfterParts]:
    return after_of(services)


@pytest.fixture(scope="module")
def trained(services: Services, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two runs, of two ranks."""
    data = [DatasetSpec(str(a_file(tmp_path_factory.mktemp("data"))))]
    trainings = Trainings(services)
    made = []
    for rank, name in ((2, "first"), (4, "second")):
        config = TrainConfig(**{**vars(SHORT), "rank": rank})
        run_id = trainings.start(str(tiny_llama), data, config, name, services.runs())
        assert services.queue.wait(run_id, 240)
        assert services.runs().read(run_id).status == "done", services.runs().read(run_id).reason
        made.append(run_id)
    return made


def after_of(services: Services) -> tuple[AfterHandlers, AfterParts]:
    with gr.Blocks():
        browser = build_browser("helped", KINDS)
    made = AfterParts(
        gr.Column(), gr.Button(), gr.Button(), gr.Button(), gr.Button(), gr.Button(), gr.DownloadButton(), gr.HTML(),
        gr.HTML(), gr.HTML(), gr.Column(), gr.HTML(), gr.HTML(), gr.State(()), gr.State(""), browser,
    )  # fmt: skip
    return AfterHandlers(services, made, Changes(services, Shelf(services.settings), browser)), made


def test_the_adapter_is_put_into_the_loaded_base_and_the_chat_opens(
    services: Services, trained: list[str], after: tuple[AfterHandlers, AfterParts]
) -> None:
    handlers, made = after
    shown = handlers.chat(asking(), trained[0])
    assert services.host.adapter == "first" and shown[made.tab].endswith(" tab_chat")
    handlers.chat(asking(), trained[1])
    assert services.host.adapter == "second"


def test_the_adapter_can_be_downloaded_as_peft_has_it(
    trained: list[str], after: tuple[AfterHandlers, AfterParts]
) -> None:
    handlers, made = after
    shown = handlers.export(asking(), trained[0], "adapter", "")
    with zipfile.ZipFile(shown[made.save]["value"]) as archive:
        assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"} <= set(archive.namelist())


def test_a_merged_model_is_written_in_line_listed_and_offered_for_download(
    services: Services, trained: list[str], after: tuple[AfterHandlers, AfterParts]
) -> None:
    handlers, made = after
    handlers.export(asking(), trained[0], "merged-fp32", "")
    (job,) = [run for run in services.runs().page() if run.kind == export_run.KIND]
    assert services.queue.wait(job.id, 120)
    shown = handlers.look(asking(), trained[0], "")
    assert "first-fp32" in shown[made.exported], services.runs().read(job.id).reason
    assert (services.settings.models / "first-fp32" / "config.json").is_file()
    assert str(handlers.fetch(asking(), trained[0])[made.save]["value"]).endswith("first-fp32.zip")
    assert "already" in handlers.export(asking(), trained[0], "merged-fp32", "")[made.notice]


def test_two_runs_lie_over_each_other_with_the_settings_that_differ(services: Services, trained: list[str]) -> None:
    other, shown = gr.Dropdown(), gr.HTML()
    handlers = OverlayHandlers(services, other, shown)
    assert [value for _, value in handlers.offer(asking(), trained[1])[other]["choices"]] == [trained[0]]
    drawn = handlers.draw(asking(), *trained)[shown]
    assert re.search(r"Rank.*2.*4", words(drawn)) and "<svg" in drawn and "Dropout" not in drawn


@pytest.mark.parametrize("value", STRANGE)
def test_W6_nothing_is_done_with_a_run_that_is_none(after: tuple[AfterHandlers, AfterParts], value: object) -> None:
    handlers, made = after
    done = [
        handlers.chat(asking(), value), handlers.export(asking(), value, "adapter", ""),
        handlers.fetch(asking(), value), handlers.stop(asking(), value, ""), [*handlers.ask(asking(), value, "")][-1],
    ]  # fmt: skip
    assert all("request" in shown[made.notice] for shown in done)


@pytest.mark.parametrize("form", [None, 3, {}, "pickle", "../adapter"])
def test_W6_nothing_is_written_in_a_form_that_is_none(
    trained: list[str], after: tuple[AfterHandlers, AfterParts], form: object
) -> None:
    handlers, made = after
    assert "request" in handlers.export(asking(), trained[0], form, "")[made.notice]


def test_a_discarded_run_keeps_its_log_and_nothing_that_it_learned(
    services: Services, tiny_llama: Path, tmp_path: Path
) -> None:
    trainings, store = Trainings(services), services.runs()
    config = TrainConfig(**{**vars(SHORT), "max_steps": 100_000})
    run_id = trainings.start(str(tiny_llama), [DatasetSpec(str(a_file(tmp_path)))], config, None, store)
    wait_for(lambda: store.read(run_id).n_done > 0, 120)
    trainings.discard(run_id, store)
    assert services.queue.wait(run_id, 60)
    trainings.discard(run_id, store)  # W4: once more, after the end
    assert store.read(run_id).status == "cancelled" and read_log(store.open(run_id)).is_discarded
    assert not (store.root / run_id / "adapter").exists() and not list((store.root / run_id).glob("checkpoint/step-*"))


@pytest.mark.verify
def test_did_it_help_asks_base_and_adapter_and_shows_the_verdict_with_its_samples(tmp_path: Path) -> None:
    model = tiny.make_model(tmp_path / "models" / "wide", n_context=1024)
    services = services_of(tmp_path / "home")
    for _ in services.host.load(ModelConfig(model=str(model), precision="fp32")):
        pass
    run_id = Trainings(services).start(str(model), [DatasetSpec(str(a_file(tmp_path)))], SHORT, "it", services.runs())
    assert services.queue.wait(run_id, 240)
    handlers, made = after_of(services)
    *_, shown = handlers.ask(asking(), run_id, "")
    assert shown[made.notice] == "", words(shown[made.notice])
    (job,) = [run for run in services.runs().page() if run.kind == "helped"]
    assert services.queue.wait(job.id, 480)
    shown = handlers.look(asking(), run_id, "")
    assert "What it was trained for" in shown[made.verdict] and "What it may have forgotten" in shown[made.verdict]
    assert len(shown[made.compared]) == 2 and shown[made.browser.count]
    services.shutdown(0.0)
