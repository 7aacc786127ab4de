"""Results, comparison, samples and export as a person uses them, on runs made of numbers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr
import pytest
from playwright.sync_api import Page, expect

from llm_app.services import Services
from llm_app.web import page as page_module
from llm_app.web.benchmark.results import build_results
from tests.browser.test_payloads import PAYLOADS
from tests.web.made_results import choice_event, choice_run, text_run
from tests.web.site import Site, serving

OpenPage = Callable[..., Page]
BASE, TUNED = [True] * 20 + [False] * 40, [False] * 2 + [True] * 43 + [False] * 15


@pytest.fixture(scope="module")
def site(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A page with the results alone, and a box that says of which run."""

    def build(page: gr.Blocks, services: Services) -> None:
        selected = gr.State("")
        run = gr.Textbox(elem_id="run", label="run")
        run.submit(lambda value: value, [run], [selected], api_visibility="private")
        build_results(page, services, selected)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "TABS", (*page_module.TABS[:1], ("result_view_plots", build)))
        with serving(tmp_path_factory.mktemp("home"), tiny_llama) as site:
            yield site


def show(page: Page, run: str) -> None:
    page.get_by_role("tab").nth(1).click()
    page.fill("#run textarea, #run input", run)
    page.press("#run textarea, #run input", "Enter")
    expect(page.locator("#results-table table").first).to_be_visible()


def view(page: Page, number: int) -> None:
    page.locator("#results").get_by_role("tab").nth(number).click()


def test_a_run_is_read_compared_and_exported_by_clicks_only(open_page: OpenPage, site: Site) -> None:
    store = site.services.runs()
    choice_run(store, BASE)
    page = open_page()
    show(page, choice_run(store, TUNED, adapter_name="lora", adapter="a" * 64).id)
    page.locator("details.what summary").first.click()
    expect(page.get_by_text("43 right / 60 samples = 0.717")).to_be_visible()
    view(page, 1)
    page.get_by_label("Wrong").check()
    expect(page.locator("#samples-count")).to_contain_text("Samples 1 to 17 of 17")
    page.locator("#samples-list summary").first.click()
    expect(page.locator("#samples-list").get_by_text("Prompt, exactly as sent").first).to_be_visible()
    view(page, 2)
    page.click("#compare-partner")
    expect(page.locator("#verdict .verdict")).to_contain_text("Overall: better.")
    page.locator("#changes-kind").get_by_label("Broken").check()
    expect(page.locator("#changes-list details.sample")).to_have_count(2)
    view(page, 3)
    expect(page.locator("#export-form input")).to_have_value("HTML report, one file (English)")
    expect(page.locator("#export-notice")).to_contain_text("is ready")
    with page.expect_download() as download:
        page.click("#export-download")
    assert "Did it help?" in Path(download.value.path()).read_text(encoding="utf-8")
    assert "python -m llm_app benchmark" in page.input_value("#repeat-command textarea")


def test_what_is_open_stays_open_when_more_is_scored(open_page: OpenPage, site: Site) -> None:
    folder = choice_run(site.services.runs(), [True, False], n_asked=9, ends=False)
    page = open_page()
    show(page, folder.id)
    expect(page.locator("#results-table")).to_contain_text("partial: 2 of 9")
    page.locator("details.what summary").first.click()
    with folder:
        folder.append([choice_event(2, True) | {"done": 3}])
    expect(page.locator("#results-table")).to_contain_text("partial: 3 of 9", timeout=15_000)
    expect(page.get_by_text("2 right / 3 samples = 0.667")).to_be_visible()


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
def test_nothing_scrolls_sideways_on_a_phone(open_page: OpenPage, site: Site, language: str) -> None:
    page = open_page(language=language, width=390, height=844)
    show(page, choice_run(site.services.runs(), BASE).id)
    for number in range(4):
        view(page, number)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, number


def test_D1_no_payload_of_a_model_runs_in_the_browser_of_samples(open_page: OpenPage, site: Site) -> None:
    page = open_page()
    show(page, text_run(site.services.runs(), PAYLOADS[:20], list(PAYLOADS[20:40])).id)
    view(page, 1)
    for summary in page.locator("#samples-list details.sample > summary").all():
        summary.click()
    page.wait_for_timeout(300)
    assert page.evaluate("window.__pwned") is None
    assert page.locator("#samples-list").locator("script, iframe, img, a, form, object, embed, svg").count() == 0
