"""The Classify tab as a person uses it: from a broken table to a trained classifier and the CSV.

Photographs of every stage go to the folder PROOFBENCH_SHOTS, where that is set.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests import tiny
from tests.browser.walk.classify import mode, search_settings, walk_classify
from tests.browser.walk.visitor import View, Visitor
from tests.web.site import Site, serving

OpenPage = Callable[..., Page]
VIEWS = (View("zh", 390, "light"), View("zh", 1280, "dark"), View("en", 390, "dark"))

MODES = [f"mode_classify_{name}" for name in ("one", "table", "train", "entities", "topics")]


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    model = tiny.make_model(tmp_path_factory.mktemp("models") / "wide", n_context=1024)
    with serving(tmp_path_factory.mktemp("home"), model) as site:
        yield site
        site.services.shutdown(0.0)


def visitor(open_page: OpenPage, view: View) -> Visitor:
    shots = os.environ.get("PROOFBENCH_SHOTS")
    return Visitor(open_page(**view.browser), view, Path(shots) if shots else None)


def test_from_a_broken_table_to_a_trained_classifier_and_the_csv_by_clicks(open_page: OpenPage) -> None:
    person = visitor(open_page, View("en", 1280, "light"))
    walk_classify(person)
    person.page.set_viewport_size({"width": 390, "height": 844})
    for name in MODES:
        mode(person, name)
        assert person.page.evaluate("document.documentElement.scrollWidth") <= 390, f"{name} on a phone"


@pytest.mark.verify
@pytest.mark.timeout(600)
@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_the_same_holds_in_both_languages_and_on_a_phone(open_page: OpenPage, view: View) -> None:
    walk_classify(visitor(open_page, view))


@pytest.mark.verify
@pytest.mark.timeout(600)
@pytest.mark.parametrize("view", (View("en", 1280, "light"), View("zh", 390, "light")), ids=str)
def test_settings_are_searched_and_the_best_is_shown_by_clicks(open_page: OpenPage, view: View) -> None:
    search_settings(visitor(open_page, view))
