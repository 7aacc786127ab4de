"""Faults while a model is found, fetched and loaded: a sentence, the memory back, nothing half done."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
def test_L22_a_safetensors_tensor_that_is_not_finite_is_named(value: float, tiny_llama: Path, settings: Settings) -> None:
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
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("", (), {"available": 450_000_000}))
    estimate = fit.estimate(entry, ModelConfig(precision="fp32"))
    assert not estimate.fits
    with pytest.raises(DoesNotFit, match=r"^Needs about 0\.8 GB, 0\.5 GB free; int8 would need 0\.4 GB\.$"):
        fit.require(estimate)
    assert fit.sentence(estimate)[1] == "约需 0.8 GB，可用 0.5 GB；改用 int8 约需 0.4 GB。"


def test_L12_where_nothing_fits_the_advice_is_another(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("", (), {"available": 1_000_000}))
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
    fractions = [e.fraction for e in loading.load(ModelConfig(str(whole)), settings) if isinstance(e, loading.LoadProgress)]
    assert fractions == sorted(fractions)
    assert 0.0 <= fractions[0] and fractions[-1] <= 1.0 and len(fractions) > 10


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


# The fake hub knows one model for each thing that can go wrong.
SHA = "0123456789abcdef0123456789abcdef01234567"
HUB_CASES = {
    "org/missing": "not found on the hub",
    "org/gated": "needs access",
    "org/broken": "answered 500",
    "org/huge": "needs 9000000.0 GB of disk",
    "org/pickles": "only safetensors/GGUF are accepted",
    "org/cut": "what is fetched already is kept",
}
FETCH = """
import json, sys
from pathlib import Path
from llm_app.config import Settings
from llm_app.engine import catalog
from llm_app.errors import UserError
settings, told = Settings(home=Path(sys.argv[1])), {}
for name in sys.argv[2:]:
    try:
        fractions = list(catalog.download(name, settings))
        told[name] = f"fetched {fractions[-1]} to {catalog.find_model(name, settings).path}"
    except UserError as error:
        told[name] = f"{error.code}: {error.message}"
told["listed"] = [entry.name for entry in catalog.list_models(settings)]
print(json.dumps(told))
"""


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download needs."""

    files: dict[str, bytes] = {}

    def do_HEAD(self) -> None:
        self.do_GET(with_body=False)

    def do_GET(self, with_body: bool = True) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        errors = {"org/missing": (404, "RepoNotFound"), "org/gated": (403, "GatedRepo"), "org/broken": (500, "")}
        if name in errors:
            status, code = errors[name]
            self.answer(status, b"", {"X-Error-Code": code} if code else {}, with_body)
        elif parts[0] == "api":
            sizes = {file: len(data) for file, data in self.files.items()}
            sizes = {"model.safetensors": 9 * 10**15} if name == "org/huge" else sizes
            sizes = {"pytorch_model.bin": 10} if name == "org/pickles" else sizes
            siblings = [{"rfilename": file, "size": size} for file, size in sizes.items()]
            info = {"_id": "1", "id": name, "sha": SHA, "siblings": siblings}
            self.answer(200, json.dumps(info).encode(), {"Content-Type": "application/json"}, with_body)
        else:
            data = self.files[parts[-1]]
            headers = {"ETag": f'"{hash(data):x}"', "X-Repo-Commit": SHA}
            self.answer(200, data, headers, with_body, is_cut=name == "org/cut" and parts[-1].endswith(".safetensors"))

    def answer(self, status: int, data: bytes, headers: dict[str, str], with_body: bool, is_cut: bool = False) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(data[: len(data) // 2] if is_cut else data)
        self.close_connection = is_cut

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub(tiny_llama: Path) -> Iterator[str]:
    Hub.files = {file.name: file.read_bytes() for file in tiny_llama.iterdir() if file.is_file()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def fetch(names: list[str], home: Path, endpoint: str, *, offline: bool = False) -> dict:
    """What a process of its own is told, since the hub library reads its settings when it is imported."""
    environment = {
        **os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1" if offline else "0",
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "3", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
    }
    child = subprocess.run(
        [sys.executable, "-c", FETCH, str(home), *names],
        env=environment, capture_output=True, text=True, timeout=110, check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return json.loads(child.stdout.splitlines()[-1])


def test_L18_each_reason_why_a_hub_model_cannot_be_had_has_its_own_sentence(hub: str, tmp_path: Path) -> None:
    told = fetch([*HUB_CASES, "org/good"], tmp_path, hub)
    for name, sentence in HUB_CASES.items():
        assert sentence in told[name], told[name]
    assert told["org/good"].startswith("fetched 1.0 to ")
    # What came only in part is not offered.
    assert told["listed"] == ["embedded", "org/good"]


@pytest.mark.parametrize("offline", [True, False])
def test_L18_without_network_it_says_no_network(offline: bool, tmp_path: Path) -> None:
    told = fetch(["org/good"], tmp_path, "http://127.0.0.1:9", offline=offline)  # nothing listens on port 9
    assert told["org/good"].startswith("no_network: No network: ")


def test_L18_a_hub_name_that_is_not_here_is_told_with_how_to_fetch_it(settings: Settings) -> None:
    with pytest.raises(UserError, match="org/nowhere is not on this machine. Fetch it first: hf download org/nowhere"):
        find_model("org/nowhere", settings)
