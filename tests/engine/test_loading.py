"""Folders and the embedded model in every precision, against transformers' own loading."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from llm_app.config import ModelConfig, Settings
from llm_app.engine import compact
from llm_app.engine.forward import ATTENTION
from llm_app.engine.identity import digest_file, digest_files
from llm_app.engine.loading import LoadedModel
from llm_app.engine.packed import PrepackedLinear, can_prepack
from llm_app.engine.placing import is_quantised
from llm_app.errors import UserError
from llm_app.messages import Message
from tests import tiny
from tests.loads import load_model

IDS = torch.arange(40).reshape(1, 40) * 7 % 400


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits.float()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_fp32_logits_of_a_folder_equal_those_of_transformers(
    family: str, settings: Settings, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(f"tiny_{family}")
    loaded = load_model(ModelConfig(str(folder), precision="fp32"), settings)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    torch.testing.assert_close(logits(loaded.model), logits(plain))  # oneDNN and MKL add up in different orders
    assert loaded.model.config._attn_implementation == ATTENTION
    assert loaded.n_context == 512 and loaded.template is not None and loaded.is_batchable


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_bf16_logits_differ_from_those_of_transformers_by_rounding_only(
    family: str, settings: Settings, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(f"tiny_{family}")
    ours = logits(load_model(ModelConfig(str(folder), precision="bf16"), settings).model)
    exact = logits(tiny.load_plain(folder))
    theirs = logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16))
    assert (ours - exact).abs().max() < 2 * (theirs - exact).abs().max()


@pytest.mark.parametrize("precision", ["int8", "nf4", "fp4"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_quantised_logits_are_as_near_the_exact_ones_as_those_of_transformers(
    family: str, precision: str, settings: Settings, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(f"tiny_{family}")
    ours = load_model(ModelConfig(str(folder), precision=precision), settings)
    assert ours.precision == precision and is_quantised(ours.model)
    setting = BitsAndBytesConfig(load_in_8bit=True) if precision == "int8" else BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=precision, bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, quantization_config=setting)
    exact = logits(tiny.load_plain(folder))
    assert (logits(ours.model) - exact).abs().mean() < 1.2 * (logits(theirs) - exact).abs().mean()


def test_weights_that_are_stored_quantised_stay_so(tiny_llama: Path, settings: Settings) -> None:
    setting = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.bfloat16, quantization_config=setting)
    folder = settings.models / "stored"
    model.save_pretrained(folder)
    tiny.make_tokenizer().save_pretrained(folder)
    loaded = load_model(ModelConfig("stored", precision="bf16"), settings)
    assert loaded.precision == "nf4" and "the weights are stored as nf4 and stay so" in loaded.notes
    assert (logits(loaded.model) - logits(model)).abs().max() < 0.05 * logits(model).abs().max()


@pytest.mark.skipif(not can_prepack(), reason="no bfloat16 in oneDNN on this processor")
def test_auto_is_bf16_and_a_tied_table_is_held_twice(tiny_qwen2: Path, settings: Settings) -> None:
    loaded = load_model(ModelConfig(str(tiny_qwen2)), settings)
    assert loaded.precision == "bf16"
    assert isinstance(loaded.model.lm_head, PrepackedLinear)
    n_table = loaded.model.get_input_embeddings().weight.numel()
    n_parameters = sum(p.numel() for p in tiny.load_plain(tiny_qwen2).parameters())
    n_buffers = sum(buffer.nbytes for buffer in loaded.model.buffers())
    joined = [whole.bias.nbytes for whole in compact.joined(loaded.model) if whole.bias is not None]
    assert loaded.n_bytes == 2 * (n_parameters + n_table) + n_buffers + sum(joined)


def test_a_checkpoint_with_older_names_loads_through_transformers(tiny_gpt2: Path, settings: Settings) -> None:
    folder = settings.models / "older"
    folder.mkdir()
    for file in tiny_gpt2.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tensors = {name.removeprefix("transformer."): t for name, t in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    loaded = load_model(ModelConfig("older", precision="fp32"), settings)
    assert torch.equal(logits(loaded.model), logits(tiny.load_plain(tiny_gpt2)))


def test_a_missing_tensor_is_named_and_not_made_up(tiny_llama: Path, settings: Settings) -> None:
    folder = settings.models / "less"
    folder.mkdir()
    for file in tiny_llama.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="lack the tensor model.layers.1.mlp.up_proj.weight"):
        load_model(ModelConfig("less"), settings)


def test_a_longer_context_than_the_models_own_is_cut_with_a_note(tiny_llama: Path, settings: Settings) -> None:
    longer = load_model(ModelConfig(str(tiny_llama), context_length=1000), settings)
    assert longer.n_context == 512 and any("1,000 is more than the model's own" in note for note in longer.notes)
    assert load_model(ModelConfig(str(tiny_llama), context_length=100), settings).n_context == 100


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "gguf"])
def test_the_embedded_model_knows_the_capital_of_france(precision: str, settings: Settings) -> None:
    loaded = load_model(ModelConfig("embedded", precision=precision), settings)
    assert loaded.precision == precision and loaded.template is not None
    prompt = loaded.template.render([Message("user", "What is the capital of France?")])
    ids = loaded.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        for _ in range(8):
            ids = torch.cat([ids, loaded.model(ids, use_cache=False).logits[:, -1:].argmax(-1)], dim=1)
    assert "The capital of France is Paris" in loaded.tokenizer.decode(ids[0])


def identities(configs: list[ModelConfig], settings: Settings) -> list[str]:
    return [load_model(config, settings).identity.digest() for config in configs]


def test_the_identity_tells_weights_precision_and_template_apart_but_not_places(
    tiny_llama: Path, settings: Settings, tmp_path: Path
) -> None:
    tiny.make_model(tmp_path / "same", family="llama")
    tiny.make_model(tmp_path / "other-seed", family="llama", seed=1)
    tiny.make_model(tmp_path / "other-template", family="llama", template=tiny.CHATML + " ")
    names = [str(tiny_llama), *(str(tmp_path / name) for name in ("same", "other-seed", "other-template"))]
    same_a, same_b, *others = identities([ModelConfig(name, precision="fp32") for name in names], settings)
    others += identities([ModelConfig(str(tiny_llama), precision="int8")], settings)
    assert same_a == same_b
    assert len({same_a, *others}) == 4


def test_the_identity_tells_two_configurations_of_the_same_weights_apart(tiny_llama: Path, settings: Settings) -> None:
    original = json.loads((tiny_llama / "config.json").read_text())
    scaling = original["rope_parameters"] | {"rope_type": "linear", "factor": 4.0}
    changes: dict[str, dict[str, Any]] = {
        "same": {}, "moved": {"_name_or_path": "/elsewhere", "transformers_version": "0"},
        "scaled": {"rope_parameters": scaling},
    }
    for name, change in changes.items():
        folder = settings.models / name
        folder.mkdir()
        for file in tiny_llama.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "config.json").write_text(json.dumps(original | change))
    ends = settings.models / "ends"
    ends.mkdir()
    for file in tiny_llama.iterdir():
        (ends / file.name).write_bytes(file.read_bytes())
    (ends / "generation_config.json").write_text('{"eos_token_id": [7, 8]}')
    names = [str(tiny_llama), "same", "moved", "scaled", "ends"]
    plain, same, moved, scaled, other_ends = identities([ModelConfig(n, precision="fp32") for n in names], settings)
    assert plain == same == moved
    assert len({plain, scaled, other_ends}) == 3


def test_a_digest_is_remembered_until_the_file_changes_and_the_memory_may_be_deleted(
    settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    assert digest_file(path, settings) == hashlib.sha256(b"one").hexdigest()
    notes = list((settings.home / "cache" / "digests").iterdir())
    assert len(notes) == 1
    notes[0].write_text("not a digest")
    assert digest_file(path, settings) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"three")
    assert digest_file(path, settings) == hashlib.sha256(b"three").hexdigest()


def test_the_order_of_shards_on_disk_does_not_matter(settings: Settings, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("b", "a")]
    for file in files:
        file.write_text(file.name)
    assert digest_files(files, settings) == digest_files(files[::-1], settings)


def test_after_close_nothing_keeps_the_model(tiny_llama: Path, settings: Settings) -> None:
    import gc
    import weakref

    loaded: LoadedModel = load_model(ModelConfig(str(tiny_llama)), settings)
    reference = weakref.ref(loaded.model)
    loaded.close()
    gc.collect()
    assert reference() is None
