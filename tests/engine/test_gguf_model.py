"""Models out of GGUF files, against what transformers makes of the same files."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
)

from llm_app.config import ModelConfig, Settings
from llm_app.engine import catalog, compact, gguf_model, packed
from llm_app.engine.block_embedding import BlockEmbedding
from llm_app.engine.gguf_file import GgufFile
from llm_app.engine.packed import PackedLinear
from tests import tiny
from tests.loads import load_model

IDS = torch.arange(40).reshape(1, 40) * 7 % 400
TEXTS = (
    "The quick brown fox doesn't jump over 12 lazy dogs; they're 3.14159 metres apart.",
    "人工智能正在改变世界，今天的天气怎么样？",
    "def f(x):\n    if x > 10:\n\t\treturn x ** 2  # squared\n    return {'a': [1, 2]}\n",
    "naïve café 🙂 👩‍👩‍👧‍👦 🇩🇪 e\u0301 ﷽ \u200b\u00a0end",
    "  leading and   inner    spaces  \n\n\n and 1234567890 2024-01-31 0x1F",
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n<|endoftext|>",
    "ภาษาไทย العربية हिन्दी \ud83d" .encode("utf-8", "replace").decode(),
    "",
)


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits.float()


def through_transformers(path: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()


@pytest.mark.parametrize("kind", ["F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q8_0"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_fp32_logits_of_a_gguf_file_equal_those_of_transformers(
    family: str, kind: str, settings: Settings, request: pytest.FixtureRequest
) -> None:
    path = tiny.make_gguf(request.getfixturevalue(f"tiny_{family}"), settings.models / "tiny.gguf", kind=kind)
    ours = logits(load_model(ModelConfig("tiny.gguf", precision="fp32"), settings).model)
    torch.testing.assert_close(ours, logits(through_transformers(path)))  # oneDNN and MKL add up in different orders


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_packed_logits_differ_from_dequantised_ones_by_rounding_only(
    family: str, kind: str, settings: Settings, request: pytest.FixtureRequest
) -> None:
    tiny.make_gguf(request.getfixturevalue(f"tiny_{family}"), settings.models / "tiny.gguf", kind=kind)
    loaded = load_model(ModelConfig("tiny.gguf"), settings)
    assert loaded.precision == "gguf"
    assert sum(isinstance(module, PackedLinear) for module in loaded.model.modules()) == 14  # two layers of seven
    exact = logits(load_model(ModelConfig("tiny.gguf", precision="fp32"), settings).model)
    dense = logits(load_model(ModelConfig("tiny.gguf", precision="bf16"), settings).model)
    rounding = (dense - exact).abs().max()
    assert (logits(loaded.model) - exact).abs().max() < 3 * rounding


TRANSPOSED = ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")


def write_gguf(
    folder: Path, path: Path, architecture: str, keys: dict[str, Any], names: tuple[tuple[str, str], ...]
) -> Path:
    """A GGUF file of a family that tests/tiny.py does not write. Keys of the family come without their prefix."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in keys.items():
        add: Any = {float: writer.add_float32, str: writer.add_string}.get(type(value), writer.add_uint32)
        add(f"{architecture}.{key}", value)
    tiny._add_tokenizer(writer, tiny.CHATML)
    for name, data in load_file(folder / "model.safetensors").items():
        for ours, theirs in names:
            name = name.replace(ours, theirs)
        if architecture.startswith("gemma") and name.endswith("norm.weight"):
            data = data + 1
        if architecture == "gpt2" and name.endswith(TRANSPOSED):
            data = np.ascontiguousarray(data.T)
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


GEMMA_NAMES = (
    ("pre_feedforward_layernorm", "ffn_norm"), ("post_feedforward_layernorm", "post_ffw_norm"),
    ("post_attention_layernorm", "post_attention_norm"), *tiny._GGUF_NAMES,
)
GPT2_NAMES = (
    ("transformer.wte", "token_embd"), ("transformer.wpe", "position_embd"), ("transformer.ln_f", "output_norm"),
    ("transformer.h.", "blk."), ("ln_1", "attn_norm"), ("ln_2", "ffn_norm"), ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"), ("mlp.c_fc", "ffn_up"), ("mlp.c_proj", "ffn_down"),
)


def gemma_keys(config: PretrainedConfig) -> dict[str, Any]:
    head_size = getattr(config, "head_dim", 16)
    keys = {
        "context_length": config.max_position_embeddings, "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers, "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads, "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": head_size, "attention.value_length": head_size,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.freq_base": float(config.rope_parameters.get("rope_theta", 1e6)),
    }
    return keys if config.model_type == "gemma" else {**keys, "attention.sliding_window": 512}


def test_gemma3_gives_the_logits_that_transformers_gives(tiny_gemma3: Path, settings: Settings) -> None:
    keys = gemma_keys(AutoConfig.from_pretrained(tiny_gemma3))
    path = write_gguf(tiny_gemma3, settings.models / "tiny.gguf", "gemma3", keys, GEMMA_NAMES)
    ours = load_model(ModelConfig("tiny.gguf", precision="fp32"), settings).model
    assert torch.equal(logits(ours), logits(through_transformers(path)))


def test_linear_rope_scaling_of_gemma3_reaches_the_layers_with_full_attention(
    tiny_gemma3: Path, settings: Settings
) -> None:
    config = AutoConfig.from_pretrained(tiny_gemma3)
    keys = gemma_keys(config) | {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0}
    path = write_gguf(tiny_gemma3, settings.models / "tiny.gguf", "gemma3", keys, GEMMA_NAMES)
    ours = gguf_model.config_of(GgufFile(path)).rope_parameters
    config.rope_parameters["full_attention"] |= {"rope_type": "linear", "factor": 8.0}
    expected = CONFIG_MAPPING["gemma3_text"](rope_parameters=config.rope_parameters).rope_parameters
    for kind in ("full_attention", "sliding_attention"):
        same = ("rope_type", "factor")
        assert [ours[kind].get(key) for key in same] == [expected[kind].get(key) for key in same]
    assert set(ours) == set(expected)


@pytest.mark.parametrize("family", ["gemma", "gemma2"])
def test_older_gemmas_give_the_logits_of_their_folders(family: str, settings: Settings, tmp_path: Path) -> None:
    tokenizer = tiny.make_tokenizer()
    config = CONFIG_MAPPING[family](
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=512, sliding_window=512, initializer_range=0.1,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / family)
    names = GEMMA_NAMES if family == "gemma2" else tiny._GGUF_NAMES
    write_gguf(tmp_path / family, settings.models / "tiny.gguf", family, gemma_keys(config), names)
    ours = load_model(ModelConfig("tiny.gguf", precision="fp32"), settings).model
    torch.testing.assert_close(logits(ours), logits(tiny.load_plain(tmp_path / family)), rtol=0, atol=1e-4)


def test_gpt2_gives_the_logits_of_its_folder(tiny_gpt2: Path, settings: Settings) -> None:
    config = AutoConfig.from_pretrained(tiny_gpt2)
    keys = {
        "context_length": config.n_positions, "embedding_length": config.n_embd, "block_count": config.n_layer,
        "feed_forward_length": 4 * config.n_embd, "attention.head_count": config.n_head,
        "attention.layer_norm_epsilon": float(config.layer_norm_epsilon),
    }
    write_gguf(tiny_gpt2, settings.models / "tiny.gguf", "gpt2", keys, GPT2_NAMES)
    ours = load_model(ModelConfig("tiny.gguf", precision="fp32"), settings)
    assert ours.n_context == config.n_positions
    torch.testing.assert_close(logits(ours.model), logits(tiny.load_plain(tiny_gpt2)), rtol=0, atol=1e-5)


def test_an_architecture_that_we_leave_to_transformers_loads_and_says_that_it_is_not_packed(
    settings: Settings, tmp_path: Path
) -> None:
    tokenizer = tiny.make_tokenizer()
    config = CONFIG_MAPPING["phi3"](
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.1, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "phi3")
    keys = {name: value for name, value in gemma_keys(config).items() if not name.endswith(("_length", "window"))}
    keys |= {
        "context_length": 512, "embedding_length": 64, "feed_forward_length": 128, "rope.dimension_count": 16,
    }
    names = (("self_attn.qkv_proj", "attn_qkv"), ("mlp.gate_up_proj", "ffn_up"), *tiny._GGUF_NAMES)
    write_gguf(tmp_path / "phi3", settings.models / "tiny.gguf", "phi3", keys, names)
    exact = logits(tiny.load_plain(tmp_path / "phi3"))
    ours = load_model(ModelConfig("tiny.gguf", precision="fp32"), settings)
    torch.testing.assert_close(logits(ours.model), exact, rtol=0, atol=1e-4)
    automatic = load_model(ModelConfig("tiny.gguf"), settings)
    assert automatic.precision == "bf16"
    assert "blocks of a phi3 model cannot stay packed: dequantised to bf16" in automatic.notes


@pytest.fixture(scope="module")
def embedded() -> GgufFile:
    return GgufFile(catalog.embedded_model())


def test_the_tokenizer_of_the_embedded_model_equals_that_of_transformers(embedded: GgufFile) -> None:
    ours = gguf_model.tokenizer_of(embedded)
    theirs = AutoTokenizer.from_pretrained(embedded.path.parent, gguf_file=embedded.path.name)
    for text in TEXTS:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]
        assert ours.decode(ours(text)["input_ids"]) == theirs.decode(theirs(text)["input_ids"]) == text
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.chat_template == theirs.chat_template


def test_on_a_machine_with_little_memory_the_embedded_model_holds_its_file_and_the_table_once_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "total_bytes", lambda: 4 * 10**9)
    loaded = load_model(ModelConfig("embedded"), settings)
    assert loaded.precision == "gguf" and loaded.notes == ()
    assert isinstance(loaded.model.get_input_embeddings(), BlockEmbedding)
    assert 120e6 < loaded.n_bytes < 130e6  # the file has one table for the embedding and the output layer
    assert loaded.eos_ids == {2} and loaded.n_context == 8192


@pytest.mark.skipif(not packed.can_prepack(), reason="this processor has no fast bf16")
def test_on_any_other_it_keeps_a_dense_copy_of_its_134_million_weights_where_unpacking_is_slower(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed.panels, "SUIT", False)
    loaded = load_model(ModelConfig("embedded"), settings)
    assert loaded.precision == "gguf" and loaded.notes == ()
    copies = packed.copy_bytes(loaded.model, *compact.joined(loaded.model))
    assert copies == 2 * 134_479_872 and copies + 120e6 < loaded.n_bytes < copies + 130e6


def test_llama_31_rope_factors_divide_the_frequencies(tiny_llama: Path, settings: Settings) -> None:
    """The file carries them as a tensor. Source: llama.cpp's rope_freqs, transformers' llama3 rope type."""
    plain = tiny.make_gguf(tiny_llama, settings.models / "plain.gguf", kind="F32")
    factors = np.array([1, 1, 1, 2, 4, 8, 8, 8], np.float32)
    path = settings.models / "factors.gguf"
    with_factors(plain, path, factors)
    before = load_model(ModelConfig("plain.gguf", precision="fp32"), settings).model.model.rotary_emb.inv_freq
    after = load_model(ModelConfig("factors.gguf", precision="fp32"), settings).model.model.rotary_emb.inv_freq
    assert torch.equal(after * torch.from_numpy(factors), before)


def with_factors(source: Path, path: Path, factors: np.ndarray) -> None:
    """A copy of a file with the tensor rope_freqs.weight in it."""
    reader, writer = gguf.GGUFReader(source), gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        sub_type = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type)
    writer.add_tensor("rope_freqs.weight", factors)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_matrices_that_are_no_blocks_are_told_and_the_precision_is_theirs(tiny_llama: Path, settings: Settings) -> None:
    tiny.make_gguf(tiny_llama, settings.models / "plain.gguf", kind="F16")
    loaded = load_model(ModelConfig("plain.gguf"), settings)
    n_linear = sum(isinstance(module, torch.nn.Linear) for module in loaded.model.modules())
    assert loaded.precision == "bf16" and loaded.identity.quantization == "bf16"
    assert f"layers dequantised to bf16: {n_linear} (stored as F16)" in loaded.notes
