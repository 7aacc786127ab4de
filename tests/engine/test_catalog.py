"""What is listed, what a name means, and what it needs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llm_app.config import ModelConfig, Settings
from llm_app.engine import catalog, fit, packed
from llm_app.engine.gguf_file import GgufFile
from llm_app.engine.memory import bytes_per_position
from llm_app.errors import ModelNotFound, UserError
from tests import tiny
from tests.loads import load_model


@pytest.fixture
def home(tiny_llama: Path, tiny_adapter: Path, settings: Settings) -> Settings:
    """A home with a folder, a GGUF file, an adapter, and things that are none of these."""
    (settings.models / "tiny").symlink_to(tiny_llama)
    tiny.make_gguf(tiny_llama, settings.models / "tiny.gguf")
    (settings.models / "notes.txt").write_text("not a model")
    (settings.models / "empty").mkdir()
    (settings.adapters / "polite").symlink_to(tiny_adapter)
    (settings.adapters / "empty").mkdir()
    broken = settings.adapters / "broken"
    broken.mkdir()
    (broken / "adapter_config.json").write_text("{")
    return settings


def test_the_embedded_model_comes_first_then_what_lies_in_the_folder(home: Settings) -> None:
    entries = catalog.list_models(home)
    assert [(entry.name, entry.kind) for entry in entries] == [
        ("embedded", "embedded"), ("tiny", "folder"), ("tiny.gguf", "gguf")
    ]
    assert all(entry.path.exists() for entry in entries)


def test_every_listed_name_is_found(home: Settings) -> None:
    for entry in catalog.list_models(home):
        assert catalog.find_model(entry.name, home) == entry


def test_a_path_is_a_name_too(home: Settings, tiny_llama: Path) -> None:
    assert catalog.find_model(str(tiny_llama), home).kind == "folder"
    assert catalog.find_model(str(home.models / "tiny.gguf"), home).kind == "gguf"


@pytest.mark.parametrize(
    "name",
    ["", "nothing", "../tiny", "/nowhere", "a/b/c", "tiny.bin", "\x00", pytest.param("x" * 5000, id="long"), "-/-"],
)
def test_an_unknown_name_is_not_found_in_one_sentence(name: str, home: Settings) -> None:
    with pytest.raises(ModelNotFound) as refusal:
        catalog.find_model(name, home)
    assert refusal.value.status == 404 and len(refusal.value.message) < 400


def test_in_public_only_listed_names_are_found_and_no_path_is(
    home: Settings, tiny_llama: Path, tiny_adapter: Path
) -> None:
    public = Settings(home=home.home, is_public=True)
    assert [entry.name for entry in catalog.list_models(public)] == ["embedded", "tiny", "tiny.gguf"]
    for name in (str(tiny_llama), "../models/tiny", "org/model"):
        with pytest.raises(ModelNotFound, match="offers only the models it lists"):
            catalog.find_model(name, public)
    with pytest.raises(ModelNotFound):
        catalog.find_adapter(str(tiny_adapter), public)
    with pytest.raises(ModelNotFound):
        next(catalog.download("org/model", public))


def test_adapters_are_listed_with_the_base_they_name(home: Settings, tiny_llama: Path, tiny_adapter: Path) -> None:
    base = json.loads((tiny_adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert [(entry.name, entry.base) for entry in catalog.list_adapters(home)] == [("polite", base)]
    assert catalog.find_adapter("polite", home).path == home.adapters / "polite"
    assert catalog.find_adapter(str(tiny_adapter), home).name == tiny_adapter.name
    with pytest.raises(ModelNotFound, match="No adapter nobody"):
        catalog.find_adapter("nobody", home)


def test_names_are_looked_up_without_importing_torch(home: Settings) -> None:
    """A mistyped name on the command line is told at once."""
    code = (
        "import sys; from pathlib import Path; from llm_app.config import Settings\n"
        "from llm_app.engine import catalog\n"
        "catalog.list_models(Settings(home=Path(sys.argv[1]))); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(home.home)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert child.stdout == "False\n"


def test_the_encoder_that_comes_along_is_found_and_is_the_published_one() -> None:
    assert (catalog.embedded_encoder() / "model.safetensors").is_file()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "nf4", "gguf"])
def test_the_estimate_is_what_the_embedded_model_really_takes(precision: str, settings: Settings) -> None:
    config = ModelConfig("embedded", precision=precision)
    n_bytes = load_model(config, settings).n_bytes
    estimate = fit.estimate(catalog.find_model("embedded", settings), config)
    beside_weights = fit.OVERHEAD_BYTES + 2 * 30 * 3 * 64 * 2 * fit.CACHE_TOKENS
    assert abs(estimate.needs_bytes - beside_weights - n_bytes) < 0.04 * n_bytes
    assert estimate.fits and estimate.suggestion is None


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0"])
def test_the_estimate_knows_which_matrices_stay_in_blocks(kind: str, tiny_llama: Path, settings: Settings) -> None:
    """This vocabulary is no multiple of sixteen, so that neither table can."""
    path = tiny.make_gguf(tiny_llama, settings.models / f"{kind}.gguf", kind=kind)
    assert "output.weight" in GgufFile(path).tensors
    config = ModelConfig(path.name, precision="gguf")
    estimate = fit.estimate(catalog.find_model(path.name, settings), config)
    loaded = load_model(config, settings)
    of_cache = bytes_per_position(loaded.model) * min(loaded.n_context, fit.CACHE_TOKENS)
    weights = estimate.needs_bytes - fit.OVERHEAD_BYTES - of_cache
    assert abs(weights - loaded.n_bytes) < 0.02 * loaded.n_bytes


@pytest.mark.parametrize(
    ("kind", "is_tied", "bytes_of_a_weight"),
    [("Q4_0", False, 2.0), ("Q8_0", False, 1.0625), ("Q4_0", True, 2.625), ("Q8_0", True, 2.125), ("", True, 2.0)],
)
def test_an_embedding_is_counted_as_what_it_is_looked_up_in(
    kind: str, is_tied: bool, bytes_of_a_weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "total_bytes", lambda: 0)  # no dense copies beside blocks
    embedding = fit._matrix("token_embd.weight", (64, 32), kind)
    assert fit._weight_bytes([embedding], "gguf", is_tied, has_copy=False) == 64 * 32 * bytes_of_a_weight


def test_an_estimate_of_broken_files_is_a_refusal(settings: Settings) -> None:
    (settings.models / "bad.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match="incomplete"):
        fit.estimate(catalog.find_model("bad.gguf", settings), ModelConfig("bad.gguf"))


def test_the_sentence_is_given_in_both_languages() -> None:
    assert fit.sentence(fit.Fit(15_200_000_000, 3_100_000_000, "int8", 8_000_000_000)) == (
        "Needs about 15.2 GB, 3.1 GB free; int8 would need 8.0 GB.",
        "约需 15.2 GB，可用 3.1 GB；改用 int8 约需 8.0 GB。",
    )
