"""A real Chromium before a real server; every page is watched for errors and for calls to the outside."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from tests.web.site import Site, serving


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a browser."""
    for item in items:
        if "/browser/" in str(item.path):
            item.add_marker(pytest.mark.browser)


# What gradio says of requests that a reload of the page cut off.
CUT_OFF = (
    "AbortError: signal is aborted without reason",
    "Unexpected error Connection errored out.",
    "Unexpected error 404: Not Found",  # of two streams of one page the first to end takes the session away
)
expect.set_options(timeout=15_000)  # the machine may be busy with other tests


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium of this machine, or of $CHROMIUM. Skips without one; in CI that is an error.

    Ends with this folder's tests: while playwright lives, its event loop runs in this thread and `asyncio.run` fails.
    """
    path = (
        os.environ.get("CHROMIUM")
        or shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if not path:
        if os.environ.get("CI") == "true":
            pytest.fail("no chromium in CI; set CHROMIUM")
        pytest.skip("no chromium; install it or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Page and tiny model."""
    with serving(tmp_path_factory.mktemp("home"), tiny_llama) as site:
        yield site


@dataclass
class Watched:
    """What a page did besides what it shows."""

    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    n_opened: int = 0  # documents, over all pages


@pytest.fixture
def watched() -> Watched:
    """Filled while the test runs; `open_page` fails the test if errors or outside requests are left in it."""
    return Watched()


@pytest.fixture
def open_page(browser: Browser, site: Site, watched: Watched) -> Iterator[Callable[..., Page]]:
    """Open the page in a visitor's browser: language, size, light or dark."""
    contexts = []

    def open_one(
        *, language: str = "en-US", width: int = 1280, height: int = 800, path: str = "/", **options: Any
    ) -> Page:
        context = browser.new_context(locale=language, viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: watched.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on("dialog", lambda dialog: (watched.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("domcontentloaded", lambda _: setattr(watched, "n_opened", watched.n_opened + 1))
        page.on("request", lambda request: _note(request.url, site.url, watched))
        page.on("requestfailed", lambda request: _forgive(request, watched))
        page.goto(site.url + path)
        page.wait_for_selector("#message textarea")
        page.wait_for_selector("#model-status .notice")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert watched.outside == []
    has_reloaded = watched.n_opened > len(contexts)
    assert [error for error in watched.errors if not (has_reloaded and error.startswith(CUT_OFF))] == []


def _forgive(request: Request, watched: Watched) -> None:
    """What the page's own policy stopped never left the browser; Chromium announces it all the same."""
    if request.failure == "csp" and request.url in watched.outside:
        watched.outside.remove(request.url)
        watched.stopped.append(request.url)


def _note(url: str, home: str, watched: Watched) -> None:
    if not url.startswith((home, "data:", "blob:")):
        watched.outside.append(url)
