"""What a run leaves loads elsewhere: the adapter in plain peft, the whole model in transformers, both in our engine."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoTokenizer

from llm_app.config import ModelConfig, Settings
from llm_app.engine.adapters import Adapters
from llm_app.engine.identity import digest_files
from llm_app.engine.loading import LoadedModel, load
from llm_app.errors import UserError
from llm_app.training.adapter_folder import Tuned, write
from llm_app.training.config import TrainConfig
from llm_app.training.model_card import DatasetNote, Figures
from llm_app.training.trainer import Trainer
from tests import tiny
from tests.training.tiny_run import set_lora, tiny_config, tiny_trainer

PROMPT = torch.tensor([tiny.make_tokenizer().encode("hello world, how are you today?")])
FIGURES = Figures(
    datasets=(DatasetNote("orders | `odd`.jsonl", "ab" * 32, 40),), n_train=36, n_validation=4, n_steps=12,
    n_tokens=3456, n_trained_tokens=1234, seconds=5.0, loss_before=3.25, loss_after=1.75,
)  # fmt: skip


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(PROMPT).logits.clone()


def write_tuned(trainer: Trainer, folder: Path) -> Path:
    write(folder, Tuned(trainer.adapter_state(), trainer.learner.targets), trainer.base, trainer.config, FIGURES)
    return folder


def trained(base: Path, config: TrainConfig, home: Path) -> Trainer:
    """A trainer whose adapter changes something, without the time to train it."""
    trainer = tiny_trainer(base, config, home)
    set_lora(trainer)
    return trainer


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("tiny_llama", {}), ("tiny_llama", {"use_rslora": True}), ("tiny_qwen2", {"use_dora": True}),
        ("tiny_gpt2", {"use_dora": True}), ("tiny_gemma3", {"targets": ("q_proj", "down_proj")}),
    ],
    ids=["lora", "rslora", "dora with biases", "dora of conv1d", "two targets"],
)
def test_the_adapter_gives_plain_peft_and_our_engine_the_logits_of_training(
    family: str, options: dict[str, object], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base = request.getfixturevalue(family)
    trainer = trained(base, tiny_config(**options), tmp_path)
    trainer.learner.trains(False)
    expected = logits(trainer.base.model)
    folder = write_tuned(trainer, tmp_path / "adapter")
    in_peft = logits(PeftModel.from_pretrained(tiny.load_plain(base), folder))
    torch.testing.assert_close(in_peft, expected, rtol=0, atol=2e-4)
    assert not torch.allclose(expected, logits(tiny.load_plain(base)), atol=0.01)
    model = tiny.load_plain(base)
    adapters = Adapters(model, trainer.base.identity)
    assert adapters.attach(folder, name="a").notes == ()  # by the digest of the base's weights
    adapters.use("a")
    assert torch.equal(logits(model), in_peft)


def test_the_configuration_has_the_fields_that_peft_writes(tiny_llama: Path, tmp_path: Path) -> None:
    folder = write_tuned(trained(tiny_llama, tiny_config(use_rslora=True), tmp_path), tmp_path / "adapter")
    ours = json.loads((folder / "adapter_config.json").read_text())
    again = tmp_path / "again"
    PeftModel.from_pretrained(tiny.load_plain(tiny_llama), folder).save_pretrained(again)
    theirs = json.loads((again / "adapter_config.json").read_text())
    same = set(ours) & set(theirs) - {"target_modules", "base_model_name_or_path", "auto_mapping"}
    assert set(ours) == set(theirs)
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    assert ours["target_modules"] == sorted(theirs["target_modules"])


def test_equal_adapters_are_equal_files(tiny_llama: Path, tmp_path: Path) -> None:
    trainer = trained(tiny_llama, tiny_config(), tmp_path)
    one, two = write_tuned(trainer, tmp_path / "one"), write_tuned(trainer, tmp_path / "two")
    names = sorted(file.name for file in one.iterdir())
    assert names == ["README.md", "adapter_config.json", "adapter_model.safetensors", "proofbench.json"]
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_the_card_tells_data_figures_and_settings_whatever_the_files_are_called(
    tiny_llama: Path, tmp_path: Path
) -> None:
    folder = write_tuned(trained(tiny_llama, tiny_config(rank=4), tmp_path), tmp_path / "adapter")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "| `orders  odd.jsonl` | 40 | `" + "ab" * 32 + "` |" in card
    for text in ("3.2500", "1.7500", "| tokens trained on | 1,234 |", "| rank | 4 |", "36 examples", "see the base"):
        assert text in card
    note = json.loads((folder / "proofbench.json").read_text())
    assert note["base"]["weights"] == digest_files([tiny_llama / "model.safetensors"], Settings(home=tmp_path))


def test_a_later_result_of_the_run_takes_the_place_of_an_earlier_one(tiny_llama: Path, tmp_path: Path) -> None:
    trainer = trained(tiny_llama, tiny_config(), tmp_path)
    folder = write_tuned(trainer, tmp_path / "adapter")
    before = (folder / "adapter_model.safetensors").read_bytes()
    set_lora(trainer, seed=8)
    write_tuned(trainer, folder)
    assert (folder / "adapter_model.safetensors").read_bytes() != before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("family", ["tiny_qwen2", "tiny_llama"])
def test_after_training_all_weights_the_folder_is_a_model_for_transformers_and_for_us(
    family: str, request: pytest.FixtureRequest, settings: Settings, tmp_path: Path
) -> None:
    base = request.getfixturevalue(family)
    trainer = tiny_trainer(base, tiny_config(method="full", max_steps=1, learning_rate=1e-2), tmp_path)
    list(trainer.run())
    trainer.learner.trains(False)
    expected = logits(trainer.base.model)
    folder = write_tuned(trainer, settings.models / "tuned")
    assert not torch.allclose(expected, logits(tiny.load_plain(base)), atol=0.01)
    torch.testing.assert_close(logits(tiny.load_plain(folder)), expected, rtol=0, atol=1e-4)
    loaded = next(e for e in load(ModelConfig("tuned", precision="fp32"), settings) if isinstance(e, LoadedModel))
    torch.testing.assert_close(logits(loaded.model), expected, rtol=0, atol=1e-4)
    assert loaded.template is not None
    assert AutoTokenizer.from_pretrained(folder).chat_template == tiny.CHATML
    assert "training of all weights" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_full_disk_leaves_the_earlier_result(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trained(tiny_llama, tiny_config(), tmp_path)
    folder = write_tuned(trainer, tmp_path / "adapter")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llm_app.training.adapter_folder.save_file", full)
    trainer.config = replace(trainer.config, seed=5)
    with pytest.raises(UserError, match="No space left"):
        write_tuned(trainer, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
