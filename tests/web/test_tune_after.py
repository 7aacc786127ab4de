"""The Tune tab after training: chat, export, download, two runs laid over each other."""

import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from llm_app.config import ModelConfig
from llm_app.data.mix import DatasetSpec
from llm_app.jobs import export_run
from llm_app.jobs.train_log import Written, line_of, read_log
from llm_app.services import Services
from llm_app.training.config import TrainConfig
from llm_app.web.benchmark.changes import KINDS, Changes
from llm_app.web.benchmark.results_cache import Shelf
from llm_app.web.benchmark.samples_controls import build_browser
from llm_app.web.tune.after_handlers import AfterHandlers
from llm_app.web.tune.after_handlers import Parts as AfterParts
from llm_app.web.tune.overlay import OverlayHandlers
from llm_app.web.tune.trainings import Trainings
from tests import tiny
from tests.live import wait_for
from tests.web.test_results import asking, services_of, words
from tests.web.test_tune import STRANGE, a_file

SHORT = TrainConfig(max_steps=2, batch_size=2, accumulation=1, rank=2, validation=0.2, precision="fp32", device="cpu")


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
        gr.Column(), gr.Button(), gr.Button(), gr.Dropdown(), gr.Button(), gr.Button(), gr.Button(),
        gr.DownloadButton(), gr.HTML(), gr.HTML(), gr.HTML(), gr.Column(), gr.HTML(), gr.HTML(), gr.State(()),
        gr.State(""), browser,
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


def test_a_file_of_one_run_is_not_offered_beside_another(
    trained: list[str], after: tuple[AfterHandlers, AfterParts]
) -> None:
    handlers, made = after
    seen = handlers.look(asking(), trained[0], "")[made.seen]
    handlers.export(asking(), trained[0], "adapter", seen)
    assert made.save not in handlers.look(asking(), trained[0], seen)
    other = handlers.look(asking(), trained[1], seen)
    assert "gone" in other[made.save]["elem_classes"] and other[made.notice] == ""


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


def test_what_was_made_of_weights_that_a_resumed_training_replaced_is_not_shown(
    services: Services, trained: list[str], after: tuple[AfterHandlers, AfterParts]
) -> None:
    handlers, made = after
    store, folder = services.runs(), services.runs().open(trained[1])
    written = read_log(folder).written
    assert written is not None and written.digest
    spec = {"kind": export_run.KIND, "train": folder.id, "result": written.digest, "name": "made", "model": {}}
    with store.create(spec) as export:
        export.end("done")
    assert "made" in handlers.look(asking(), folder.id, "")[made.exported]
    with folder:
        folder.append([line_of(replace(written, digest="another")), {"type": "end", "status": "done"}])
    assert handlers.look(asking(), folder.id, "")[made.exported] == ""
    assert made.save not in handlers.fetch(asking(), folder.id)


def test_two_runs_lie_over_each_other_with_the_settings_that_differ(services: Services, trained: list[str]) -> None:
    other, shown = gr.Dropdown(), gr.HTML()
    handlers = OverlayHandlers(services, other, shown)
    assert [value for _, value in handlers.offer(asking(), trained[1])[other]["choices"]] == [trained[0]]
    drawn = handlers.draw(asking(), *trained)[shown]
    assert re.search(r"Rank.*2.*4", words(drawn)) and "<svg" in drawn and "Dropout" not in drawn


def test_a_public_page_offers_no_form_that_is_larger_than_what_a_visitor_may_keep_and_says_so(
    tmp_path: Path, tiny_llama: Path
) -> None:
    services, who = services_of(tmp_path / "home", is_public=True), "m" * 43
    shutil.copytree(tiny_llama, services.settings.models / "tiny")
    handlers, made = after_of(services)
    offered, said = {}, {}
    for model in ("embedded", "tiny"):
        with services.runs(who).create({"kind": "train", "model": {"name": model}}) as run:
            run.append([line_of(Written("adapter", 1, is_best=True))])
        shown = handlers.look(asking(who), run.id, "")
        offered[model] = [name for _, name in shown[made.form]["choices"]]
        said[model] = words(shown[made.exported])
        refused = words(handlers.export(asking(who), run.id, "merged-bf16", "")[made.notice])
        assert ("left of what you may keep here" in refused) == (model == "embedded"), refused
    assert offered == {"embedded": ["adapter"], "tiny": ["adapter", *export_run.FORMS]}
    assert "larger than the 50 MB" in said["embedded"] and said["tiny"] == ""
    services.shutdown(0.0)


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
