"""The Chat tab as a person uses it."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.live import slowed, unending
from tests.web.site import Site, wait_until_idle

OpenPage = Callable[..., Page]


def say(page: Page, words: str) -> None:
    page.fill("#message textarea", words)
    page.press("#message textarea", "Enter")


def replies(page: Page) -> list[str]:
    return page.locator("#conversation .bot-row:not(:has(small.note))").all_inner_texts()


def messages(page: Page) -> Locator:
    """The person's messages, without the lines under them."""
    return page.locator("#conversation .user-row:not(:has(.line))")


def unfold(page: Page) -> None:
    """The advanced options."""
    page.locator(".panel .fold:not(#preset-edit) > .label-wrap").click()


def set_seed(page: Page, words: str) -> None:
    """Type a seed into the fold that was just opened: gradio mounts it late, over what was typed at once."""
    box = page.locator("#option-seed textarea, #option-seed input")
    for _ in range(5):
        box.fill(words)
        page.wait_for_timeout(200)
        if box.input_value() == words:
            break


def answered(page: Page, n: int) -> None:
    expect(page.locator("#conversation small.note").nth(n - 1)).to_contain_text("seed", timeout=20_000)
    expect(page.locator("#send")).to_be_visible()


def short(page: Page, n_tokens: int = 8) -> None:
    page.fill("#option-max-new-tokens input", str(n_tokens))
    page.press("#option-max-new-tokens input", "Tab")


def test_a_message_is_answered_with_streamed_text_and_figures(open_page: OpenPage, site: Site) -> None:
    page = open_page()
    short(page, 40)
    with unending(site.host), slowed(site.host, 0.05):
        say(page, "hello world")
        expect(page.locator("#stop")).to_be_visible()
        expect(page.locator("#conversation small.note")).to_contain_text("writing")
        before = len("".join(replies(page)))
        page.wait_for_timeout(500)
        assert len("".join(replies(page))) > before, "the text grows while it is written"
    answered(page, 1)
    assert re.search(r"[\d,]+ tok/s · [\d,]+ ms · \d+ tokens · seed \d+", page.inner_text("#conversation small.note"))
    expect(page.locator("#message textarea")).to_have_value("")
    expect(page.locator("#context")).to_contain_text("tokens")


def test_shift_enter_starts_a_line_and_enter_sends(open_page: OpenPage) -> None:
    page = open_page()
    short(page)
    page.click("#message textarea")
    page.keyboard.type("first")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second")
    expect(page.locator("#message textarea")).to_have_value("first\nsecond")
    page.keyboard.press("Enter")
    answered(page, 1)


def test_stop_keeps_the_text_and_says_so(open_page: OpenPage, site: Site) -> None:
    page = open_page()
    with unending(site.host), slowed(site.host, 0.05):
        say(page, "go on and on")
        page.wait_for_timeout(600)
        page.click("#stop")
        expect(page.locator("#conversation small.note")).to_contain_text("stopped", timeout=3_000)
        assert wait_until_idle(site, 1.0) < 1.0
    assert replies(page)[0].strip()
    expect(page.locator("#send")).to_be_visible()


def test_a_reply_can_be_asked_for_again(open_page: OpenPage) -> None:
    page = open_page()
    short(page)
    say(page, "hello")
    answered(page, 1)
    seed = page.inner_text("#conversation small.note")
    page.click("#conversation button[name=again]")
    expect(page.locator("#conversation small.note")).not_to_have_text(seed, timeout=10_000)
    answered(page, 1)
    assert messages(page).count() == 1
    expect(page.locator("#conversation .versions")).to_contain_text("2 / 2")


def test_an_edited_message_is_answered_and_what_followed_is_dropped(open_page: OpenPage) -> None:
    page = open_page()
    short(page)
    for n, words in enumerate(("one", "two"), start=1):
        say(page, words)
        answered(page, n)
    messages(page).first.locator("button:visible").nth(1).click()
    page.fill("#conversation textarea", "three")
    messages(page).first.locator("button:visible").first.click()
    expect(messages(page)).to_have_count(1, timeout=10_000)
    answered(page, 1)
    expect(messages(page)).to_contain_text("three")


def test_tags_survive_copying_and_editing(open_page: OpenPage) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    short(page)
    words = "is <b> &lt; ![x](y) `<i>` ok?"
    say(page, words)
    answered(page, 1)
    expect(messages(page)).to_contain_text("is <b> &lt; !x <i> ok?")
    buttons = messages(page).locator("button:visible")
    buttons.first.click()
    assert page.evaluate("navigator.clipboard.readText()") == words
    buttons.nth(1).click()
    messages(page).locator("button:visible").first.click()
    answered(page, 1)
    expect(messages(page)).to_contain_text("is <b> &lt; !x <i> ok?")


def test_an_example_starts_the_conversation_in_the_language_of_the_page(open_page: OpenPage) -> None:
    page = open_page(language="zh-CN")
    short(page)
    expect(page.locator(".examples button:visible")).to_have_count(3)
    page.locator(".examples button:visible").first.click()
    expect(messages(page)).to_contain_text("困惑度")
    expect(page.locator("#conversation small.note")).to_contain_text("种子", timeout=10_000)
    expect(page.locator(".examples button:visible")).to_have_count(0)


def test_a_wrong_option_is_said_where_it_happens_and_the_message_stays(open_page: OpenPage) -> None:
    page = open_page()
    unfold(page)
    set_seed(page, "abc")
    say(page, "my long message")
    expect(page.locator("#chat-notice")).to_contain_text("seed must be a whole number")
    expect(page.locator("#chat-notice")).to_contain_text("request")
    expect(page.locator("#message textarea")).to_have_value("my long message")


def test_a_seed_repeats_a_reply(open_page: OpenPage) -> None:
    page = open_page()
    short(page, 16)
    unfold(page)
    set_seed(page, "7")
    for n in (1, 2):
        page.click("#new-chat")
        expect(messages(page)).to_have_count(0)
        say(page, "hello")
        answered(page, 1)
        if n == 1:
            first = replies(page)
    assert replies(page) == first


def test_C18_two_tabs_hold_two_conversations_and_each_finds_its_own_after_a_reload(open_page: OpenPage) -> None:
    one = open_page()
    two = one.context.new_page()
    two.goto(one.url)
    two.wait_for_selector("#message textarea")
    for page, words in ((one, "only here"), (two, "only there")):
        short(page)
        say(page, words)
        answered(page, 1)
    assert "only there" not in one.inner_text("#conversation") and "only here" not in two.inner_text("#conversation")
    shown = replies(one)
    one.reload()
    expect(messages(one)).to_contain_text("only here")
    assert replies(one) == shown
    short(one)
    say(one, "after")
    answered(one, 2)


def test_the_page_waits_for_the_model_and_becomes_usable_by_itself(open_page: OpenPage, site: Site) -> None:
    from llm_app.config import ModelConfig

    config = site.host.loaded.config
    site.host.unload()
    page = open_page()
    expect(page.locator("#model-status")).to_contain_text("No model is loaded")
    say(page, "too early")
    expect(page.locator("#chat-notice")).to_contain_text("No model is loaded")
    expect(page.locator("#message textarea")).to_have_value("too early")
    for _ in site.host.load(ModelConfig(config.model, precision="fp32")):
        pass
    expect(page.locator("#model-status")).to_contain_text("ready", timeout=5_000)
    short(page)
    page.click("#send")
    answered(page, 1)


def test_a_model_is_loaded_in_another_precision_from_the_strip(open_page: OpenPage, site: Site) -> None:
    page = open_page()
    page.click("#precision input")
    page.locator("[role=option]", has_text="bf16").click()
    expect(page.locator("#fit")).to_contain_text("GB free")
    page.click("#load")
    expect(page.locator("#model-status")).to_contain_text("bf16", timeout=20_000)
    short(page)
    say(page, "hello")
    answered(page, 1)


@pytest.mark.parametrize("width", [390, 360, 768])
def test_nothing_scrolls_sideways_on_a_phone(open_page: OpenPage, width: int) -> None:
    page = open_page(width=width, height=844, is_mobile=True, has_touch=True)
    short(page, 32)
    say(page, "a" * 150 + " " + "word " * 20)
    answered(page, 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("#message", "#send", "#model", "#switch-language", "#switch-theme"):
        box = page.locator(name).bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width, name


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_whole_composer_is_in_sight_without_scrolling(open_page: OpenPage, width: int, height: int) -> None:
    page = open_page(width=width, height=height)
    box = page.locator("#send").bounding_box()
    assert box and box["y"] + box["height"] <= height


def test_the_language_follows_the_browser_and_the_switch_and_is_remembered(open_page: OpenPage) -> None:
    page = open_page(language="zh-CN")
    expect(page.locator("#send")).to_have_text("发送")
    expect(page.locator("#option-temperature")).to_contain_text("温度")
    page.click("#switch-language")
    expect(page.locator("#send")).to_have_text("Send")
    expect(page.locator("#model-status")).to_contain_text("ready")
    page.reload()
    page.wait_for_selector("#message textarea")
    expect(page.locator("#send")).to_have_text("Send")
    assert page.get_attribute("html", "lang") == "en"


def test_no_english_is_left_on_the_chinese_page(open_page: OpenPage) -> None:
    page = open_page(language="zh-CN")
    unfold(page)
    shown = page.inner_text("body")
    names = r"Proofbench|English|SmolLM2|tiny|fp32|bf16|auto|Top-p|Top-k|Min-p|GB|logits|Shift|k|n|Memory"
    assert not re.findall(rf"\b(?!(?:{names})\b)[A-Za-z]{{2,}}\b", shown), shown


def test_dark_and_light_are_both_designed_and_remembered(open_page: OpenPage) -> None:
    page = open_page(color_scheme="dark")
    assert luminance(page) < 60
    page.click("#switch-theme")
    assert luminance(page) > 200
    page.reload()
    page.wait_for_selector("#message textarea")
    expect(page.locator("body")).not_to_have_class(re.compile("dark"))


def luminance(page: Page) -> float:
    colour = page.evaluate("getComputedStyle(document.querySelector('#conversation')).backgroundColor")
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3


def test_nothing_jumps_while_a_reply_is_written(open_page: OpenPage, site: Site) -> None:
    page = open_page()
    short(page, 60)
    names = ("#conversation", "#message", ".options >> nth=0", ".rooms")
    boxes = []
    with unending(site.host), slowed(site.host, 0.01):
        say(page, "hello")
        for _ in range(12):
            boxes.append([page.locator(name).bounding_box() for name in names])
            page.wait_for_timeout(60)
    answered(page, 1)
    boxes.append([page.locator(name).bounding_box() for name in names])
    tops = [[(box["x"], box["y"]) for box in row if box] for row in boxes]
    assert all(row == tops[0] for row in tops)
