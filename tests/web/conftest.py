"""One served page for all tests of this folder that do not change it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.site import Site, serving


@pytest.fixture(scope="module")
def site(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Page and tiny model."""
    with serving(tmp_path_factory.mktemp("home"), tiny_llama) as site:
        yield site
