"""Which files a visitor can make the program open."""

from dataclasses import replace
from pathlib import Path

import pytest

from llm_app.config import ModelConfig, Settings
from llm_app.engine import catalog
from llm_app.engine.host import Host
from llm_app.errors import ModelNotFound
from tests import tiny


@pytest.mark.parametrize(
    "name", ["{path}", "../outside", "{path}/model.safetensors", "org/model", "/etc", "file:///etc"]
)
def test_A7_in_public_mode_a_path_or_a_hub_name_is_not_a_model(name: str, tmp_path: Path, settings: Settings) -> None:
    outside = tiny.make_model(tmp_path / "outside")
    public, name = replace(settings, is_public=True), name.format(path=outside)
    with pytest.raises(ModelNotFound):
        catalog.find_model(name, public)
    with pytest.raises(ModelNotFound):
        next(Host(public).load(ModelConfig(name)))


@pytest.mark.parametrize("name", ["{path}", "../outside"])
def test_A7_in_public_mode_a_path_is_not_an_adapter(
    name: str, tiny_adapter: Path, tmp_path: Path, settings: Settings
) -> None:
    public = replace(settings, is_public=True)
    with pytest.raises(ModelNotFound):
        catalog.find_adapter(name.format(path=tiny_adapter), public)


def test_A7_a_listed_model_is_found_in_public_mode(settings: Settings) -> None:
    tiny.make_model(settings.models / "listed")
    assert catalog.find_model("listed", replace(settings, is_public=True)).path == settings.models / "listed"
