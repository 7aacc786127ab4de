"""The other modes of the Chat tab: two answers side by side with a blind vote, and the token view."""

import json
import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.walk.visitor import Visitor

STRATEGIES = ("decoding_greedy", "decoding_beam", "decoding_top_k", "decoding_nucleus", "decoding_settings")
TEXT = "the quick brown fox 你好 jumps over"


def compare(visitor: Visitor) -> None:
    """Two panes: decoding strategies, base and adapter, two precisions; every vote; what became of the votes."""
    visitor.tab("mode_compare", ".modes > .tab-wrapper")
    visitor.sees("#head-a", visitor.word("side_a"))
    expect(visitor.page.locator("#vote-a")).to_be_disabled()
    strategies = [visitor.word(name) for name in STRATEGIES]
    visitor.stage("compare-1-empty")
    visitor.offers("#compare-a", *strategies)
    ask(visitor, "one two three", strategies[0], strategies[3])
    vote(visitor, "b", *strategies[:4:3])
    ask(visitor, "four five six", strategies[1], strategies[2])
    vote(visitor, "tie", *strategies[1:3])
    visitor.stage("compare-2-voted")
    visitor.tick("#compare-kind", visitor.word("kind_adapter"))
    base = visitor.word("side_base")
    ask(visitor, "seven eight nine", base, "poet")
    vote(visitor, "a", base, "poet")
    visitor.tick("#compare-kind", visitor.word("kind_precision"))
    ask(visitor, "ten in on", "", "nf4")
    vote(visitor, "both_bad", "fp32", "nf4")
    visitor.stage("compare-3-precisions")
    votes_become_a_win_rate_and_data(visitor)


def ask(visitor: Visitor, words: str, first: str, second: str) -> None:
    """One prompt for both, who are not named yet. `first` is empty where there is no choice."""
    for side, name in (("a", first), ("b", second)):
        if name:
            visitor.choose(f"#compare-{side}", name)
    visitor.fill("#compare-message", words, "Enter")
    visitor.sees("#compare-asked", words)
    expect(visitor.page.locator("#vote-a")).to_be_enabled(timeout=60_000)
    for side in "ab":
        visitor.sees(f"#head-{side}", visitor.word(f"side_{side}"))
        visitor.sees(f"#pane-{side}", visitor.word("compare_speed_later"))
        assert visitor.page.inner_text(f"#pane-{side} .message-row").strip()


def vote(visitor: Visitor, choice: str, *names: str) -> None:
    """Say which is better; both are named then."""
    visitor.press(visitor.button(f"vote_{choice}", ".ballot"))
    visitor.sees("#compare-notice", visitor.word("vote_thanks", choice=visitor.word(f"vote_{choice}")))
    heads = "".join(visitor.page.locator(f"#head-{side}").inner_text() for side in "ab")
    assert all(name.lower() in heads.lower() for name in names), (names, heads)


def votes_become_a_win_rate_and_data(visitor: Visitor) -> None:
    visitor.unfold("#votes")
    visitor.sees("#votes-table", *(visitor.word(name) for name in ("votes_rate", "votes_interval", "votes_blind")))
    visitor.sees("#votes-table", re.compile(r"\[[\d.]+ ?%, [\d.]+ ?%\]"), visitor.word("votes_open"))
    visitor.stage("compare-4-votes")
    votes = Path(visitor.save("#export-votes").path()).read_text("utf-8").splitlines()
    assert len(votes) == 4
    pairs = Path(visitor.save("#export-preferences").path()).read_text("utf-8").splitlines()
    assert len(pairs) == 2 and {"chosen", "rejected"} <= set(json.loads(pairs[0]))


def token_view(visitor: Visitor) -> None:
    """A text by probability and by entropy; the alternatives of a token; going on from one of them."""
    page = visitor.page
    visitor.tab("mode_tokens", ".modes > .tab-wrapper")
    visitor.fill("#tokens-text", TEXT)
    visitor.press("#score-text")
    visitor.sees("#tokens", visitor.word("tokens_of_text"), visitor.word("legend_probability"))
    visitor.sees("#tokens", visitor.like("tokens_perplexity"), visitor.like("tokens_mean_entropy"))
    visitor.stage("tokens-1-probability")
    visitor.tick("#tokens-colour", visitor.word("by_entropy"))
    visitor.sees("#tokens", visitor.word("legend_entropy"))
    expect(page.locator(".tokens.by-entropy")).to_be_visible()
    page.locator(".tokens .line .tok").nth(3).hover()
    card = page.locator(".tokens .card")
    names = ("probability", "logprob", "entropy", "rank", "alternatives")
    visitor.sees(card, *(visitor.word(f"card_{name}") for name in names))
    expect(card.locator("li")).to_have_count(5)
    visitor.stage("tokens-2-card")
    another_token_is_gone_on_from(visitor)


def another_token_is_gone_on_from(visitor: Visitor) -> None:
    """In the last reply of the conversation: it becomes another version."""
    page = visitor.page
    page.mouse.move(2, 2)
    visitor.press("#score-reply")
    visitor.sees("#tokens", visitor.word("tokens_of_reply"))
    tokens = page.locator('.tokens[data-kind="reply"] .line .tok')
    # The model is random: much of what it would say is half a character.
    whole = page.locator(".tokens .card button.alternative:not(.chosen)").filter(
        has=page.locator(".words", has_text=re.compile(r"^[\x21-\x7e␣]+$"))
    )
    for number in range(4):
        tokens.nth(number).hover()
        if whole.count():
            break
    whole.first.click()
    expect(page.locator("#conversation .versions .count").last).to_have_text("2 / 2")
    visitor.sees("#conversation", visitor.like("seed"))
