"""Training runs: what their folders and the list say of them, and where what they learned ends up."""

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from llm_app.cli import main
from llm_app.config import ModelConfig, ServeConfig, Settings
from llm_app.engine.catalog import find_adapter, list_adapters
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.repair import faults
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import RECIPE, config_of, resume_training
from llm_app.jobs.train_log import Begun, Discarded, Phase, Told, Written, line_of, read_log, told_of
from llm_app.services import Services
from llm_app.training.events import Note, Saved, Step, Validation
from tests.tuning import SMALL, examples, in_place, resumed, sha256, training


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return examples(tmp_path / "data.jsonl")


@pytest.mark.parametrize("told", [
    Step(3, 8, 1.5, float("inf"), 1e-4, 2.0, 100, 40, 0.5, 1 << 20),
    Validation(4, 2.5, 30, (("question", "wanted", "got"),)), Saved(4, is_best=True), Note(4, "loss_rises", "Rising."),
    Phase("model"), Begun({"weights": "ab"}, "cpu", "float32", 10, 2, {"train": "cd"}, 8, 3),
    Written("adapter", 4, True, "mine", "ab"), Discarded(),
])
def test_what_a_run_tells_is_read_back_from_its_line(told: Told) -> None:
    assert told_of(line_of(told)) == told


def test_the_list_says_what_is_trained_on_how_far_it_is_and_what_it_came_to(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    run = in_place(training(tiny_llama, data, settings), settings)
    list(run.run())
    shown, log = RunStore.of(settings).read(run.folder.id), read_log(run.folder)
    assert (shown.kind, shown.status, shown.model, shown.tasks) == ("train", "done", str(tiny_llama), ("data.jsonl",))
    assert (shown.n_done, shown.n_total) == (8, 8)
    assert log.best is not None
    assert shown.scores == {"training": ("loss", log.steps[-1].loss), "validation": ("loss", log.best.loss)}
    assert config_of(run.folder.spec()) == SMALL
    assert list(faults(RunStore.of(settings))) == []


def test_a_resumed_run_counts_each_step_once_and_says_that_it_was_resumed(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    run = in_place(training(tiny_llama, data, settings), settings)
    for event in (events := run.run()):
        if isinstance(event, Step) and event.step == 3:
            events.close()
    assert RunStore.of(settings).read(run.folder.id).status == "cancelled"
    list(resumed(run.folder, settings).run())
    log = read_log(run.folder)
    assert [step.step for step in log.steps] == list(range(1, 9))
    assert any(note.kind == "resumed" for note in log.notes)


def test_the_weights_of_the_lowest_validation_loss_are_written(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    wild = replace(SMALL, learning_rate=0.08, schedule="constant", warmup=0.0, max_steps=24, dropout=0.0)
    run = in_place(training(tiny_llama, data, settings, wild), settings)
    list(run.run())
    log = read_log(run.folder)
    assert log.best is not None and log.written is not None
    assert 0 < log.best.step < 24, "this must get worse before its end, to show anything"
    assert (log.written.step, log.written.is_best) == (log.best.step, True)
    # Oracle: a run that ends there. The rate is constant, so it makes the same steps.
    short = in_place(training(tiny_llama, data, settings, replace(wild, max_steps=log.best.step)), settings)
    list(short.run())
    assert sha256(run.folder.path / "adapter") == sha256(short.folder.path / "adapter")


def test_an_adapter_outlives_its_run_and_takes_no_name_that_is_taken(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    quick = replace(SMALL, max_steps=1)
    first = in_place(training(tiny_llama, data, settings, quick, name="mine"), settings)
    other = in_place(training(tiny_llama, data, settings, replace(quick, seed=1), name="mine"), settings)
    list(first.run())
    kept = sha256(find_adapter("mine", settings).path)
    with pytest.raises(UserError, match="There is a result called mine already"):
        training(tiny_llama, data, settings, quick, name="mine")
    list(other.run())  # it was there first when this one was made, but not when it ended
    assert sha256(find_adapter("mine", settings).path) == kept
    assert {entry.name for entry in list_adapters(settings)} == {"mine", f"adapter-{other.folder.id}"}
    RunStore.of(settings).delete(first.folder.id)
    assert sha256(find_adapter("mine", settings).path) == kept


@pytest.mark.parametrize(("arguments", "left"), [([], ["mine", "other"]), (["--with-results"], ["other"])])
def test_the_command_deletes_what_a_run_offers_only_where_that_is_asked_and_tells_it(
    arguments: list[str], left: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = offering(settings)
    monkeypatch.setenv("PROOFBENCH_HOME", str(settings.home))
    assert main(["runs", "delete", folder.id, *arguments]) == 0
    what = "deleted" if arguments else "kept"
    told = [f"deleted {folder.id}", f"{what} {settings.adapters / 'mine'}"]
    assert capsys.readouterr().out.splitlines() == (told[::-1] if arguments else told)
    assert sorted(path.name for path in settings.adapters.iterdir()) == left


def test_the_page_deletes_a_run_with_what_it_offers_and_nothing_else(settings: Settings) -> None:
    folder = offering(settings)
    services = Services(settings, ServeConfig(), Host(settings))
    shutil.copytree(settings.adapters / "mine", settings.adapters / "my copy")
    assert services.left_by(services.runs(), folder.id) == ["adapters/mine"]
    assert services.delete_run(services.runs(), folder.id) == ["adapters/mine"]
    assert sorted(path.name for path in settings.adapters.iterdir()) == ["my copy", "other"]


def test_a_run_whose_model_answers_is_not_deleted(settings: Settings, tiny_llama: Path) -> None:
    services = Services(settings, ServeConfig(), Host(settings))
    run = services.runs().create({"kind": "train"})
    shutil.copytree(tiny_llama, settings.models / "whole")
    (settings.models / "whole" / "proofbench.json").write_text(json.dumps({"run": run.id}))
    with run:
        run.append([line_of(Written("model", 1, is_best=True, name="whole"))])
    list(services.host.load(ModelConfig(model="whole", precision="fp32")))
    with pytest.raises(UserError, match="models/whole is the loaded model"):
        services.delete_run(services.runs(), run.id)
    services.host.unload()
    list(services.second.load(ModelConfig(model="whole", precision="fp32")))
    with pytest.raises(UserError, match="models/whole is in use by the second model of Compare"):
        services.delete_run(services.runs(), run.id)
    services.second.give_back()
    assert services.delete_run(services.runs(), run.id) == ["models/whole"]
    services.shutdown(0.0)


def test_what_cannot_be_removed_is_named_with_what_is_gone_and_the_run_stays(settings: Settings) -> None:
    folder, name = offering(settings), "w" * 250  # a file's name has 255 at most, and one that goes gets some more
    services = Services(settings, ServeConfig(), Host(settings))
    with folder:
        folder.append([line_of(Written("model", 1, is_best=True, name=name))])
    shutil.copytree(settings.adapters / "mine", settings.models / name)
    with pytest.raises(UserError, match="models/www.* Deleted before that: adapters/mine"):
        services.delete_run(services.runs(), folder.id)
    assert folder.id in services.runs().ids()


def test_a_run_of_an_earlier_recipe_is_not_resumed(tiny_llama: Path, data: Path, settings: Settings) -> None:
    run = training(tiny_llama, data, settings)
    spec = json.loads((run.folder.path / "spec.json").read_text())
    assert spec.pop("recipe") == RECIPE
    (run.folder.path / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(UserError, match="it differs in: recipe. Start a new run"):
        resume_training(run.folder, settings)


def offering(settings: Settings) -> RunFolder:
    """A run, and two adapters, the first of which is its own."""
    store = RunStore.of(settings)
    folders = [store.create({"kind": "train"}) for _ in range(2)]
    for name, folder in zip(("mine", "other"), folders, strict=True):
        (settings.adapters / name).mkdir(parents=True)
        (settings.adapters / name / "proofbench.json").write_text(json.dumps({"run": folder.id}))
        with folder:
            folder.append([line_of(Written("adapter", 1, is_best=True, name=name))])
    return folders[0]


def test_a_run_that_is_not_offered_stays_in_its_folder(tiny_llama: Path, data: Path, settings: Settings) -> None:
    run = in_place(training(tiny_llama, data, settings, replace(SMALL, max_steps=1), is_offered=False), settings)
    list(run.run())
    assert list_adapters(settings) == [] and (run.folder.path / "adapter").is_dir()


def test_full_training_leaves_a_model_among_the_models(tiny_llama: Path, data: Path, settings: Settings) -> None:
    from llm_app.engine.catalog import find_model

    config = replace(SMALL, method="full", max_steps=2, learning_rate=1e-4)
    run = in_place(training(tiny_llama, data, settings, config, name="whole"), settings)
    list(run.run())
    assert find_model("whole", settings).path == settings.models / "whole"


def test_another_kind_of_run_is_not_resumed_as_training(settings: Settings) -> None:
    folder = RunFolder.create(settings.home / "runs", {"kind": "benchmark"})
    with pytest.raises(UserError, match="is not a training run"):
        resume_training(folder, settings)


def test_doctor_finds_half_a_checkpoint_and_keeps_the_count_of_a_log_that_it_mends(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    run = in_place(training(tiny_llama, data, settings), settings)
    list(run.run())
    half = run.folder.path / "checkpoint" / ".new-step-00000009"
    shutil.copytree(run.folder.path / "checkpoint" / "step-00000008", half)
    os.utime(half, (time.time() - 3600,) * 2)
    with (run.folder.path / "events.jsonl").open("ab") as log:
        log.write(b"{torn\n")
    store = RunStore.of(settings)
    assert sorted(fault.problem for fault in faults(store, repair=True)) == ["1 unreadable line", "a temporary file"]
    assert not half.exists()
    shown = store.read(run.folder.id)
    assert (shown.n_done, shown.n_total) == (8, 8)
