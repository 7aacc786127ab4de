"""A merged folder answers as base and adapter do; oracle: peft's own merge and forward, on plain transformers."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import gguf
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

from llm_app.config import ModelConfig, Settings
from llm_app.engine.adapters import Adapters
from llm_app.engine.catalog import ModelEntry
from llm_app.engine.identity import Identity
from llm_app.engine.loading import LoadedModel, load
from llm_app.errors import ModelRejected, UserError
from llm_app.training import merge as module
from llm_app.training.adapter_folder import Tuned, write
from llm_app.training.merge import merge
from llm_app.training.model_card import Figures
from tests import tiny
from tests.training.tiny_run import set_lora, tiny_config, tiny_trainer

PROMPT = torch.tensor([tiny.make_tokenizer().encode("hello world, how are you today?")])
TEXTS = ("hello world", " two  spaces ", "<|im_start|>user\nnaïve 你好 🙂<|im_end|>\n", "Line\nand\ttab")


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.inference_mode():
        return model(PROMPT).logits.clone()


def greedy(model: PreTrainedModel) -> list[int]:
    with torch.inference_mode():
        return model.generate(PROMPT, do_sample=False, max_new_tokens=24, pad_token_id=0)[0].tolist()


def entry_of(path: Path) -> ModelEntry:
    return ModelEntry(path.name, "gguf" if path.suffix == ".gguf" else "folder", path, path.name)


def merged(base: Path, adapter: Path | None, settings: Settings, *, precision: str = "fp32") -> Path:
    folder = settings.models / "merged"
    *_, last = merge(entry_of(base), adapter, folder, precision=precision, settings=settings)
    assert last == 1.0
    return folder


def load_model(name: str, settings: Settings) -> LoadedModel:
    return next(e for e in load(ModelConfig(name, precision="fp32"), settings) if isinstance(e, LoadedModel))


@pytest.mark.parametrize("options", [{}, {"use_dora": True}], ids=["lora", "dora"])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_merged_folder_has_the_weights_of_pefts_own_merge(
    family: str, options: dict[str, object], settings: Settings, tmp_path: Path
) -> None:
    base = tiny.make_model(tmp_path / "base", family=family)
    adapter = tiny.make_adapter(base, tmp_path / "adapter", options=options)
    theirs = PeftModel.from_pretrained(tiny.load_plain(base), adapter).merge_and_unload().state_dict()
    ours = load_file(merged(base, adapter, settings) / "model.safetensors")
    assert set(ours) <= set(theirs)
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=1e-6)


def test_a_merged_folder_gives_the_greedy_text_of_base_and_adapter(
    tiny_llama: Path, tiny_adapter: Path, settings: Settings
) -> None:
    expected = greedy(PeftModel.from_pretrained(tiny.load_plain(tiny_llama), tiny_adapter).eval())
    folder = merged(tiny_llama, tiny_adapter, settings)
    assert greedy(tiny.load_plain(folder)) == expected != greedy(tiny.load_plain(tiny_llama))
    ours = load_model("merged", settings)
    assert greedy(ours.model) == expected
    assert ours.template is not None
    assert ours.template.source == tiny.CHATML


def test_bf16_rounds_the_merged_weights_once(tiny_llama: Path, tiny_adapter: Path, settings: Settings) -> None:
    folder = merged(tiny_llama, tiny_adapter, settings, precision="bf16")
    theirs = PeftModel.from_pretrained(tiny.load_plain(tiny_llama), tiny_adapter).merge_and_unload().state_dict()
    ours = load_file(folder / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    assert ours[name].dtype == torch.bfloat16
    assert torch.equal(ours[name], theirs[name].to(torch.bfloat16))
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_qwen2"])
def test_a_gguf_file_and_its_adapter_merge_into_a_folder_with_the_same_answers(
    family: str, request: pytest.FixtureRequest, settings: Settings, tmp_path: Path
) -> None:
    base = request.getfixturevalue(family)
    file = tiny.make_gguf(base, settings.models / "tiny.gguf", kind="Q8_0")
    adapter = tiny.make_adapter(base, tmp_path / "adapter", targets=["q_proj", "k_proj", "v_proj", "down_proj"])
    original = load_model("tiny.gguf", settings)
    original.adapters.attach(adapter, name="a")
    original.adapters.use("a")
    folder = merged(file, adapter, settings)
    torch.testing.assert_close(logits(tiny.load_plain(folder)), logits(original.model), rtol=0, atol=2e-5)
    assert greedy(tiny.load_plain(folder)) == greedy(original.model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert [tokenizer(text)["input_ids"] for text in TEXTS] == [
        original.tokenizer(text)["input_ids"] for text in TEXTS
    ]
    assert tokenizer.chat_template == tiny.CHATML
    loaded = load_model("merged", settings)
    assert loaded.eos_ids == original.eos_ids
    assert [loaded.tokenizer(text)["input_ids"] for text in TEXTS] == [
        original.tokenizer(text)["input_ids"] for text in TEXTS
    ]


def test_an_adapter_of_a_tied_output_layer_leaves_the_embeddings_alone(settings: Settings, tmp_path: Path) -> None:
    base = tiny.make_model(tmp_path / "base", family="qwen2")
    adapter = head_adapter(base, tmp_path)
    model = tiny.load_plain(base)
    adapters = Adapters(model, Identity("ab" * 32, "", "", "", ""))
    adapters.attach(adapter, name="a")
    adapters.use("a")
    folder = merged(base, adapter, settings)
    torch.testing.assert_close(logits(tiny.load_plain(folder)), logits(model), rtol=0, atol=1e-5)
    assert AutoConfig.from_pretrained(folder).tie_word_embeddings is False


def head_adapter(base: Path, folder: Path) -> Path:
    """An adapter on the output layer, as our training writes it; peft would write the whole layer beside it."""
    trainer = tiny_trainer(base, tiny_config(targets=("lm_head", "v_proj")), folder)
    set_lora(trainer)
    write(folder / "adapter", Tuned(trainer.adapter_state(), trainer.learner.targets), trainer.base, trainer.config,
          Figures((), 0, 0, 0, 0, 0, 0.0))  # fmt: skip
    note = json.loads((folder / "adapter" / "proofbench.json").read_text())
    (folder / "adapter" / "proofbench.json").unlink()
    assert note["base"]["name"] == base.name
    return folder / "adapter"


def test_rope_factors_of_a_llama_3_file_become_words_in_the_configuration(
    tiny_llama: Path, settings: Settings
) -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = AutoConfig.from_pretrained(tiny_llama)
    theta, size = config.rope_parameters["rope_theta"], config.head_dim
    plain = 1.0 / theta ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    config.rope_parameters = {
        "rope_type": "llama3", "rope_theta": theta, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    stretched, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    file = with_tensor(
        tiny.make_gguf(tiny_llama, settings.models / "plain.gguf", kind="F32"), settings.models / "tiny.gguf",
        "rope_freqs.weight", plain / stretched,
    )
    folder = merged(file, None, settings)
    assert AutoConfig.from_pretrained(folder).rope_parameters == config.rope_parameters
    torch.testing.assert_close(
        logits(tiny.load_plain(folder)), logits(load_model("tiny.gguf", settings).model), rtol=0, atol=1e-5
    )


def test_rope_factors_that_nobody_published_are_refused(tiny_llama: Path, settings: Settings) -> None:
    file = with_tensor(
        tiny.make_gguf(tiny_llama, settings.models / "plain.gguf", kind="F32"), settings.models / "tiny.gguf",
        "rope_freqs.weight", torch.tensor([1.0, 3.0, 2.0, 1.0, 5.0, 1.0, 1.0, 1.0]),
    )
    with pytest.raises(ModelRejected, match=r"config\.json has no name for"):
        merged(file, None, settings)
    assert not (settings.models / "merged").exists()


def with_tensor(file: Path, out: Path, name: str, values: torch.Tensor) -> Path:
    """The file with one more tensor, written by gguf's own reader and writer."""
    reader = gguf.GGUFReader(file)
    writer = gguf.GGUFWriter(out, "llama")
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture")):
            kind, inner = field.types[0], field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), kind, inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.add_tensor(name, values.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def test_large_models_are_written_in_shards_with_an_index(
    tiny_llama: Path, tiny_adapter: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_app.training.model_folder.MAX_SHARD_BYTES", 100_000)
    folder = merged(tiny_llama, tiny_adapter, settings)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shards = sorted(file.name for file in folder.glob("*.safetensors"))
    assert len(shards) > 2
    assert set(index["weight_map"].values()) == set(shards)
    expected = logits(PeftModel.from_pretrained(tiny.load_plain(tiny_llama), tiny_adapter).eval())
    torch.testing.assert_close(logits(tiny.load_plain(folder)), expected, rtol=0, atol=1e-5)
    assert load_model("merged", settings).n_context == 512


def test_the_note_says_where_the_weights_came_from(tiny_llama: Path, tiny_adapter: Path, settings: Settings) -> None:
    note = json.loads((merged(tiny_llama, tiny_adapter, settings) / "proofbench.json").read_text())
    assert note["base"]["name"] == "tiny-llama"
    assert len(note["base"]["weights"]) == 64
    assert note["adapter"] == "tiny-adapter"


def test_nothing_is_overwritten_unasked(tiny_llama: Path, tiny_adapter: Path, settings: Settings) -> None:
    (settings.models / "merged").mkdir()
    (settings.models / "merged" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        merged(tiny_llama, tiny_adapter, settings)
    assert [file.name for file in (settings.models / "merged").iterdir()] == ["mine.txt"]


def test_closing_the_iterator_leaves_nothing_behind(tiny_llama: Path, tiny_adapter: Path, settings: Settings) -> None:
    steps = merge(
        entry_of(tiny_llama), tiny_adapter, settings.models / "merged", precision="fp32", settings=settings
    )
    next(steps)
    assert list(settings.models.iterdir())
    steps.close()
    assert list(settings.models.iterdir()) == []


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    tiny_llama: Path, tiny_adapter: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_app.training.new_path.shutil.disk_usage", lambda _path: SimpleNamespace(free=1_000_000))
    with pytest.raises(UserError, match=r"merged takes 0\.1 GB, and 0\.0 GB are free"):
        merged(tiny_llama, tiny_adapter, settings)
    assert list(settings.models.iterdir()) == []


def test_an_adapter_of_other_weights_is_refused(
    tiny_llama: Path, tiny_adapter: Path, settings: Settings, tmp_path: Path
) -> None:
    adapter = Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))
    (adapter / "proofbench.json").write_text(json.dumps({"base": {"name": "tiny-llama", "weights": "cd" * 32}}))
    with pytest.raises(ModelRejected, match="the weights differ"):
        merged(tiny_llama, adapter, settings)


def test_the_precisions_are_those_of_the_command_line() -> None:
    from llm_app import export_cli
    from llm_app.training import gguf_export

    assert set(export_cli.PRECISIONS) == set(module.PRECISIONS)
    assert set(export_cli.KINDS) == set(gguf_export.KINDS)
