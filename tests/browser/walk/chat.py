"""The Chat tab: controls and presets, a reply while it is written, what can be done with each message, what is kept."""

import json
import re
from pathlib import Path

from playwright.sync_api import Locator, expect

from llm_app.config import SamplingConfig
from tests.browser.walk.chat_modes import compare, token_view
from tests.browser.walk.visitor import Visitor
from tests.live import slowed, unending
from tests.web.site import MODEL, Site

# Name, default, least and most, as the screen's list has them.
CONTROLS = (
    ("temperature", "0.7", "0", "2"), ("top_p", "0.95", None, "1"), ("top_k", "20", "0", "200"),
    ("min_p", "0", "0", None), ("repetition_penalty", "1", "1", "2"), ("no_repeat_ngram", "0", "0", None),
    ("presence_penalty", "0", "0", "2"), ("frequency_penalty", "0", "0", "2"), ("n_beams", "1", "1", "8"),
    ("max_new_tokens", "512", "1", None),
)  # fmt: skip
TEXTS = ("stop", "seed", "reply_prefix")
NOTES, USER, MODEL_ROWS = "#conversation small.note", ".user-row:not(:has(.line))", ".bot-row:not(:has(.line))"
LONG = "the quick brown fox jumps over the lazy dog " * 9


def walk_chat(visitor: Visitor, site: Site) -> None:
    """Every clause of the screen."""
    controls_stand_at_their_defaults(visitor)
    text_streams_and_stop_keeps_what_is_there(visitor, site)
    presets_are_chosen_saved_and_deleted(visitor)
    greedy_repeats_itself_and_versions_are_kept(visitor)
    stop_strings_beginning_and_seed_decide_the_reply(visitor)
    the_system_prompt_is_sent(visitor)
    a_message_is_copied_edited_continued_and_branched(visitor)
    details_tell_how_a_reply_came_about(visitor)
    what_no_longer_fits_is_said(visitor)
    compare(visitor)
    a_reply_begins_with_plain_words(visitor)
    token_view(visitor)
    conversations_are_kept_found_and_carried(visitor)
    an_answer_is_added_to_the_data_set(visitor)


def field(name: str) -> str:
    return f"#option-{name.replace('_', '-')}"


def number(visitor: Visitor, name: str, value: str) -> None:
    """Set a number by its box."""
    visitor.page.locator(f"{field(name)} input[type=number]").fill(value)
    visitor.page.locator(f"{field(name)} input[type=number]").press("Tab")


def say(visitor: Visitor, words: str) -> None:
    """Send a message, and wait until it is answered to the end."""
    visitor.fill("#message", words, "Enter")
    expect(visitor.page.locator("#message textarea")).to_have_value("")
    answered(visitor)


def answered(visitor: Visitor) -> None:
    visitor.sees(visitor.page.locator(NOTES).last, visitor.like("seed"))
    expect(visitor.page.locator("#send")).to_be_visible()


def act(visitor: Visitor, name: str, nth: int = -1) -> None:
    """Press a button under a message of the model."""
    visitor.press(visitor.page.locator(f"#conversation .line.assistant button[name={name}]").nth(nth))


def last_reply(visitor: Visitor) -> Locator:
    return visitor.page.locator(f"#conversation {MODEL_ROWS}").last


def controls_stand_at_their_defaults(visitor: Visitor) -> None:
    visitor.unfold(".panel .fold:not(#preset-edit)")
    for name, default, least, most in CONTROLS:
        visitor.sees(field(name), visitor.label(SamplingConfig, name))
        box = visitor.page.locator(f"{field(name)} input[type=number]")
        expect(box).to_have_value(default)
        for end, value in (("min", least), ("max", most)):
            if value is not None:
                expect(box).to_have_attribute(end, value)
    for name in TEXTS:
        visitor.sees(field(name), visitor.label(SamplingConfig, name))
        expect(visitor.page.locator(f"{field(name)} :is(input, textarea)")).to_have_value("")
    visitor.sees("#system-prompt", visitor.word("system_prompt"))
    visitor.stage("chat-1-controls")


def text_streams_and_stop_keeps_what_is_there(visitor: Visitor, site: Site) -> None:
    with unending(site.host), slowed(site.host, 0.05):
        visitor.press(visitor.page.locator(".examples button:visible").first)
        visitor.sees(NOTES, visitor.word("writing"), visitor.like("tokens_per_second"), visitor.like("first_token"))
        before = last_reply(visitor).inner_text()
        visitor.page.wait_for_timeout(500)
        assert len(last_reply(visitor).inner_text()) > len(before), "the text grows while it is written"
        visitor.stage("chat-2-writing")
        visitor.press(visitor.button("stop", ".composer:visible"))
        visitor.sees(NOTES, visitor.word("stopped"))
    assert last_reply(visitor).inner_text().strip()
    visitor.sees(NOTES, visitor.like("tokens_per_second"), visitor.like("first_token"), visitor.like("seed"))
    visitor.sees("#context", visitor.word("context"), visitor.like("context_used", total="1,024"))


def presets_are_chosen_saved_and_deleted(visitor: Visitor) -> None:
    chosen = visitor.page.locator("#preset input")
    visitor.choose("#preset", "Neutral samplers · 中性")
    for name, value in (("temperature", "1"), ("top_p", "1"), ("top_k", "0")):
        expect(visitor.page.locator(f"{field(name)} input[type=number]")).to_have_value(value)
    number(visitor, "temperature", "1.1")
    expect(chosen).to_have_value("Custom · 自定义")
    visitor.unfold("#preset-edit")
    visitor.fill("#preset-name", "Warm")
    visitor.press(visitor.button("preset_save"))
    visitor.sees("#preset-notice", visitor.word("preset_saved"))
    for name, value in (("Balanced · 均衡", "0.7"), ("Warm", "1.1")):
        visitor.choose("#preset", name)
        expect(visitor.page.locator(f"{field('temperature')} input[type=number]")).to_have_value(value)
    visitor.stage("chat-3-presets")
    visitor.press(visitor.button("preset_delete"))
    visitor.sees("#preset-notice", visitor.word("preset_deleted"))


def greedy_repeats_itself_and_versions_are_kept(visitor: Visitor) -> None:
    number(visitor, "temperature", "0")
    number(visitor, "max_new_tokens", "12")
    visitor.press("#new-chat")
    visitor.sees("#chat-notice", visitor.word("cleared"))
    say(visitor, "hello there")
    first = last_reply(visitor).inner_text()
    act(visitor, "again")
    versions = visitor.page.locator("#conversation .versions .count")
    expect(versions).to_have_text("2 / 2")
    answered(visitor)
    assert last_reply(visitor).inner_text() == first, "temperature 0 is greedy"
    visitor.press("#conversation .versions button[name=show]")
    expect(versions).to_have_text("1 / 2")
    visitor.press("#conversation .versions button[name=show]")
    expect(versions).to_have_text("2 / 2")


def stop_strings_beginning_and_seed_decide_the_reply(visitor: Visitor) -> None:
    sign = next(sign for sign in last_reply(visitor).inner_text()[1:] if sign.isascii() and sign.isalpha())
    visitor.fill(field("stop"), sign)
    visitor.fill(field("seed"), "7")
    visitor.fill(field("reply_prefix"), "UP ")
    act(visitor, "again")
    expect(visitor.page.locator("#conversation .versions .count")).to_have_text("3 / 3")
    visitor.sees(NOTES, visitor.word("seed", seed=7))
    words = last_reply(visitor).inner_text()
    assert words.startswith("UP") and sign not in words, (sign, words)
    for name in ("stop", "seed", "reply_prefix"):
        visitor.fill(field(name), "")


def the_system_prompt_is_sent(visitor: Visitor) -> None:
    visitor.fill("#system-prompt", "You answer briefly and in English.")
    act(visitor, "again")
    expect(visitor.page.locator("#conversation .versions .count")).to_have_text("4 / 4")
    answered(visitor)
    counts = []
    for name in ("again", "show"):
        details = visitor.page.locator("#conversation details.how").last
        visitor.press(details.locator("summary"))
        counts.append(int(details.locator("tr", has_text=visitor.word("n_prompt_tokens")).locator("td").inner_text()))
        if name == "again":
            visitor.press(visitor.page.locator("#conversation .versions button[name=show]").first)
            expect(visitor.page.locator("#conversation .versions .count")).to_have_text("3 / 4")
    assert counts[0] > counts[1], "the reply before was asked without a system prompt"


def a_message_is_copied_edited_continued_and_branched(visitor: Visitor) -> None:
    page, user = visitor.page, visitor.page.locator(f"#conversation {USER}").first
    user.hover()
    user.locator("button:visible").first.click()
    assert page.evaluate("navigator.clipboard.readText()") == "hello there"
    user.locator("button:visible").nth(1).click()
    page.fill("#conversation textarea", "hello again")
    visitor.stage("chat-4-edit")
    user.locator("button:visible").first.click()
    expect(page.locator("#conversation .line.user .versions .count")).to_have_text("2 / 2")
    visitor.sees(user, "hello again")
    answered(visitor)
    before = last_reply(visitor).inner_text().strip()
    act(visitor, "continue")
    expect(page.locator("#conversation .line.assistant .versions .count")).to_have_text("2 / 2")
    answered(visitor)
    assert last_reply(visitor).inner_text().strip().startswith(before[:10])
    act(visitor, "branch")
    visitor.sees("#chat-notice", visitor.word("branched"))
    visitor.sees(user, "hello again")


def details_tell_how_a_reply_came_about(visitor: Visitor) -> None:
    say(visitor, "and once more")
    visitor.press(visitor.page.locator("#conversation details.how summary").last)
    names = (
        "used_model", "used_precision", "n_prompt_tokens", "output_tokens", "time_to_first", "speed", "seed_used",
        "sampling",
    )  # fmt: skip
    details = visitor.page.locator("#conversation details.how").last
    visitor.sees(details, MODEL, "fp32", *(visitor.word(name) for name in names))
    visitor.sees(details, f"{visitor.label(SamplingConfig, 'max_new_tokens')} 12")
    visitor.stage("chat-5-details")


def what_no_longer_fits_is_said(visitor: Visitor) -> None:
    visitor.unfold("#model-more")
    visitor.fill("#context-length", "256")
    visitor.press("#load")
    visitor.sees("#model-status", visitor.word("context_of", n=256), visitor.word("ready"))
    visitor.press("#model-more > button.label-wrap")
    visitor.press("#new-chat")
    for _ in range(3):
        say(visitor, LONG)
    visitor.sees("#chat-notice", visitor.like("messages_cut"))
    visitor.sees("#context", visitor.like("context_used", total="256"), visitor.like("context_cut"))
    visitor.stage("chat-6-cut")


def a_reply_begins_with_plain_words(visitor: Visitor) -> None:
    """The model is random: of what it writes by itself, much is half a character, from which nothing goes on."""
    visitor.tab("mode_chat", ".modes > .tab-wrapper")
    visitor.press("#new-chat")
    visitor.fill(field("reply_prefix"), "hello and then")
    say(visitor, "hello there")
    visitor.fill(field("reply_prefix"), "")


def conversations_are_kept_found_and_carried(visitor: Visitor) -> None:
    page = visitor.page
    visitor.tab("mode_chat", ".modes > .tab-wrapper")
    visitor.press("#new-chat")
    say(visitor, "a question about 鲸鱼")
    visitor.unfold("#keep")
    visitor.fill("#keep-search", "鲸鱼")
    rows = page.locator("#kept .row")
    expect(rows).to_have_count(1)
    visitor.fill("#keep-title", "Mine", "Enter")
    expect(page.locator("#kept .row.open .name")).to_have_text("Mine")
    visitor.stage("chat-7-kept")
    saved = visitor.save("#export-json")
    assert json.loads(Path(saved.path()).read_text("utf-8"))["messages"][-2]["content"] == "a question about 鲸鱼"
    markdown = Path(visitor.save("#export-markdown").path()).read_text("utf-8")
    assert "Mine" in markdown and "a question about 鲸鱼" in markdown
    page.locator("#kept .row.open").hover()
    visitor.press("#kept .row.open button[name=delete]")
    visitor.sees("#keep-notice", visitor.word("deleted"))
    visitor.sees("#kept", visitor.word("nothing_found"))
    visitor.press(visitor.button("undo_delete"))
    expect(rows).to_have_count(1)
    with page.expect_file_chooser() as chooser:
        visitor.press("#import button")
    chooser.value.set_files(saved.path())
    visitor.sees("#keep-notice", visitor.word("imported_n", n=1))
    assert re.search(r"\d", page.inner_text("#kept")), "each line says when and how long"


def an_answer_is_added_to_the_data_set(visitor: Visitor) -> None:
    """One that came to an end, which a random model is helped to: it stops at any of these signs."""
    visitor.press("#new-chat")
    visitor.fill(field("reply_prefix"), "yes")
    visitor.fill(field("stop"), "\n".join("tanoihrdlcumwgpf"))
    number(visitor, "max_new_tokens", "256")
    say(visitor, "is it so")
    act(visitor, "learn")
    visitor.sees("#chat-notice", visitor.word("learn_added", n=1), visitor.word("learn_open"))
    visitor.stage("chat-8-data-set")
