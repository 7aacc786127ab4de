"""Every clause of the screens Model bar, Chat and Benchmark, by clicks, in both languages, wide and on a phone.

A walk fails where something is not in sight in the language of the page, where the page scrolls sideways, and, by
`open_page`, at an error in the browser's console and at a request to anywhere else than this machine.
Photographs of every stage go to the folder PROOFBENCH_SHOTS, where that is set.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests import tiny
from tests.browser.walk.benchmark import make_hub, walk_benchmark
from tests.browser.walk.chat import walk_chat
from tests.browser.walk.model_bar import make_huge, walk_model_bar
from tests.browser.walk.visitor import View, Visitor
from tests.web.site import Site, serving

pytestmark = [pytest.mark.verify, pytest.mark.timeout(900)]
VIEWS = (
    View("en", 1280, "light"), View("zh", 390, "light"), View("zh", 1280, "dark"), View("en", 390, "dark"),
)  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A page with a tiny model; beside it a packed one, one that is too large, two adapters and a data set."""
    home = tmp_path / "home"
    # Its context takes the prompts of the suite.
    model = tiny.make_model(tmp_path / "model", n_context=1024)
    for number, name in enumerate(("poet", "terse")):
        tiny.make_adapter(model, home / "adapters" / name, seed=number)
    (home / "models").mkdir()
    tiny.make_gguf(model, home / "models" / "packed.gguf")
    make_huge(model, home / "models" / "huge")
    with serving(home, model, data=make_hub(tmp_path / "hub")) as site:
        yield site


@pytest.fixture(params=VIEWS, ids=str)
def visitor(request: pytest.FixtureRequest, open_page: Callable[..., Page]) -> Visitor:
    """Somebody who looks at the page in one of the four ways."""
    view: View = request.param
    shots = os.environ.get("PROOFBENCH_SHOTS")
    return Visitor(open_page(**view.browser), view, Path(shots) if shots else None)


def test_every_clause_of_the_model_bar_holds_by_clicks(visitor: Visitor) -> None:
    walk_model_bar(visitor)


def test_every_clause_of_chat_holds_by_clicks(visitor: Visitor, site: Site) -> None:
    walk_chat(visitor, site)


def test_every_clause_of_benchmark_holds_by_clicks(visitor: Visitor, site: Site) -> None:
    walk_benchmark(visitor, site)
