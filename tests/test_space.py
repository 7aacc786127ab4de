"""A Hugging Face Space: reachable through its proxy, public, the model from the cache that its build filled."""

from pathlib import Path

import pytest

from llm_app.config import Settings
from llm_app.engine import catalog
from llm_app.errors import ModelNotFound


def test_without_its_package_the_embedded_model_is_the_pinned_snapshot_of_the_hub(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name, commit = catalog._MODEL_ON_HUB
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(catalog, "_MODEL_PACKAGE", ("no_such_package", "no-such-package"))
    settings = Settings.from_environment({"SPACE_ID": "somebody/proofbench", "PROOFBENCH_HOME": str(tmp_path / "home")})
    with pytest.raises(ModelNotFound, match="no-such-package"):
        catalog.find_model("embedded", settings)

    # A Space is built at a commit: there is a snapshot, but no reference from main to it.
    snapshots = tmp_path / f"models--{name.replace('/', '--')}" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / commit).symlink_to(tiny_llama, target_is_directory=True)
    entry = catalog.find_model("embedded", settings)
    assert entry.path == snapshots / commit
    assert [model.name for model in catalog.list_models(settings)] == ["embedded"]
    with pytest.raises(ModelNotFound):
        catalog.find_model(name, settings)
