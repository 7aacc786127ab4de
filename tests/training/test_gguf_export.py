"""Exported GGUF files, read by others: gguf's own reader, transformers' own GGUF loading, and llama.cpp."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, GgufConfig

from llm_app.config import Settings
from llm_app.engine import catalog
from llm_app.engine.identity import digest_files
from llm_app.errors import UserError
from llm_app.training.gguf_export import export_gguf
from tests import tiny
from tests.training.test_merge import entry_of, greedy, head_adapter, load_model, logits, merged


def exported(model: Path, adapter: Path | None, settings: Settings, kind: str = "f32") -> Path:
    output = settings.models / f"exported-{kind}.gguf"
    *_, last = export_gguf(entry_of(model), adapter, output, kind=kind, settings=settings)
    assert last == 1.0
    return output


@pytest.fixture
def llama_file(tiny_llama: Path, settings: Settings) -> Path:
    return tiny.make_gguf(tiny_llama, settings.models / "tiny.gguf", kind="F32")


@pytest.fixture
def adapter(tiny_llama: Path, tmp_path: Path) -> Path:
    """Also on q and k, whose rows llama.cpp orders otherwise."""
    return tiny.make_adapter(tiny_llama, tmp_path / "adapter", targets=["q_proj", "k_proj", "o_proj", "up_proj"])


def fields_of(file: Path) -> dict[str, tuple[object, object]]:
    fields = gguf.GGUFReader(file).fields.values()
    return {
        field.name: (field.types, field.contents())
        for field in fields if not field.name.startswith("GGUF.") and field.name != "general.file_type"
    }


def tensors_of(file: Path) -> dict[str, gguf.ReaderTensor]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}


def test_every_key_is_carried_over_in_its_type(llama_file: Path, adapter: Path, settings: Settings) -> None:
    carried, original = fields_of(exported(llama_file, adapter, settings)), fields_of(llama_file)
    version = carried.pop("general.quantization_version")
    assert version[1] == gguf.GGML_QUANT_VERSION
    assert carried == original
    assert any(name == "tokenizer.chat_template" for name in carried)


def test_without_an_adapter_every_byte_of_the_weights_is_the_originals(llama_file: Path, settings: Settings) -> None:
    ours, theirs = tensors_of(exported(llama_file, None, settings)), tensors_of(llama_file)
    assert list(ours) == list(theirs)
    assert all(np.array_equal(ours[name].data, theirs[name].data) for name in theirs)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_transformers_own_gguf_reader_gives_the_answers_of_base_and_adapter(
    family: str, request: pytest.FixtureRequest, settings: Settings, tmp_path: Path
) -> None:
    base = request.getfixturevalue(f"tiny_{family}")
    file = tiny.make_gguf(base, settings.models / "tiny.gguf", kind="F32")
    adapter = tiny.make_adapter(base, tmp_path / "adapter", targets=["q_proj", "k_proj", "o_proj", "up_proj"])
    output = exported(file, adapter, settings)
    expected = PeftModel.from_pretrained(tiny.load_plain(base), adapter).eval()
    theirs = AutoModelForCausalLM.from_pretrained(
        output.parent, gguf_file=output.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    ).eval()
    torch.testing.assert_close(logits(theirs), logits(expected), rtol=0, atol=1e-4)
    ours = load_model(output.name, settings)
    torch.testing.assert_close(logits(ours.model), logits(expected), rtol=0, atol=1e-4)
    assert greedy(ours.model) == greedy(expected) != greedy(tiny.load_plain(base))
    assert ours.template is not None


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0"])
def test_smaller_types_hold_matrices_and_leave_vectors_exact(
    kind: str, llama_file: Path, adapter: Path, settings: Settings
) -> None:
    exact, small = tensors_of(exported(llama_file, adapter, settings)), tensors_of(
        exported(llama_file, adapter, settings, kind)
    )
    wanted = gguf.GGMLQuantizationType[kind.upper()]
    for name, tensor in small.items():
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if len(tensor.shape) > 1:
            assert tensor.tensor_type == wanted
            assert np.abs(values - exact[name].data).max() < 0.01 * np.abs(exact[name].data).max()
        else:
            assert np.array_equal(values, exact[name].data)
    assert load_model(f"exported-{kind}.gguf", settings).n_context == 512


def test_blocks_that_the_adapter_does_not_touch_are_not_packed_anew(
    tiny_llama: Path, adapter: Path, settings: Settings
) -> None:
    file = tiny.make_gguf(tiny_llama, settings.models / "tiny.gguf", kind="Q8_0")
    ours, theirs = tensors_of(exported(file, adapter, settings, "q8_0")), tensors_of(file)
    same = {name for name in theirs if np.array_equal(ours[name].data, theirs[name].data)}
    touched = {name for name in theirs if any(part in name for part in ("attn_q.", "attn_k.", "attn_output", "ffn_up"))}
    assert same == set(theirs) - touched


def test_an_adapter_of_a_tied_output_layer_gets_a_tensor_of_its_own(
    tiny_qwen2: Path, settings: Settings, tmp_path: Path
) -> None:
    file = tiny.make_gguf(tiny_qwen2, settings.models / "tiny.gguf", kind="F32")
    adapter = head_adapter(tiny_qwen2, tmp_path)
    output = exported(file, adapter, settings)
    assert "output.weight" in tensors_of(output).keys() - tensors_of(file).keys()
    base = load_model("tiny.gguf", settings)
    base.adapters.attach(adapter, name="a")
    base.adapters.use("a")
    torch.testing.assert_close(logits(load_model(output.name, settings).model), logits(base.model), rtol=0, atol=1e-4)


def test_a_folder_merged_from_a_gguf_file_becomes_gguf_again(
    llama_file: Path, adapter: Path, settings: Settings
) -> None:
    folder = merged(llama_file, adapter, settings)
    note_base(folder, digest_files([llama_file], settings))
    again = tensors_of(exported(folder, None, settings))
    direct = settings.models / "direct.gguf"
    list(export_gguf(entry_of(llama_file), adapter, direct, kind="f32", settings=settings))
    assert all(np.array_equal(again[name].data, tensor.data) for name, tensor in tensors_of(direct).items())


def test_another_file_under_the_name_of_the_base_is_refused_in_a_sentence(
    llama_file: Path, tiny_llama: Path, adapter: Path, settings: Settings, tmp_path: Path
) -> None:
    folder = merged(llama_file, adapter, settings)
    note_base(folder, digest_files([llama_file], settings))
    llama_file.unlink()
    tiny.make_gguf(tiny.make_model(tmp_path / "other", seed=1), llama_file, kind="F32")
    with pytest.raises(UserError, match="tiny.gguf holds other weights now"):
        exported(folder, None, settings)


def note_base(folder: Path, digest: str) -> None:
    (folder / "proofbench.json").write_text(json.dumps({"base": {"name": "tiny.gguf", "weights": digest}}))


def test_a_folder_that_never_was_gguf_is_refused_in_a_sentence(tiny_llama: Path, settings: Settings) -> None:
    with pytest.raises(UserError, match="does not come from a GGUF file"):
        exported(tiny_llama, None, settings)
    assert list(settings.models.iterdir()) == []


def test_an_existing_file_is_left_alone(llama_file: Path, settings: Settings) -> None:
    (settings.models / "exported-f32.gguf").write_bytes(b"mine")
    with pytest.raises(UserError, match="exists already"):
        exported(llama_file, None, settings)
    assert (settings.models / "exported-f32.gguf").read_bytes() == b"mine"


def test_closing_the_iterator_leaves_no_part_of_a_file(llama_file: Path, settings: Settings) -> None:
    output = settings.models / "exported.gguf"
    steps = export_gguf(entry_of(llama_file), None, output, kind="f16", settings=settings)
    next(steps)
    steps.close()
    assert [file.name for file in settings.models.iterdir()] == ["tiny.gguf"]


@pytest.mark.verify
def test_llama_cpp_gives_the_greedy_text_of_the_exported_embedded_model(settings: Settings, tmp_path: Path) -> None:
    """Oracle: llama.cpp itself, on the float32 export of the embedded model with an adapter merged into it."""
    embedded = catalog.embedded_model()
    folder = merged(embedded, None, settings)
    adapter = tiny.make_adapter(folder, tmp_path / "adapter", targets=["q_proj", "k_proj", "down_proj"], rank=8)
    weaken(adapter, 0.02)
    output = exported(embedded, adapter, settings)
    ours = load_model(output.name, settings)
    prompts = ("The capital of France is", "Once upon a time")
    before, after = (llama_cpp_texts(file, prompts) for file in (embedded, output))
    for prompt, told in zip(prompts, after, strict=True):
        ids = ours.tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            made = ours.model.generate(ids, do_sample=False, max_new_tokens=32, pad_token_id=0)[0, ids.shape[1] :]
        assert ours.tokenizer.decode(made, skip_special_tokens=True) == told
    assert before != after


LLAMA_CPP = """
import json, sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.warmup = sys.argv[1], 256, 1, False
server = xllamacpp.Server(params)
asked = {"n_predict": 32, "temperature": 0.0}
answers = [server.handle_completions({"prompt": prompt, **asked}) for prompt in sys.argv[2:]]
print(json.dumps([answer["choices"][0]["text"] for answer in answers]), flush=True)
"""


def llama_cpp_texts(file: Path, prompts: Sequence[str]) -> list[str]:
    """Greedy continuations by llama.cpp, in a process of its own: what it prints and how it ends are not ours."""
    command = [sys.executable, "-c", LLAMA_CPP, str(file), *prompts]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    texts: list[str] = json.loads(ended.stdout.strip().splitlines()[-1])
    return texts


def weaken(adapter: Path, share: float) -> None:
    """Scale an adapter of random matrices down, so that the model still speaks."""
    file = adapter / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"lora_alpha": config["lora_alpha"] * share}))
