"""What goes wrong in training: rows T4, T6 to T11, T13, T15, T16. Kills stand in test_training_kills.py."""

import errno
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from llm_app.config import ModelConfig, Settings
from llm_app.engine.catalog import list_adapters
from llm_app.engine.host import Host
from llm_app.errors import Cancelled, ModelRejected, UserError
from llm_app.jobs.queue import Queue
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import NoRoom
from llm_app.jobs.train_log import Written, read_log
from llm_app.training.events import Note, Saved, Step
from tests import tiny
from tests.live import wait_for
from tests.tuning import SMALL, examples, in_place, resumed, sha256, training


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return examples(tmp_path / "data.jsonl")


def damage_all(run: Path) -> None:
    for file in run.rglob("state.safetensors"):
        file.write_bytes(file.read_bytes()[:-1] + b"?")


def test_T4_with_all_checkpoints_damaged_a_run_asks_and_makes_no_step(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    run = in_place(training(tiny_llama, data, settings), settings)
    for event in (events := run.run()):
        if isinstance(event, Step) and event.step == 5:
            events.close()
    damage_all(run.folder.path)
    n_steps = len(read_log(run.folder).steps)
    with pytest.raises(UserError, match="No valid checkpoint; start again?"):
        list(resumed(run.folder, settings).run())
    assert len(read_log(run.folder).steps) == n_steps
    assert RunStore.of(settings).read(run.folder.id).status == "failed"


def test_T6_a_loss_that_is_no_number_ends_the_run_and_leaves_the_last_good_weights(
    tmp_path: Path, data: Path, settings: Settings
) -> None:
    model = tiny.make_model(tmp_path / "model")
    poison(model, "ß")
    with data.open("a", encoding="utf-8") as file:
        file.write('{"prompt": "say ß", "completion": "no"}\n')
    config = replace(SMALL, batch_size=1, accumulation=1, save_every=1, validation=0.0, max_steps=40)
    run = in_place(training(model, data, settings, config), settings)
    with pytest.raises(UserError, match=r"NaN or infinite at step \d+, with learning rate"):
        list(run.run())
    log = read_log(run.folder)
    shown = RunStore.of(settings).read(run.folder.id)
    assert shown.status == "failed" and shown.reason is not None
    assert f"step {log.steps[-1].step + 1}" in shown.reason and "is kept" in shown.reason
    assert log.written is not None and log.written.step == log.steps[-1].step > 0
    kept = load_file(run.folder.path / "adapter" / "adapter_model.safetensors")
    assert all(tensor.isfinite().all() for tensor in kept.values())


def test_T6_a_validation_loss_that_is_no_number_leaves_the_last_good_weights_too(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    config = replace(
        SMALL, learning_rate=1.0, alpha=4096.0, schedule="constant", warmup=0.0, max_gradient_norm=0.0,
        weight_decay=10.0, dropout=0.0, validation=0.2, validate_every=1, max_steps=150,
    )  # fmt: skip
    run = in_place(training(tiny_llama, data, settings, config), settings)
    with pytest.raises(UserError, match=r"held-back .* after step \d+, with learning rate 1\. .* is kept"):
        list(run.run())
    log = read_log(run.folder)
    assert log.written is not None and log.written.step == log.validations[-1].step > 0
    kept = load_file(run.folder.path / "adapter" / "adapter_model.safetensors")
    assert all(tensor.isfinite().all() for tensor in kept.values())


def test_checkpoints_are_written_where_no_held_back_example_has_anything_to_learn_from(
    tiny_llama: Path, tmp_path: Path, settings: Settings
) -> None:
    # Questions asked once are what fits in so small a share; their answers lie beyond the cut-off.
    rows = [{"prompt": "say", "completion": f"answer {i}"} for i in range(11)]
    rows += [{"prompt": f"{name} " + "quick brown fox " * 60, "completion": "no"} for name in ("one", "two")]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = in_place(training(tiny_llama, data, settings, replace(SMALL, validation=0.08)), settings)
    events = list(run.run())
    assert [event.step for event in events if isinstance(event, Saved)] == [2, 4, 6, 8]
    assert any(isinstance(event, Note) and "None of the 1 held-back" in event.text for event in events)


def poison(model: Path, character: str) -> None:
    """The embeddings of this character's tokens become so large that their squares are infinite."""
    ids = tiny.make_tokenizer()(character, add_special_tokens=False)["input_ids"]
    tensors = load_file(model / "model.safetensors")
    tensors["model.embed_tokens.weight"][ids] = 3e38
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})


def test_T7_a_stopped_run_ends_within_a_step_and_leaves_checkpoint_and_adapter(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    run = training(tiny_llama, data, settings, replace(SMALL, max_steps=1000, save_every=1000, validate_every=1000))
    n_after = 0
    with pytest.raises(Cancelled):
        for event in run.run():
            if isinstance(event, Step):
                n_after += run._stopped is not None
                if event.step == 5:
                    run.stop(Cancelled("Stopped."))
    log = read_log(run.folder)
    assert log.written is not None and log.written.name is not None
    assert log.written.step == log.steps[-1].step
    # Steps of a tiny model take milliseconds: some were told before the stop could be asked for.
    assert (run.folder.path / f"checkpoint/step-{log.steps[-1].step:08}/manifest.json").is_file()
    assert RunStore.of(settings).read(run.folder.id).status == "cancelled"
    host = Host(settings)
    for _ in host.load(ModelConfig(str(tiny_llama), adapter=log.written.name, precision="fp32")):
        pass
    host.shutdown(0.0)


def test_T7_a_discarded_run_leaves_neither_checkpoint_nor_adapter_and_does_not_go_on(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    run = training(tiny_llama, data, settings, replace(SMALL, max_steps=1000, save_every=1))
    with pytest.raises(Cancelled, match="thrown away"):
        for event in run.run():
            if isinstance(event, Step) and event.step == 3:
                run.discard()
    assert not (run.folder.path / "checkpoint").exists() and not (run.folder.path / "adapter").exists()
    assert list_adapters(settings) == []
    assert RunStore.of(settings).read(run.folder.id).status == "cancelled"
    with pytest.raises(UserError, match="was thrown away"):
        resumed(run.folder, settings)


ROWS = {
    "empty": ("", "empty"),
    "only blank lines": ("\n\n\n", "only blank lines"),
    "all rows bad": ('{"prompt": 1}\n{"prompt": 2}\n', "prompt|layout|no example"),
    "all too long": ('{"prompt": "%s", "completion": "no"}\n' % ("word " * 200) * 3, "All 3 examples are longer than"),
    "one row": ('{"prompt": "a", "completion": "b"}\n', "There is 1 example to train on; it takes at least 2"),
    "all masked": (
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]}\n' * 3,
        "None of the .* examples|no example",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "told"), ROWS.values(), ids=list(ROWS))
def test_T9_data_that_teaches_nothing_is_refused_before_the_first_step(
    tiny_llama: Path, tmp_path: Path, settings: Settings, content: str, told: str
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(content, encoding="utf-8")
    run = in_place(training(tiny_llama, data, settings), settings)
    with pytest.raises(UserError, match=told):
        list(run.run())
    assert read_log(run.folder).steps == []


@pytest.mark.parametrize(("name", "value"), [
    ("rank", 0), ("alpha", 0.0), ("learning_rate", 0.0), ("learning_rate", -1.0), ("learning_rate", math.nan),
    ("epochs", 0.0), ("epochs", 1e9), ("max_steps", 0), ("batch_size", 0), ("dropout", 1.0),
])
def test_T10_a_setting_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UserError) as caught:
        replace(SMALL, **{name: value})
    assert caught.value.param == name and name in caught.value.message


def test_T10_a_target_that_is_no_layer_is_refused_with_those_that_are(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    run = in_place(training(tiny_llama, data, settings, replace(SMALL, targets=("q_porj",))), settings)
    with pytest.raises(UserError, match="q_porj.*q_proj"):
        list(run.run())


def test_T11_of_two_trainings_the_second_waits_and_both_are_as_if_alone(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    alone = in_place(training(tiny_llama, data, settings), settings)
    list(alone.run())
    queue, runs = Queue(), [training(tiny_llama, data, settings) for _ in range(2)]
    try:
        for run in runs:
            queue.submit(run)
        wait_for(lambda: runs[0].n_done > 0, 120)
        assert [(job.state, job.position) for job in queue.jobs()] == [("running", 0), ("queued", 1)]
        assert all(queue.wait(run.folder.id, 120) for run in runs)
    finally:
        queue.close()
    # T15: nor does it matter in which process it runs.
    assert {sha256(run.folder.path / "adapter") for run in runs} == {sha256(alone.folder.path / "adapter")}
    assert read_log(runs[0].folder).steps[-1].loss == read_log(alone.folder).steps[-1].loss


def test_T13_a_public_demo_trains_few_steps_and_offers_the_result_to_nobody_else(
    tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "public", is_public=True)
    settings.models.mkdir(parents=True)
    shutil.copytree(tiny_llama, settings.models / "small")
    with pytest.raises(UserError, match="at most 50 steps"):
        training(Path("small"), data, settings, replace(SMALL, max_steps=51))
    with pytest.raises(UserError, match="LoRA"):
        training(Path("small"), data, settings, replace(SMALL, method="full", dropout=0.0))
    store = RunStore.of(settings, "somebody")
    few = replace(SMALL, max_steps=2, validate_every=None, keep=1)
    run = in_place(training(Path("small"), data, settings, few, store=store), settings)
    written = [event for event in run.run() if isinstance(event, Written)]
    assert [event.name for event in written] == [None] and (run.folder.path / "adapter").is_dir()
    assert not (run.folder.path / "checkpoint").exists()  # it would count against what a visitor may keep
    assert list_adapters(settings) == []


def test_T15_the_same_seed_gives_the_same_weights_and_another_seed_others(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    found = []
    for seed in (0, 0, 1):
        run = in_place(training(tiny_llama, data, settings, replace(SMALL, seed=seed)), settings)
        list(run.run())
        found.append(sha256(run.folder.path / "adapter"))
    assert found[0] == found[1] != found[2]


def test_T16_an_adapter_is_refused_by_a_base_that_is_not_the_one_it_was_trained_on(
    tiny_llama: Path, data: Path, settings: Settings, tmp_path: Path
) -> None:
    run = in_place(training(tiny_llama, data, settings, replace(SMALL, max_steps=1), name="mine"), settings)
    list(run.run())
    other = tiny.make_model(tmp_path / "other", seed=1)
    host = Host(settings)
    with pytest.raises(ModelRejected, match="the weights differ"):
        for _ in host.load(ModelConfig(str(other), adapter="mine", precision="fp32")):
            pass


def test_a_full_disk_pauses_the_run_with_the_reason_and_it_can_be_resumed(
    tiny_llama: Path, data: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = in_place(training(tiny_llama, data, settings), settings)
    list(whole.run())
    run = in_place(training(tiny_llama, data, settings), settings)
    real = os.fsync

    def is_full(file: int) -> None:
        if run.n_done >= 4 and "checkpoint" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", is_full)
    with pytest.raises(NoRoom, match="No space left on the disk for a checkpoint of .* The one of step 2 stays"):
        list(run.run())
    monkeypatch.setattr(os, "fsync", real)
    assert RunStore.of(settings).read(run.folder.id).status == "paused"
    list(resumed(run.folder, settings).run())
    assert sha256(run.folder.path / "adapter") == sha256(whole.folder.path / "adapter")


def test_a_run_whose_data_changed_does_not_go_on(tiny_llama: Path, data: Path, settings: Settings) -> None:
    run = training(tiny_llama, data, settings)
    examples(data, 13)
    with pytest.raises(UserError, match=r"differs in: data\.jsonl"):
        resumed(run.folder, settings)


def test_a_run_whose_model_changed_does_not_go_on(tmp_path: Path, data: Path, settings: Settings) -> None:
    model = tiny.make_model(tmp_path / "model")
    run = in_place(training(model, data, settings, replace(SMALL, max_steps=100)), settings)
    for event in (events := run.run()):
        if isinstance(event, Step):
            events.close()
    tiny.make_model(model, seed=1)
    with pytest.raises(UserError, match="differs in: model"):
        list(resumed(run.folder, settings).run())
