"""The Tune tab as a person uses it: from the example data to the chat with what was learned."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests import tiny
from tests.web.site import Site, serving

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    model = tiny.make_model(tmp_path_factory.mktemp("models") / "wide", n_context=1024)
    with serving(tmp_path_factory.mktemp("home"), model) as site:
        yield site
        site.services.shutdown(0.0)


def tune(page: Page, name: str = "Tune") -> Page:
    page.get_by_role("tab", name=name, exact=True).click()
    expect(page.locator("#tune-example")).to_be_visible()
    return page


def test_example_data_is_planned_trained_found_again_after_a_reload_and_answers_in_the_chat(
    open_page: OpenPage, site: Site
) -> None:
    page = tune(open_page())
    expect(page.locator("#tune-card")).to_contain_text("No training yet")
    page.click("#tune-example")
    expect(page.locator("#tune-data-rows")).to_contain_text("calendar.jsonl")
    page.reload()
    expect(page.locator("#tune-data-rows")).to_contain_text("calendar.jsonl")  # the tab and what lay in it
    for name, value in (("max-steps", "2"), ("accumulation", "1"), ("name", "calendar")):
        page.locator(f"#tune-{name}").locator("input, textarea").fill(value)
        page.locator(f"#tune-{name}").locator("input, textarea").blur()
    expect(page.locator("#tune-plan")).to_contain_text("held back", timeout=60_000)
    page.get_by_role("button", name="The first examples, as the model sees them").click()
    expect(page.locator("#tune-examples mark.trained").first).to_contain_text("|")
    page.get_by_role("button", name="Show the command").click()
    command = re.compile("train --model tiny --data .* --max-steps 2")
    expect(page.locator("#tune-command textarea")).to_have_value(command)
    page.dblclick("#tune-start")
    expect(page.locator("#tune-card .run.live")).to_be_visible(timeout=60_000)
    page.close()
    page = tune(open_page())
    card = page.locator("#tune-card")
    expect(card.locator(".run.good")).to_be_visible(timeout=120_000)
    expect(card.locator("svg .line").first).to_be_attached()
    assert len(site.services.runs().ids()) == 1, "a double click starts one run"
    expect(page.locator("#tune-rows")).to_contain_text("validation loss")
    page.click("#tune-chat")
    expect(page.get_by_role("tab", name="Chat").first).to_have_attribute("aria-selected", "true", timeout=30_000)
    assert site.host.adapter == "calendar"


def test_on_a_phone_in_chinese_nothing_is_wider_than_the_screen_and_a_mapping_can_be_corrected(
    open_page: OpenPage,
) -> None:
    page = tune(open_page(language="zh-CN", width=390, height=844), "微调")
    page.click("#tune-add")
    page.set_input_files("#tune-file input[type=file]", files=[{
        "name": "mine.csv", "mimeType": "text/csv", "buffer": "甲,乙\n一加一？,二\n二加二？,四\n三加三？,\n".encode(),
    }])  # fmt: skip
    expect(page.locator("#tune-data-rows")).to_contain_text("mine.csv", timeout=30_000)
    expect(page.locator("#tune-data-about")).to_contain_text("未知")
    page.locator("#tune-layout input").click()
    page.get_by_role("option", name="提示与补全").click()
    for column, name in (("prompt", "甲"), ("response", "乙")):
        page.locator(f"#tune-column-{column} input").click()
        page.get_by_role("option", name=name, exact=True).click()
        expect(page.get_by_role("option")).to_have_count(0)  # it fades
    expect(page.locator("#tune-data-rows")).to_contain_text("2 个样本", timeout=30_000)
    expect(page.locator("#tune-bad-rows")).to_contain_text("1 行没有成为样本")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
