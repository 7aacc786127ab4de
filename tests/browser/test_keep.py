"""Kept conversations as a person uses them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from llm_app.web.chat.handlers import ChatHandlers
from llm_app.web.chat.views import MAX_SHOWN
from tests.browser.conftest import Watched
from tests.browser.test_chat import answered, messages, replies, say, short
from tests.web.keeping import kept
from tests.web.site import Site, serving

OpenPage = Callable[..., Page]


def unfold_list(page: Page) -> None:
    page.locator("#keep .label-wrap").first.click()
    expect(page.locator("#keep-search")).to_be_visible()


def test_versions_continue_branch_and_details_under_each_message(open_page: OpenPage) -> None:
    page = open_page()
    short(page, 12)
    say(page, "hello")
    answered(page, 1)
    first = replies(page)
    page.click("#conversation button[name=again]")
    expect(page.locator("#conversation .versions")).to_contain_text("2 / 2")
    page.click("#conversation button[name=show]")
    expect(page.locator("#conversation .versions")).to_contain_text("1 / 2")
    assert replies(page) == first
    page.click("#conversation button[name=continue]")
    expect(page.locator("#conversation .versions")).to_contain_text("3 / 3")
    page.locator("#conversation summary").last.click()
    details = page.locator("#conversation details").last
    for words in ("tiny", "fp32", "Prompt tokens", "Output tokens", "Time to first token", "Seed", "Max new tokens 12"):
        expect(details).to_contain_text(words, use_inner_text=True)
    page.locator("#conversation .user-row button[name=branch]").first.click()
    expect(page.locator("#chat-notice")).to_contain_text("A conversation of its own")
    expect(messages(page)).to_have_count(1)
    expect(page.locator("#conversation .bot-row")).to_have_count(0)


def test_the_box_to_edit_a_message_is_wide_and_has_room_for_lines(open_page: OpenPage) -> None:
    page = open_page()
    short(page)
    say(page, "hi")
    answered(page, 1)
    messages(page).first.locator("button:visible").nth(1).click()
    box = page.locator("#conversation textarea").bounding_box()
    whole = page.locator("#conversation").bounding_box()
    assert box and whole and box["height"] >= 120 and box["width"] >= 0.75 * whole["width"]


def test_a_cleared_conversation_can_be_brought_back(open_page: OpenPage) -> None:
    page = open_page()
    short(page)
    say(page, "keep me")
    answered(page, 1)
    page.click("#new-chat")
    expect(messages(page)).to_have_count(0)
    page.click("#undo-clear")
    expect(messages(page)).to_contain_text("keep me")
    say(page, "and more")
    answered(page, 2)


def test_the_list_finds_opens_renames_deletes_and_brings_back(open_page: OpenPage, site: Site) -> None:
    made = kept(site, "a question about 困惑度", "an answer")
    kept(site, "something else", "b")
    page = open_page()
    unfold_list(page)
    page.locator("#keep-search input, #keep-search textarea").fill("困惑")
    expect(page.locator("#kept .row")).to_have_count(1)
    page.click(f"#kept button[name=open][value={made.id}]")
    expect(messages(page)).to_contain_text("a question about 困惑度")
    page.locator("#keep-title input, #keep-title textarea").fill("Mine")
    page.locator("#keep-title input, #keep-title textarea").press("Enter")
    expect(page.locator("#kept .row.open .name")).to_have_text("Mine")
    page.locator("#kept .row.open").hover()
    page.click(f"#kept button[name=delete][value={made.id}]")
    expect(messages(page)).to_have_count(0)
    page.click("#undo-delete")
    expect(messages(page)).to_contain_text("a question about 困惑度")


def test_whoever_searches_before_the_page_has_all_its_answers_finds_no_more_than_that(
    open_page: OpenPage, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(site, "about 困惑度 and more", "an answer")
    kept(site, "something else", "b")
    is_answered, settled = threading.Event(), ChatHandlers.seen

    def late(*arguments: Any) -> Any:
        if not is_answered.is_set():
            time.sleep(2)
            is_answered.set()
        return settled(*arguments)

    monkeypatch.setattr(ChatHandlers, "seen", late)
    page = open_page()
    unfold_list(page)
    page.locator("#keep-search input, #keep-search textarea").fill("困惑度 and")
    assert is_answered.wait(10)
    page.wait_for_timeout(1_000)
    expect(page.locator("#kept .row")).to_have_count(1)


def test_a_conversation_goes_out_as_a_file_and_comes_in_again(open_page: OpenPage, site: Site, tmp_path: Path) -> None:
    made = kept(site, "take <b>me</b> along", "yes")
    page = open_page(accept_downloads=True)
    unfold_list(page)
    page.click(f"#kept button[name=open][value={made.id}]")
    expect(messages(page)).to_contain_text("take <b>me</b> along")
    with page.expect_download() as download:
        page.click("#export-json")
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert json.loads(file.read_text("utf-8"))["messages"][0]["content"] == "take <b>me</b> along"
    page.click("#new-chat")
    expect(messages(page)).to_have_count(0)
    with page.expect_file_chooser() as chooser:
        page.click("#import button")
    chooser.value.set_files(file)
    expect(messages(page)).to_contain_text("take <b>me</b> along")
    expect(page.locator("#keep-notice")).to_contain_text("Imported: 1")


def test_a_preset_fills_the_form_and_a_moved_slider_leaves_it(open_page: OpenPage) -> None:
    page = open_page()
    chosen = page.locator("#preset input")
    expect(chosen).to_have_value("Balanced · 均衡")
    chosen.click()
    page.locator("[role=option]", has_text="Exact").click()
    expect(page.locator("#option-temperature input[type=number]")).to_have_value("0")
    page.locator("#option-temperature input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect(chosen).to_have_value("Custom · 自定义")
    chosen.click()
    page.locator("[role=option]", has_text="Balanced").click()
    page.locator("#option-temperature input[type=number]").fill("0.9")
    page.locator("#option-temperature input[type=number]").press("Tab")
    expect(chosen).to_have_value("Custom · 自定义")


def test_W14_a_conversation_of_five_hundred_messages_opens_and_takes_a_key_at_once(
    open_page: OpenPage, site: Site
) -> None:
    made = kept(site, *(f"message {n} with **bold** words and `code`" for n in range(500)))
    page = open_page()
    unfold_list(page)
    page.click(f"#kept button[name=open][value={made.id}]")
    expect(messages(page).last).to_contain_text("message 498")
    page.locator("#conversation button[name=earlier]").click(force=True)
    expect(messages(page)).to_have_count(MAX_SHOWN, timeout=60_000)
    busy = page.evaluate(
        """async () => {
          const box = document.querySelector("#message textarea");
          const started = performance.now();
          box.value = "x"; box.dispatchEvent(new Event("input", { bubbles: true }));
          await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
          return performance.now() - started;
        }"""
    )
    assert busy < 5_000, "the page does not work through the whole conversation for a key; a busy machine has room"
    short(page, 1)
    say(page, "and now")
    expect(messages(page).last).to_contain_text("and now", timeout=30_000)

def test_W5_an_open_page_says_that_it_is_outdated_when_the_program_was_started_anew(
    open_page: Callable[..., Page], site: Site
) -> None:
    page = open_page(language="zh-CN")
    kept = site.page.app_id
    site.page.app_id = kept + 2**40  # what a new start draws
    try:
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.get_by_role("alert").filter(has_text="页面已过期")).to_be_visible()
    finally:
        site.page.app_id = kept
    page.get_by_role("button", name="重新加载").click()
    expect(page.locator("#message textarea")).to_be_visible()
    expect(page.locator("#outdated")).to_have_count(0)


def test_W5_an_open_page_says_that_its_server_is_gone_and_loads_itself_again_when_there_is_one(
    open_page: Callable[..., Page], watched: Watched
) -> None:
    page = open_page(language="zh-CN")
    page.context.set_offline(True)
    page.click("#unload")  # whatever asks the server
    expect(page.get_by_role("alert").filter(has_text="服务器没有响应")).to_be_visible()
    expect(page.get_by_text("Connection to the server was lost")).to_be_hidden()
    page.context.set_offline(False)
    expect(page.locator("#outdated")).to_have_count(0)
    expect(page.locator("#message textarea")).to_be_visible()
    without_server = ("Failed to load resource", "TypeError: Failed to fetch")
    watched.errors[:] = [error for error in watched.errors if not error.startswith(without_server)]


@pytest.fixture
def two_tabs(browser: Browser, tiny_llama: Path, tmp_path: Path) -> Iterator[tuple[Page, Page]]:
    """A visitor of a public page with two tabs."""
    with serving(tmp_path, tiny_llama, is_public=True) as public:
        context = browser.new_context(locale="en-US")
        pages = context.new_page(), context.new_page()
        for page in pages:
            page.goto(public.url)
            page.wait_for_selector("#model-status .notice")
            unfold_list(page)
        yield pages
        context.close()


def test_two_tabs_of_a_visitor_keep_one_list_and_neither_brings_back_what_the_other_deleted(
    two_tabs: tuple[Page, Page],
) -> None:
    for page, words in zip(two_tabs, ("from one", "from two"), strict=True):
        short(page, 1)
        say(page, words)
        answered(page, 1)
    for page in two_tabs:
        expect(page.locator("#kept .row .name")).to_have_text(["from two", "from one"])
    two_tabs[1].locator("#kept .row", has_text="from one").hover()
    two_tabs[1].locator("#kept .row", has_text="from one").locator("button[name=delete]").click()
    expect(two_tabs[0].locator("#kept .row .name")).to_have_text(["from two"])
    two_tabs[0].reload()
    unfold_list(two_tabs[0])
    expect(two_tabs[0].locator("#kept .row .name")).to_have_text(["from two"])
