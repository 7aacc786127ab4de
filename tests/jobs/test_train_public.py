"""What a public demo trains for a visitor, and what it leaves of a run, however that ends."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.errors import UserError
from llm_app.jobs import train_public
from llm_app.jobs.export_run import OUTPUT, start_export
from llm_app.jobs.quota import Quota
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import Training, resume_training
from llm_app.jobs.train_public import TimeUp, check_public_data, public_config
from llm_app.training.config import TrainConfig
from llm_app.training.events import Saved, Step
from llm_app.web.tune.data_desk import Desk
from tests.tuning import SMALL, examples, in_place, training

FEW = replace(SMALL, max_steps=30, validate_every=10, keep=1)


@pytest.fixture
def settings(tiny_llama: Path, tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "public", is_public=True)
    settings.models.mkdir(parents=True)
    shutil.copytree(tiny_llama, settings.models / "small")
    return settings


@pytest.fixture
def store(settings: Settings) -> RunStore:
    return RunStore.of(settings, "somebody")


def started(settings: Settings, store: RunStore, data: Path) -> Training:
    return training(Path("small"), data, settings, FEW, store=store)


@pytest.mark.parametrize(("change", "sentence"), [
    ({"max_steps": None}, "at most 50 steps"), ({"max_steps": 51}, "at most 50 steps"),
    ({"batch_size": 3, "accumulation": 8}, "at most 16 examples a step"),
    ({"max_length": 513}, "max_length is at most 512"), ({"rank": 17}, "rank is at most 16"),
    ({"keep": 2}, "keep is at most 1"), ({"validate_every": 9}, "validate_every is at least 10"),
    ({"save_every": 1}, "save_every is at least 10"), ({"method": "full"}, "LoRA adapters only"),
    ({"report_to": "trackio"}, "report_to none"),
])  # fmt: skip
def test_what_is_beyond_a_public_demo_is_refused_with_the_setting_and_the_limit(
    change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        public_config(replace(FEW, **change))
    assert caught.value.param in change


def test_a_public_form_begins_with_settings_that_are_taken() -> None:
    asked = TrainConfig(**train_public.DEFAULTS)
    assert public_config(asked) == asked


def test_what_is_left_to_the_program_is_within_the_limits() -> None:
    found = public_config(replace(FEW, max_length=None, validate_every=None))
    assert (found.max_length, found.validate_every) == (512, 10)


def test_examples_count_after_their_weights(tmp_path: Path) -> None:
    path = str(examples(tmp_path / "many.jsonl", 2_000))
    check_public_data([DatasetSpec(path, weight=2.5)], 0)
    for datasets, sentence in (
        ([DatasetSpec(path, weight=2.6)], "at most 5,000 examples after weights"),
        ([DatasetSpec(path), DatasetSpec(path, weight=2)], "at most 5,000 examples after weights"),
        ([DatasetSpec(path, weight=3.1)], "weight is at most 3"), ([DatasetSpec(path)] * 6, "at most 5 data sets"),
    ):
        with pytest.raises(UserError, match=sentence):
            check_public_data(datasets, 0)


def test_a_visitor_puts_no_more_data_sets_on_the_desk_than_are_trained_on(settings: Settings) -> None:
    specs = [DatasetSpec(f"{n}.jsonl") for n in range(6)]
    with pytest.raises(UserError, match="at most 5 data sets"):
        Desk(settings).check_number(specs)
    Desk(replace(settings, is_public=False)).check_number(specs)


def test_when_time_is_up_a_run_is_stopped_and_says_so(
    settings: Settings, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(settings, store, examples(tmp_path / "data.jsonl"))
    monkeypatch.setattr(train_public, "SECONDS", 0.0)
    with pytest.raises(TimeUp):
        list(run.run())
    assert "minutes, and these are over" in (store.read(run.folder.id).reason or "")


def test_a_run_that_was_stopped_leaves_its_adapter_and_nothing_to_go_on_with(
    settings: Settings, store: RunStore, tmp_path: Path
) -> None:
    run = in_place(started(settings, store, examples(tmp_path / "data.jsonl")), settings)
    with pytest.raises(TimeUp):
        for event in run.run():
            if isinstance(event, Step) and event.step == 3:
                run.stop(TimeUp("over"))
    assert (run.folder.path / "adapter").is_dir() and not (run.folder.path / "checkpoint").exists()
    with pytest.raises(UserError, match="nothing to go on with"):
        resume_training(run.folder, settings)


def test_a_cancelled_run_leaves_no_checkpoint(settings: Settings, store: RunStore, tmp_path: Path) -> None:
    run = in_place(started(settings, store, examples(tmp_path / "data.jsonl")), settings)
    events = run.run()
    assert any(isinstance(event, Saved) for event in events)
    assert (run.folder.path / "checkpoint").is_dir()
    events.close()
    assert not (run.folder.path / "checkpoint").exists()


def test_what_a_killed_program_left_goes_at_the_next_run_of_the_visitor(
    settings: Settings, store: RunStore, tmp_path: Path
) -> None:
    data = examples(tmp_path / "data.jsonl")
    left = started(settings, store, data).folder.path / "checkpoint" / "step-00000010"
    left.mkdir(parents=True)
    started(settings, store, data)
    assert not left.parent.exists()


def test_an_export_that_is_larger_than_what_is_left_to_the_visitor_is_refused(
    settings: Settings, store: RunStore, tmp_path: Path
) -> None:
    run = in_place(started(settings, store, examples(tmp_path / "data.jsonl")), settings)
    list(run.run())
    export = start_export(store, run.folder.id, "merged-fp32", settings)
    with (run.folder.path / "large").open("wb") as file:
        file.truncate(Quota().n_bytes - store.n_bytes() - 1_000)
    with pytest.raises(UserError, match=r"takes \d+ MB, and 0 MB are left of what you may keep here"):
        list(export.run())
    assert not list((export.folder.path / OUTPUT).glob("*"))
