"""Broken, cut and foreign model folders: each is refused in a sentence that names the file."""

import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_app.engine.weights import check_folder, check_vocabulary, read_header
from llm_app.errors import ModelNotFound, ModelRejected
from tests import tiny


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def edit(folder: Path, change: Callable[[dict], None], name: str = "config.json") -> None:
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


def shard(folder: Path, n_shards: int = 2) -> None:
    """Split the folder's weights as transformers does for large models."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards: dict[str, dict[str, torch.Tensor]] = {}
    for i, (name, tensor) in enumerate(tensors.items()):
        shards.setdefault(f"model-{i % n_shards + 1:05}-of-{n_shards:05}.safetensors", {})[name] = tensor
    weight_map = {name: file for file, part in shards.items() for name in part}
    for file, part in shards.items():
        save_file(part, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_whole_folder_passes_and_lists_its_tensors(family: str, tmp_path: Path) -> None:
    folder = tiny.make_model(tmp_path / "model", family=family)
    checked = check_folder(folder)
    tensors = load_file(folder / "model.safetensors")
    assert {name: info.shape for name, info in checked.tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in tensors.items()
    }
    assert checked.n_bytes == sum(tensor.nbytes for tensor in tensors.values())


def test_a_sharded_folder_passes(folder: Path) -> None:
    whole = check_folder(folder).n_bytes
    shard(folder)
    assert check_folder(folder).n_bytes == whole


def test_a_missing_folder_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="config.json"):
        check_folder(tmp_path / "none")


def test_L1_a_safetensors_file_cut_in_half_is_refused_with_its_sizes(folder: Path) -> None:
    file = folder / "model.safetensors"
    whole = file.stat().st_size
    with file.open("r+b") as stream:
        stream.truncate(whole // 2)
    with pytest.raises(ModelRejected) as refusal:
        check_folder(folder)
    assert refusal.value.message == (
        f"model.safetensors is incomplete (have {whole // 2:,} of {whole:,} bytes). Download it again."
    )


def test_L1_a_safetensors_file_cut_anywhere_is_refused(folder: Path, tmp_path: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in [*range(0, 200, 7), *range(200, len(data), len(data) // 50), len(data) - 1]:
        cut.write_bytes(data[:length])
        with pytest.raises(ModelRejected, match="cut.safetensors is"):
            read_header(cut)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x07",
        bytes(range(256)) * 40,
        (2**63).to_bytes(8, "little") + b"{}",
        (2**64 - 1).to_bytes(8, "little"),
        (2).to_bytes(8, "little") + b"[]",
        (4000).to_bytes(8, "little") + b"{" * 4000,
        (9_000_000).to_bytes(8, "little") + b'{"a":' * 1_800_000,
        b"<html>404 not found</html>",
    ],
    ids=["empty", "one byte", "noise", "2^63", "2^64", "a list", "not JSON", "deep", "a web page"],
)
def test_L2_what_is_not_safetensors_is_refused_by_name_without_filling_memory(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(ModelRejected, match="model.safetensors (is not a valid safetensors file|describes more)"):
        read_header(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 2**20


def test_L2_a_git_lfs_pointer_is_called_by_its_name(folder: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (folder / "model.safetensors").write_text(pointer)
    with pytest.raises(ModelRejected, match="Git LFS pointer"):
        check_folder(folder)


def test_L7_missing_weights_are_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelRejected, match="model.safetensors is missing from model"):
        check_folder(folder)


def test_L7_a_missing_shard_is_named(folder: Path) -> None:
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelRejected, match="model-00002-of-00002.safetensors is missing"):
        check_folder(folder)


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/x.safetensors", "..\\x.safetensors", "", "..", "model.bin"])
def test_L7_an_index_that_leaves_the_folder_is_refused(name: str, folder: Path) -> None:
    shard(folder)
    shutil.copy(folder / "model-00001-of-00002.safetensors", folder.parent / "x.safetensors")
    edit(folder, lambda index: index["weight_map"].update({"lm_head.weight": name}), "model.safetensors.index.json")
    with pytest.raises(ModelRejected, match="not a plain .safetensors file name"):
        check_folder(folder)


def test_L7_a_tensor_that_its_shard_lacks_is_named(folder: Path) -> None:
    shard(folder)
    first = "model-00001-of-00002.safetensors"
    edit(folder, lambda index: index["weight_map"].update({"model.extra": first}), "model.safetensors.index.json")
    with pytest.raises(ModelRejected, match="model.extra"):
        check_folder(folder)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b'{\n  "model_type": "llama",\n  oops\n}', "config.json is not valid JSON (line 3, column 3)."),
        (b'{"a": "\xff\xfe"}', "config.json is not UTF-8 text (byte 7)."),
        (b"[1, 2]", "config.json does not hold a JSON object."),
        (b'{"a":' * 100_000, "config.json is not valid JSON"),
        (b" " * 100_000_000, "config.json has 100,000,000 bytes; 10,000,000 are the limit."),
    ],
    ids=["syntax", "not UTF-8", "a list", "deep", "100 MB"],
)
def test_L8_a_broken_config_is_refused_with_the_place(data: bytes, sentence: str, folder: Path) -> None:
    (folder / "config.json").write_bytes(data)
    with pytest.raises(ModelRejected) as refusal:
        check_folder(folder)
    assert refusal.value.message.startswith(sentence)


def test_L8_a_missing_config_is_named(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ModelRejected, match="config.json is missing from model"):
        check_folder(folder)


@pytest.mark.parametrize("kind", ["brand_new_9b", "", None, 7, ["llama"]])
def test_L10_an_unknown_model_type_is_said_to_need_custom_code(kind: object, folder: Path) -> None:
    edit(folder, lambda config: config.update(model_type=kind))
    with pytest.raises(ModelRejected, match="needs custom code, which this server does not run"):
        check_folder(folder)


def test_L10_a_model_that_does_not_write_text_is_refused(folder: Path) -> None:
    edit(folder, lambda config: config.update(model_type="clip"))
    with pytest.raises(ModelRejected, match="not a language model"):
        check_folder(folder)


def test_weights_quantized_by_an_unsupported_method_are_refused(folder: Path) -> None:
    edit(folder, lambda config: config.update(quantization_config={"quant_method": "gptq", "bits": 4}))
    with pytest.raises(ModelRejected, match="quantized with 'gptq'"):
        check_folder(folder)


def test_an_adapter_folder_is_not_taken_for_a_model(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/somewhere/else"}')
    with pytest.raises(ModelRejected, match="is an adapter"):
        check_folder(folder)


def test_L14_a_folder_without_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelRejected, match="has no tokenizer"):
        check_folder(folder)


def test_L14_a_tokenizer_larger_than_the_embeddings_is_refused() -> None:
    check_vocabulary(403, 403)
    check_vocabulary(403, 512)
    with pytest.raises(ModelRejected, match="do not belong together"):
        check_vocabulary(404, 403)
