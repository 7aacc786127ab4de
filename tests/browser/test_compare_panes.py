"""Comparison and token view in a real browser: two panes, a blind vote, a card by pointer and by keyboard."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

TEXT = "the quick brown fox 你好 jumps over"


def ready(page: Page, mode: str, n_tokens: int = 8) -> None:
    page.locator("#option-max-new-tokens input[type=number]").fill(str(n_tokens))
    page.get_by_role("tab", name=mode).click()


def test_two_panes_answer_and_a_blind_vote_names_them(open_page: Callable[..., Page]) -> None:
    page = open_page()
    ready(page, "Compare", 40)  # two answers of a few tokens may be the same, and then no pair to learn from
    expect(page.locator("#vote-a")).to_be_disabled()
    page.fill("#compare-message textarea", "hello there")
    page.click("#compare-send")
    expect(page.locator("#vote-a")).to_be_enabled()
    expect(page.locator("#head-a")).to_have_text(re.compile("Answer A"))
    for side in "ab":
        expect(page.locator(f"#pane-{side} .message-row")).to_have_count(1)
    page.click("#vote-b")
    expect(page.locator("#head-b")).to_have_text(re.compile("Greedy|Nucleus"))
    expect(page.locator("#head-b")).to_have_text(re.compile("better"))
    page.click("#votes > .label-wrap")
    expect(page.locator("#votes-table")).to_contain_text("Win rate")
    with page.expect_download() as download:
        page.click("#export-votes")
    assert download.value.suggested_filename == "votes.jsonl"
    page.click("#train-on-votes")
    page.click("#compare-notice button[data-opens]")
    page.click("#tune-votes")
    expect(page.locator("#tune-data-rows")).to_contain_text("Preferences: chosen and rejected")


def test_on_a_phone_in_chinese_nothing_is_wider_than_the_screen(open_page: Callable[..., Page]) -> None:
    page = open_page(language="zh-CN", width=390, height=844)
    for mode in ("对比", "词元视图"):
        page.get_by_role("tab", name=mode).click()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, mode
    expect(page.locator("#score-text")).to_have_text("给这段文本评分")


def test_W13_tokens_open_their_card_by_pointer_and_by_keyboard(open_page: Callable[..., Page]) -> None:
    page = open_page()
    ready(page, "Token view")
    page.fill("#tokens-text textarea", TEXT)
    page.click("#score-text")
    tokens, card = page.locator(".tokens .line .tok"), page.locator(".tokens .card")
    tokens.nth(3).hover()
    expect(card).to_be_visible()
    expect(card.locator("li")).to_have_count(5)
    page.mouse.move(2, 2)
    expect(card).to_be_hidden()
    tokens.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(card.locator("button.alternative").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    expect(tokens.nth(1)).to_be_focused()


def test_going_on_from_an_alternative_writes_another_version_of_the_reply(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.locator("#option-max-new-tokens input[type=number]").fill("12")
    page.get_by_role("button", name="More").last.click()
    page.fill("#option-reply-prefix textarea", "hello and then")
    page.fill("#message textarea", "hello there")
    page.click("#send")
    expect(page.locator("#conversation .line.assistant")).to_have_count(1)
    page.get_by_role("tab", name="Token view").click()
    tokens = page.locator('.tokens[data-kind="reply"] .line .tok')
    expect(tokens.first).to_be_visible()  # scored without being asked
    for number in range(4):
        tokens.nth(number).hover()
        # The model is random: much of what it would say is half a character.
        whole = page.locator(".tokens .card button.alternative:not(.chosen)").filter(
            has=page.locator(".words", has_text=re.compile(r"^[\x21-\x7e␣]+$"))
        )
        if whole.count():
            break
    whole.first.click()
    expect(page.locator("#conversation .versions .count")).to_have_text("2 / 2")
    expect(page.locator("#conversation")).to_be_visible()
