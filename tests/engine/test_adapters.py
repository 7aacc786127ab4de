"""Adapters inside a loaded base give peft's numbers, and leave the base's alone."""

import copy
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from llm_app.config import ModelConfig, Settings
from llm_app.engine.adapters import Adapters
from llm_app.engine.identity import Identity
from llm_app.engine.loading import LoadedModel, load
from llm_app.engine.packed import PrepackedLinear, can_prepack
from llm_app.errors import ModelNotFound
from tests import tiny

IDENTITY = Identity("ab" * 32, "", "", "", "")
PROMPT = torch.tensor([tiny.make_tokenizer().encode("hello world, how are you today?")])


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(PROMPT).logits.clone()


def assert_equal_to_peft(model: PreTrainedModel, adapter: Path) -> None:
    """Oracle: peft's PeftModel around a copy of the same base."""
    expected = logits(PeftModel.from_pretrained(copy.deepcopy(model), adapter).eval())
    base = logits(model)
    adapters = Adapters(model, IDENTITY)
    assert adapters.attach(adapter, name="a").has_effect
    adapters.use("a")
    assert torch.equal(logits(model), expected)
    assert not torch.equal(base, expected)
    adapters.use(None)
    assert torch.equal(logits(model), base)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_logits_with_an_adapter_equal_those_of_peft(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    base = tiny.make_model(tmp_path / "base", family=family)
    adapter = tiny.make_adapter(base, tmp_path / "adapter")
    assert_equal_to_peft(tiny.load_plain(base).to(dtype), adapter)


@pytest.mark.parametrize(
    "options",
    [
        {"use_rslora": True},
        {"use_dora": True},
        {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"layers.1.self_attn.q_proj": 3}},
        {"layers_to_transform": [1]},
        {"target_modules": "all-linear"},
        {"task_type": None},
    ],
    ids=["rslora", "dora", "patterns", "one layer", "all-linear", "no task"],
)
def test_settings_of_an_adapter_mean_what_they_mean_to_peft(
    options: dict[str, Any], tiny_llama: Path, tmp_path: Path
) -> None:
    adapter = tiny.make_adapter(tiny_llama, tmp_path / "adapter", options=options)
    assert_equal_to_peft(tiny.load_plain(tiny_llama), adapter)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", ["qwen2", "gpt2"])
def test_dora_leaves_biases_alone_as_peft_does(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    base = tiny.make_model(tmp_path / "base", family=family)
    model = tiny.load_plain(base)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.5)
    model.save_pretrained(base)
    adapter = tiny.make_adapter(base, tmp_path / "adapter", options={"use_dora": True})
    assert_equal_to_peft(model.to(dtype), adapter)


@pytest.mark.parametrize("options", [{}, {"use_dora": True}], ids=["lora", "dora"])
@pytest.mark.skipif(not can_prepack(), reason="this CPU has no bfloat16 in oneDNN")
def test_an_adapter_works_on_prepacked_layers(options: dict[str, Any], tiny_llama: Path, tmp_path: Path) -> None:
    tiny_adapter = tiny.make_adapter(tiny_llama, tmp_path / "adapter", options=options)
    model = tiny.load_plain(tiny_llama).to(torch.bfloat16)
    packed = tiny.load_plain(tiny_llama).to(torch.bfloat16)
    for name, module in list(packed.named_modules()):
        if isinstance(module, torch.nn.Linear):
            packed.set_submodule(name, PrepackedLinear(module.weight))
    changes = []
    for variant in (model, packed):
        adapters = Adapters(variant, IDENTITY)
        base = logits(variant)
        adapters.attach(tiny_adapter, name="a")
        adapters.use("a")
        changes.append((logits(variant) - base).float())
        adapters.use(None)
        assert torch.equal(logits(variant), base)
    torch.testing.assert_close(changes[1], changes[0], atol=0.1, rtol=0.1)


def load_quantised(folder: Path, precision: str) -> PreTrainedModel:
    how = BitsAndBytesConfig(
        load_in_8bit=precision == "int8", load_in_4bit=precision == "nf4", bnb_4bit_quant_type="nf4"
    )
    return AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=how, dtype=torch.bfloat16, device_map="cpu"
    ).eval()


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_dora_on_bitsandbytes_layers_is_dora_on_their_dense_weights(
    precision: str, tiny_llama: Path, tmp_path: Path
) -> None:
    """Oracle: peft on the dequantised model; on layers that have run in 4 bits on a CPU it reads repacked blocks."""
    adapter = tiny.make_adapter(tiny_llama, tmp_path / "adapter", options={"use_dora": True})
    other = tiny.make_adapter(tiny_llama, tmp_path / "other", seed=1)
    dense = load_quantised(tiny_llama, precision).dequantize().to(torch.bfloat16)
    expected = -logits(dense).float()
    expected += logits(PeftModel.from_pretrained(dense, adapter).eval()).float()
    model = load_quantised(tiny_llama, precision)
    base = logits(model)
    adapters = Adapters(model, IDENTITY)
    adapters.attach(other, name="other")
    adapters.use("other")  # its part must not count as the base's
    adapters.attach(adapter, name="a")
    adapters.use("a")
    change = (logits(model) - base).float()
    assert (change - expected).norm() < 0.1 * expected.norm()
    adapters.use(None)
    assert torch.equal(logits(model), base)


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_an_adapter_works_on_bitsandbytes_layers(precision: str, tiny_llama: Path, tiny_adapter: Path) -> None:
    def load() -> PreTrainedModel:
        return load_quantised(tiny_llama, precision)

    model = load()
    base = logits(model)
    adapters = Adapters(model, IDENTITY)
    adapters.attach(tiny_adapter, name="a")
    adapters.use("a")
    change = (logits(model) - base).float()
    adapters.use(None)
    assert torch.equal(logits(model), base)
    # A model of its own for peft: wrapping layers that have run in 4 bits on a CPU changes what they give.
    expected = (logits(PeftModel.from_pretrained(load(), tiny_adapter).eval()) - base).float()
    assert (change - expected).norm() < 0.05 * expected.norm()


def test_dora_on_packed_blocks_is_dora_on_the_dense_weights(
    tiny_llama: Path, settings: Settings, tmp_path: Path
) -> None:
    adapter = tiny.make_adapter(tiny_llama, tmp_path / "adapter", options={"use_dora": True})
    tiny.make_gguf(tiny_llama, settings.models / "tiny.gguf", kind="Q4_0")
    changes = []
    for precision in ("gguf", "fp32"):
        config = ModelConfig("tiny.gguf", precision=precision)
        loaded = next(event for event in load(config, settings) if isinstance(event, LoadedModel))
        base = logits(loaded.model)
        loaded.adapters.attach(adapter, name="a")
        loaded.adapters.use("a")
        changes.append((logits(loaded.model) - base).float())
    assert (changes[0] - changes[1]).norm() < 0.05 * changes[1].norm()


def test_two_adapters_switch_without_mixing(tiny_llama: Path, tmp_path: Path) -> None:
    model = tiny.load_plain(tiny_llama)
    adapters = Adapters(model, IDENTITY)
    alone = {None: logits(model)}
    for seed, name in enumerate(("a", "b")):
        path = tiny.make_adapter(tiny_llama, tmp_path / name, seed=seed)
        adapters.attach(path, name=name)
        alone[name] = logits(PeftModel.from_pretrained(tiny.load_plain(tiny_llama), path).eval())
    assert adapters.names == ("a", "b")
    for name in ("a", "b", None, "b", "a", "a", None):
        adapters.use(name)
        assert torch.equal(logits(model), alone[name])


def test_detaching_the_active_adapter_gives_the_base_back(tiny_llama: Path, tiny_adapter: Path) -> None:
    model = tiny.load_plain(tiny_llama)
    before, names = logits(model), [name for name, _ in model.named_modules()]
    adapters = Adapters(model, IDENTITY)
    adapters.attach(tiny_adapter, name="a")
    adapters.use("a")
    assert not torch.equal(logits(model), before)
    adapters.detach("a")
    assert torch.equal(logits(model), before)
    assert [name for name, _ in model.named_modules()] == names
    assert not any(module._forward_hooks for module in model.modules())
    assert adapters.names == ()
    with pytest.raises(ModelNotFound, match="No adapter a is attached"):
        adapters.use("a")
    with pytest.raises(ModelNotFound):
        adapters.detach("a")


def test_attaching_again_under_the_same_name_replaces_the_adapter(tiny_llama: Path, tmp_path: Path) -> None:
    model = tiny.load_plain(tiny_llama)
    adapters = Adapters(model, IDENTITY)
    adapters.attach(tiny.make_adapter(tiny_llama, tmp_path / "one", seed=1), name="a")
    adapters.use("a")
    old, old_digest = logits(model), adapters.digest("a")
    adapters.attach(tiny.make_adapter(tiny_llama, tmp_path / "two", seed=2), name="a")
    adapters.use("a")
    assert not torch.equal(logits(model), old)
    assert adapters.digest("a") != old_digest


def test_an_adapter_attached_in_inference_mode_is_made_of_normal_tensors(tiny_llama: Path, tiny_adapter: Path) -> None:
    model = tiny.load_plain(tiny_llama)
    adapters = Adapters(model, IDENTITY)
    with torch.inference_mode():
        adapters.attach(tiny_adapter, name="a")
    adapters.use("a")
    model(PROMPT).logits.sum().backward()  # fails on inference tensors


@pytest.mark.parametrize("how", ["lora_B is zero", "lora_alpha is zero", "dora as it starts"])
def test_an_adapter_without_effect_is_reported(how: str, tiny_llama: Path, tmp_path: Path) -> None:
    options = {"use_dora": how == "dora as it starts"}
    path = tiny.make_adapter(tiny_llama, tmp_path / "adapter", effect=how == "lora_alpha is zero", options=options)
    if how == "lora_alpha is zero":
        config = json.loads((path / "adapter_config.json").read_text())
        (path / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 0}))
    report = Adapters(tiny.load_plain(tiny_llama), IDENTITY).attach(path, name="a")
    assert not report.has_effect
    assert "this adapter has no effect" in report.notes


def test_the_digest_changes_with_weights_and_scaling_and_with_nothing_else(
    tiny_llama: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    adapters = Adapters(tiny.load_plain(tiny_llama), IDENTITY)
    copied = Path(shutil.copytree(tiny_adapter, tmp_path / "copied"))
    scaled = Path(shutil.copytree(tiny_adapter, tmp_path / "scaled"))
    config = json.loads((copied / "adapter_config.json").read_text())
    (copied / "adapter_config.json").write_text(json.dumps(config | {"lora_dropout": 0.5}))
    (scaled / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 3}))
    for name, path in {"given": tiny_adapter, "copied": copied, "scaled": scaled}.items():
        adapters.attach(path, name=name)
    assert adapters.digest("given") == adapters.digest("copied") != adapters.digest("scaled")
    assert adapters.digest(None) == ""


def test_using_the_active_adapter_again_costs_nothing(tiny_llama: Path, tiny_adapter: Path) -> None:
    adapters = Adapters(tiny.load_plain(tiny_llama), IDENTITY)
    adapters.attach(tiny_adapter, name="a")
    adapters.use("a")
    start = time.perf_counter()
    for _ in range(1000):
        adapters.use("a")
    assert time.perf_counter() - start < 0.01
