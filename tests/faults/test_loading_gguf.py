"""Faults while a model is loaded: a sentence, and the memory back."""

import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import psutil
import pytest
from safetensors.torch import load_file, save_file

from llm_app.config import ModelConfig, Settings
from llm_app.engine import fit, loading
from llm_app.engine.catalog import find_model
from llm_app.engine.gguf_file import GgufFile
from llm_app.errors import DoesNotFit, ModelRejected, UserError
from tests import tiny
from tests.loads import load_model


@pytest.fixture(scope="module")
def whole(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_gguf(tiny_llama, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_L3_a_file_cut_anywhere_is_incomplete_and_its_sizes_are_told(whole: Path, tmp_path: Path) -> None:
    data, path = whole.read_bytes(), tmp_path / "cut.gguf"
    file = GgufFile(whole)
    needed = max(info.start + info.n_bytes for info in file.tensors.values())
    first = min(info.start for info in file.tensors.values())
    for size in np.linspace(0, needed - 1, 100).astype(int).tolist():
        path.write_bytes(data[:size])
        with pytest.raises(ModelRejected, match=f"incomplete .has {size} of ") as refusal:
            GgufFile(path)
        if size > first:
            assert f"of {needed} bytes" in refusal.value.message


def test_L3_loading_a_cut_file_says_so(whole: Path, settings: Settings) -> None:
    cut = settings.models / "cut.gguf"
    cut.write_bytes(whole.read_bytes()[:-5000])
    with pytest.raises(ModelRejected, match="incomplete"):
        load_model(ModelConfig("cut.gguf"), settings)


def test_L6_an_unknown_architecture_is_named_with_the_supported_ones(settings: Settings) -> None:
    writer = gguf.GGUFWriter(settings.models / "odd.gguf", "abacus")
    writer.add_tensor("token_embd.weight", np.zeros((32, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelRejected, match="abacus is not supported for GGUF; supported: .*llama.*qwen3"):
        load_model(ModelConfig("odd.gguf"), settings)


def patched(whole: Path, path: Path, name: str, value: bytes) -> Path:
    """A copy with the first bytes of a tensor overwritten."""
    data = bytearray(whole.read_bytes())
    start = GgufFile(whole).tensors[name].start
    data[start : start + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["blk.1.ffn_down.weight", "token_embd.weight", "output_norm.weight"])
@pytest.mark.parametrize("precision", ["gguf", "fp32"])
def test_L22_a_gguf_tensor_that_is_not_finite_is_named(
    name: str, precision: str, whole: Path, settings: Settings, tmp_path: Path
) -> None:
    infinite = np.full(2, np.inf, np.float32 if "norm" in name else np.float16).tobytes()
    path = patched(whole, tmp_path / "bad.gguf", name, infinite)
    with pytest.raises(ModelRejected, match="non-finite"):
        load_model(ModelConfig(str(path), precision=precision), settings)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_L22_a_safetensors_tensor_that_is_not_finite_is_named(
    value: float, tiny_llama: Path, settings: Settings
) -> None:
    folder = settings.models / "bad"
    folder.mkdir()
    for file in tiny_llama.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelRejected, match="model.layers.1.mlp.up_proj.weight has non-finite values"):
        load_model(ModelConfig("bad"), settings)


def test_L14_a_model_without_template_loads_and_says_so(tiny_llama: Path, settings: Settings, tmp_path: Path) -> None:
    path = tiny.make_gguf(tiny_llama, tmp_path / "plain.gguf", template=None)
    loaded = load_model(ModelConfig(str(path)), settings)
    assert loaded.template is None
    assert "no chat template: plain completion used" in loaded.notes


def test_a_tensor_that_the_architecture_does_not_have_is_refused_rather_than_left_out(
    tiny_qwen3: Path, settings: Settings
) -> None:
    path = tiny.make_gguf(tiny_qwen3, settings.models / "more.gguf")
    path.write_bytes(path.read_bytes().replace(b"attn_q_norm.weight", b"attn_x_norm.weight"))
    with pytest.raises(ModelRejected, match="attn_x_norm.weight of more.gguf has no place in a qwen3 model"):
        load_model(ModelConfig("more.gguf"), settings)


def test_L12_what_does_not_fit_is_told_in_numbers_with_a_precision_that_would(
    whole: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = find_model("embedded", settings)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("", (), {"available": 450_000_000, "total": 10**9}))
    estimate = fit.estimate(entry, ModelConfig(precision="fp32"))
    assert not estimate.fits
    with pytest.raises(DoesNotFit, match=r"^Needs about 0\.8 GB, 0\.5 GB free; int8 would need 0\.4 GB\.$"):
        fit.require(estimate)
    assert fit.sentence(estimate)[1] == "约需 0.8 GB，可用 0.5 GB；改用 int8 约需 0.4 GB。"


def test_L12_where_nothing_fits_the_advice_is_another(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("", (), {"available": 1_000_000, "total": 10**9}))
    with pytest.raises(DoesNotFit, match="Close other programs or choose a smaller model"):
        fit.require(fit.estimate(find_model("embedded", settings), ModelConfig()))


OUT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from llm_app.config import ModelConfig, Settings, quiet_environment
quiet_environment()
from llm_app.engine.loading import load
from llm_app.errors import UserError
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 250 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    for event in load(ModelConfig(precision="fp32"), Settings(home=Path(sys.argv[1]))):
        pass
except UserError as error:
    print(error.message)
print("alive")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")
def test_L13_running_out_of_memory_in_the_middle_of_loading_is_a_sentence(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, str(tmp_path)], capture_output=True, text=True, timeout=100, check=False
    )
    assert "ran out of memory while loading" in child.stdout, child.stderr[-2000:]
    assert child.stdout.endswith("alive\n")


def test_L20_a_load_closed_at_half_gives_the_memory_back(settings: Settings) -> None:
    load_model(ModelConfig("embedded"), settings).close()  # what libraries keep for themselves is there now
    loading.release_memory()
    process = psutil.Process()
    before = process.memory_info().rss
    events = loading.load(ModelConfig("embedded", precision="fp32"), settings)
    for event in events:
        assert isinstance(event, loading.LoadProgress)
        if event.fraction >= 0.5:
            break
    assert process.memory_info().rss > before + 150 * 2**20
    events.close()  # type: ignore[attr-defined]
    assert process.memory_info().rss < 1.05 * before + 50 * 2**20


def test_progress_only_grows(whole: Path, settings: Settings) -> None:
    *events, _ = loading.load(ModelConfig(str(whole)), settings)
    fractions = [event.fraction for event in events if isinstance(event, loading.LoadProgress)]
    assert fractions == sorted(fractions)
    assert min(fractions) >= 0.0 and max(fractions) <= 1.0 and len(fractions) > 10


def test_blocks_asked_of_a_dense_folder_are_refused_with_what_can_be_done(tiny_llama: Path, settings: Settings) -> None:
    with pytest.raises(UserError, match="folder of dense weights. Choose bf16, or int8, nf4 or fp4") as refusal:
        load_model(ModelConfig(str(tiny_llama), precision="gguf"), settings)
    assert refusal.value.param == "precision"


def test_a_gpu_asked_for_where_there_is_none_is_a_sentence(tiny_llama: Path, settings: Settings) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="torch sees no GPU here"):
        load_model(ModelConfig(str(tiny_llama), device="cuda"), settings)
