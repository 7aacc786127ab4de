"""Adapters that are broken or belong elsewhere: refused in a sentence, and the base answers as before."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from llm_app.engine.adapters import Adapters
from llm_app.engine.identity import Identity
from llm_app.errors import ModelNotFound, ModelRejected
from tests import tiny

IDENTITY = Identity("ab" * 32, "", "", "", "")
PROMPT = torch.tensor([tiny.make_tokenizer().encode("hello world")])


@pytest.fixture
def base(tiny_llama: Path) -> PreTrainedModel:
    return tiny.load_plain(tiny_llama)


@pytest.fixture
def adapter(tiny_adapter: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))


def set_fields(adapter: Path, **fields: Any) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def change_weights(adapter: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def assert_refused(model: PreTrainedModel, adapter: Path, sentence: str) -> str:
    """The adapter is refused with words of `sentence`, and the base is what it was, to the bit."""
    with torch.inference_mode():
        before, modules = model(PROMPT).logits, list(model.named_modules())
        adapters = Adapters(model, IDENTITY)
        with pytest.raises(ModelRejected) as refusal:
            adapters.attach(adapter, name="wrong")
        assert torch.equal(model(PROMPT).logits, before)
    assert [name for name, _ in model.named_modules()] == [name for name, _ in modules]
    assert not any("lora" in name or module._forward_hooks for name, module in model.named_modules())
    assert adapters.names == ()
    assert sentence in refusal.value.message
    assert "\n" not in refusal.value.message and len(refusal.value.message) < 600
    return refusal.value.message


def test_L16_an_adapter_for_another_size_is_refused_with_both_bases(base: PreTrainedModel, tmp_path: Path) -> None:
    wider = tiny.make_model(tmp_path / "wider-llama", hidden=128)
    adapter = tiny.make_adapter(wider, tmp_path / "adapter")
    message = assert_refused(base, adapter, "takes 128 and gives 64 numbers, not 256 and 128")
    assert "wider-llama" in message
    assert "tiny-llama" in message
    assert "abababababab" in message


@pytest.mark.parametrize(
    ("n_layers", "why"), [(1, "has no weights for model.layers.1"), (3, "no module model.layers.2")]
)
def test_L16_an_adapter_for_another_depth_is_refused(
    n_layers: int, why: str, base: PreTrainedModel, tmp_path: Path
) -> None:
    other = tiny.make_model(tmp_path / "other", n_layers=n_layers)
    adapter = tiny.make_adapter(other, tmp_path / "adapter")
    set_fields(adapter, base_model_name_or_path="")
    assert_refused(base, adapter, why)


def test_L16_an_adapter_with_other_module_names_is_refused(
    base: PreTrainedModel, tiny_gpt2: Path, tmp_path: Path
) -> None:
    adapter = tiny.make_adapter(tiny_gpt2, tmp_path / "adapter")
    set_fields(adapter, base_model_name_or_path="")
    assert_refused(base, adapter, "there is no module transformer.h.0")


def test_L16_an_adapter_for_other_weights_of_equal_shape_is_refused_by_the_weights(
    base: PreTrainedModel, tmp_path: Path
) -> None:
    twin = tiny.make_model(tmp_path / "twin", seed=7)
    message = assert_refused(base, tiny.make_adapter(twin, tmp_path / "adapter"), "the weights differ")
    assert "twin" in message


def test_L16_a_copy_of_the_base_is_the_base(base: PreTrainedModel, tiny_llama: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(tiny_llama, tmp_path / "copied"))
    report = Adapters(base, IDENTITY).attach(tiny.make_adapter(copied, tmp_path / "adapter"), name="a")
    assert report.notes == ()


def test_T16_a_base_changed_since_training_is_refused_by_its_digest(base: PreTrainedModel, adapter: Path) -> None:
    note = {"base": {"name": "tiny-llama", "weights": "cd" * 32}}
    (adapter / "proofbench.json").write_text(json.dumps(note))
    message = assert_refused(base, adapter, "the weights differ")
    assert "cdcdcdcdcdcd" in message
    assert "abababababab" in message
    note["base"]["weights"] = IDENTITY.weights
    (adapter / "proofbench.json").write_text(json.dumps(note))
    assert Adapters(base, IDENTITY).attach(adapter, name="a").notes == ()


def test_L16_an_adapter_for_another_hub_model_is_refused_by_name(base: PreTrainedModel, adapter: Path) -> None:
    base.config.name_or_path = "/cache/models--Qwen--Qwen2.5-0.5B/snapshots/1234"
    for name in ("meta/Llama-3.2-1B", "Qwen/Qwen2.5-0.5B-Instruct"):
        set_fields(adapter, base_model_name_or_path=name)
        assert_refused(base, adapter, "the names differ")
    for name in ("Qwen/Qwen2.5-0.5B", "other/qwen2.5-0.5b-bnb-4bit"):
        set_fields(adapter, base_model_name_or_path=name)
        assert Adapters(base, IDENTITY).attach(adapter, name="a").notes == ()


def test_an_adapter_fits_the_gguf_file_of_its_base_by_name(base: PreTrainedModel, adapter: Path) -> None:
    base.config.name_or_path = "/models/SmolLM2-135M-Instruct.Q4_1.gguf"
    set_fields(adapter, base_model_name_or_path="HuggingFaceTB/SmolLM2-135M-Instruct")
    assert Adapters(base, IDENTITY).attach(adapter, name="a").notes == ()


def test_an_adapter_whose_base_cannot_be_compared_attaches_with_a_note(base: PreTrainedModel, adapter: Path) -> None:
    set_fields(adapter, base_model_name_or_path="someone/some-model")
    report = Adapters(base, IDENTITY).attach(adapter, name="a")
    assert "made for someone/some-model" in report.notes[0]


@pytest.mark.parametrize("rank", [0, -1, 10**9, "8", None, True, 2])
def test_L16_a_rank_that_cannot_be_is_refused(rank: object, base: PreTrainedModel, adapter: Path) -> None:
    set_fields(adapter, r=rank)
    assert_refused(base, adapter, "rank")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_L16_an_adapter_with_non_finite_weights_is_refused(value: float, base: PreTrainedModel, adapter: Path) -> None:
    change_weights(adapter, lambda tensors: next(iter(tensors.values())).view(-1)[3].fill_(value))
    assert_refused(base, adapter, "non-finite values")


@pytest.mark.parametrize("is_dora", [True, False])
def test_L16_magnitudes_that_do_not_fit_the_configuration_are_refused(
    is_dora: bool, base: PreTrainedModel, tiny_llama: Path, tmp_path: Path
) -> None:
    adapter = tiny.make_adapter(tiny_llama, tmp_path / "adapter", options={"use_dora": is_dora})
    set_fields(adapter, use_dora=not is_dora)
    assert_refused(base, adapter, f"says use_dora {not is_dora}")


def test_L16_a_magnitude_vector_of_another_length_is_refused(
    base: PreTrainedModel, tiny_llama: Path, tmp_path: Path
) -> None:
    adapter = tiny.make_adapter(tiny_llama, tmp_path / "adapter", options={"use_dora": True})

    def cut(tensors: dict[str, torch.Tensor]) -> None:
        name = next(name for name in tensors if name.endswith("lora_magnitude_vector"))
        tensors[name] = tensors[name][:-1].clone()

    change_weights(adapter, cut)
    assert_refused(base, adapter, "magnitude vector of shape")


@pytest.mark.parametrize("kind", ["IA3", "PROMPT_TUNING", "LOHA", "SHINY_NEW", None])
def test_L16_an_adapter_of_another_type_is_refused_by_name(kind: object, base: PreTrainedModel, adapter: Path) -> None:
    set_fields(adapter, peft_type=kind)
    assert_refused(base, adapter, repr(str(kind)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("modules_to_save", ["embed_tokens"]),
        ("bias", "all"),
        ("lora_bias", True),
        ("trainable_token_indices", [1, 2]),
        ("target_parameters", ["experts.gate_up_proj"]),
        ("layer_replication", [[0, 2]]),
        ("init_lora_weights", "pissa"),
        ("task_type", "SEQ_CLS"),
        ("lora_alpha", float("inf")),
    ],
)
def test_what_could_not_be_applied_faithfully_is_refused_not_ignored(
    field: str, value: object, base: PreTrainedModel, adapter: Path
) -> None:
    set_fields(adapter, **{field: value})
    assert_refused(base, adapter, field.removesuffix("_type").removeprefix("init_lora_weights") or "pissa")


def test_weights_besides_lora_are_refused(base: PreTrainedModel, adapter: Path) -> None:
    change_weights(adapter, lambda tensors: tensors.update({"base_model.model.lm_head.weight": torch.zeros(2, 2)}))
    assert_refused(base, adapter, "not a plain LoRA weight")


def test_half_a_pair_is_refused(base: PreTrainedModel, adapter: Path) -> None:
    change_weights(adapter, lambda tensors: tensors.pop(next(name for name in tensors if "lora_B" in name)))
    assert_refused(base, adapter, "only one of lora_A and lora_B")


def test_an_adapter_on_a_layer_that_is_not_linear_is_refused(base: PreTrainedModel, adapter: Path) -> None:
    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            tensors[name.replace("layers.0.self_attn.q_proj", "embed_tokens")] = tensors.pop(name)

    change_weights(adapter, rename)
    assert_refused(base, adapter, "model.embed_tokens is not a linear layer")


def test_cut_adapter_weights_are_refused_with_their_sizes(base: PreTrainedModel, adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert_refused(base, adapter, "adapter_model.safetensors is incomplete")


def test_a_broken_adapter_config_is_refused_with_the_place(base: PreTrainedModel, adapter: Path) -> None:
    (adapter / "adapter_config.json").write_text('{"r": 4,,}')
    assert_refused(base, adapter, "adapter_config.json is not valid JSON (line 1, column 9)")


def test_missing_files_are_named(base: PreTrainedModel, adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    assert_refused(base, adapter, "adapter_model.safetensors is missing")
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(ModelNotFound, match="adapter_config.json is missing"):
        Adapters(base, IDENTITY).attach(adapter, name="a")


def test_a_refused_adapter_leaves_the_active_one_in_place(
    base: PreTrainedModel, tiny_adapter: Path, adapter: Path
) -> None:
    adapters = Adapters(base, IDENTITY)
    adapters.attach(tiny_adapter, name="good")
    adapters.use("good")
    with torch.inference_mode():
        before = base(PROMPT).logits
        set_fields(adapter, r=0)
        with pytest.raises(ModelRejected):
            adapters.attach(adapter, name="good")
        assert torch.equal(base(PROMPT).logits, before)
    assert adapters.names == ("good",)
