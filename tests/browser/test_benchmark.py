"""The Benchmark tab as a person uses it, up to the result."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests import tiny
from tests.live import slowed
from tests.web.site import Site, serving

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Page and tiny model, whose context takes the suite's prompts."""
    model = tiny.make_model(tmp_path_factory.mktemp("models") / "wide", n_context=1024)
    with serving(tmp_path_factory.mktemp("home"), model) as site:
        yield site


def benchmark(page: Page, name: str = "Benchmark") -> Page:
    page.get_by_role("tab", name=name).click()
    expect(page.locator("#suite-smoke")).to_be_visible()
    return page


def test_smoke_is_chosen_checked_started_found_again_after_closing_the_tab_stopped_resumed_and_noted(
    open_page: OpenPage, site: Site
) -> None:
    page = benchmark(open_page())
    expect(page.locator("#benchmark-card")).to_contain_text("No run yet")
    page.fill("#option-limit input, #option-limit textarea", "6")
    page.click("#suite-smoke")
    expect(page.locator("#preflight .facts")).to_contain_text("48 samples", timeout=60_000)
    expect(page.locator("#preflight")).to_contain_text("measured", timeout=60_000)
    page.get_by_role("button", name="Show the command").click()
    expect(page.locator("#benchmark-command textarea")).to_have_value(re.compile("--tasks=smoke --limit=6"))
    page.get_by_role("button", name="The first prompt, as the model gets it").click()
    expect(page.locator("#first-prompts")).to_contain_text("<|im_start|>user")
    with slowed(site.host, 1.5):
        page.dblclick("#benchmark-start")
        card = page.locator("#benchmark-card")
        expect(card).to_contain_text("running", timeout=60_000)
        expect(card).to_contain_text(re.compile(r"[1-9]\d* of 48 samples"), timeout=60_000)
        page.close()
        page = benchmark(open_page())
        card = page.locator("#benchmark-card")
        expect(card).to_contain_text("running", timeout=30_000)
        page.click("#benchmark-stop")
        expect(card).to_contain_text("Stopped before its end", timeout=30_000)
    assert len(site.services.runs().ids()) == 1, "a double click starts one run"
    page.click("#benchmark-resume")
    expect(card.locator(".run.good")).to_be_visible(timeout=90_000)
    expect(page.locator("#results-table")).to_contain_text("smoke_sentiment_en", timeout=30_000)
    page.fill("#benchmark-note input, #benchmark-note textarea", "before the change")
    page.press("#benchmark-note input, #benchmark-note textarea", "Enter")
    expect(page.locator("#benchmark-rows")).to_contain_text("before the change")


def test_tasks_are_found_by_words_ticked_and_taken_away_again(open_page: OpenPage) -> None:
    page = benchmark(open_page(language="zh-CN", width=390, height=844), "评测")
    page.click("#pick-tasks")
    expect(page.locator("#task-rows li")).to_have_count(10, timeout=60_000)
    page.locator("#find-tasks input, #find-tasks textarea").press_sequentially("lambada")
    expect(page.locator("#task-rows li").first).to_contain_text("lambada", timeout=30_000)
    expect(page.locator("#task-rows")).to_contain_text("本机没有数据")
    page.locator("#task-ticks label").first.click()
    expect(page.locator("#chosen label")).to_have_count(1)
    expect(page.locator("#benchmark-notice")).to_contain_text("PROOFBENCH_DATA", timeout=60_000)
    page.locator("#chosen label").click()
    expect(page.locator("#chosen")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_run_is_deleted_after_one_question(open_page: OpenPage, site: Site) -> None:
    page = benchmark(open_page())
    expect(page.locator("#benchmark-rows li")).to_have_count(1)
    page.click("#benchmark-delete")
    page.click("#benchmark-keep")
    expect(page.locator("#benchmark-delete-yes")).to_be_hidden()
    page.click("#benchmark-delete")
    page.click("#benchmark-delete-yes")
    expect(page.locator("#benchmark-card")).to_contain_text("No run yet")
    assert site.services.runs().ids() == []
