"""Importing gradio without its stub files."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from llm_app.web.stubs import without_stubs

COMPONENT = "from gradio.components import HTML\n\n\nclass Own(HTML):\n    EVENTS = []\n"


@pytest.fixture
def component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module with a component that counts as one of gradio's, not run yet."""
    file = tmp_path / "own.py"
    file.write_text(COMPONENT)
    spec = spec_from_file_location("gradio.own", file)
    assert spec is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gradio.own", module)  # where inspect looks for a class's file
    return module


def run(module: ModuleType) -> list[str]:
    """The stub files beside it afterwards."""
    assert module.__spec__ is not None and module.__spec__.loader is not None and module.__file__ is not None
    module.__spec__.loader.exec_module(module)
    return [file.name for file in Path(module.__file__).parent.glob("*.pyi")]


def test_no_stub_file_is_written_beside_a_component(component: ModuleType) -> None:
    with without_stubs():
        assert run(component) == []


def test_gradio_by_itself_still_writes_stub_files(component: ModuleType) -> None:
    # When this fails, gradio has mended it and llm_app/web/stubs.py can go.
    assert run(component) == ["own.pyi"]
