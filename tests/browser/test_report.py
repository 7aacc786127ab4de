"""The HTML report in a real Chromium: quiet, self-contained, readable on a phone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from eval.report import Reported, export
from tests.browser.test_payloads import PAYLOADS
from tests.eval.reported_runs import choice_task, reported, written_task

NAMES = ("arc_easy", "hellaswag", "a_task_with_a_rather_long_name_of_its_own", "boolq")


def run(label: str, n_right: int) -> Reported:
    tasks = [choice_task(n_right + i, 20, name=name) for i, name in enumerate(NAMES)]
    return reported(*tasks, written_task("word " * 400 + "x" * 300), label=label)


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens a report from a file; at the end nothing was said on the console and nothing was fetched."""
    contexts, said, fetched = [], [], []

    def show(runs: list[Reported], *, width: int = 1280, scheme: str = "light", language: str = "en") -> Page:
        path = tmp_path / "report.html"
        path.write_text(export(runs, "html", language=language), encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true })")
        return page

    yield show
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in fetched if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("labels", [["one"], ["one", "two"]], ids=["one run", "two runs"])
def test_nothing_scrolls_sideways(show, language: str, width: int, labels: list[str]):
    page = show([run(label, 9 + i) for i, label in enumerate(labels)], width=width, language=language)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_bars_are_as_long_as_their_scores(show):
    page = show([run("one", 9)])
    track, bar = (page.locator(f"svg.bars rect.{name}").first.bounding_box() for name in ("track", "bar"))
    assert bar["width"] / track["width"] == pytest.approx(9 / 20, abs=0.005)


def test_light_and_dark_follow_the_reader(show):
    script = "getComputedStyle(document.body).backgroundColor"
    light, dark = (show([run("one", 9)], scheme=scheme).evaluate(script) for scheme in ("light", "dark"))
    assert (light, dark) == ("rgb(251, 251, 250)", "rgb(21, 21, 20)")


def test_text_in_plots_keeps_its_size_on_a_phone(show):
    sizes = [
        show([run("one", 9)], width=width).locator("svg.bars text").first.bounding_box()["height"]
        for width in (390, 1280)
    ]
    assert sizes[0] == pytest.approx(sizes[1], abs=0.5)


@pytest.mark.parametrize("labels", [["one"], ["a model with a name of some length (fp32)", "two"]], ids=["one", "two"])
def test_no_two_texts_of_a_plot_lie_over_each_other_on_a_phone(show, labels: list[str]):
    page = show([run(label, 9) for label in labels], width=390)
    boxes = page.locator("svg.bars text").evaluate_all(
        "texts => texts.map(text => text.getBoundingClientRect()).map(b => [b.left, b.right, b.top + 3, b.bottom - 3])"
    )
    over = [
        (a, b) for i, a in enumerate(boxes) for b in boxes[:i]
        if a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
    ]
    assert over == []


def test_a_sample_opens_without_a_script(show):
    page = show([run("one", 9)])
    expect(page.get_by_text("Prompt, exactly as sent").first).to_be_visible()


def test_no_payload_of_a_model_runs_or_fetches(show):
    page = show([reported(*(written_task(text, name=f"task {n}") for n, text in enumerate(PAYLOADS)))])
    assert page.evaluate("window.__pwned") is None
    assert page.evaluate("document.querySelectorAll('script, iframe, form, img, a, object, embed').length") == 0
