"""A visitor of the page: presses, chooses and reads, in the language of the page, and photographs where they have been.

Every word that is looked for comes from the page's own table of words in that language, and is looked for in what is
in sight: a page holds both languages, and shows one.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Download, Locator, Page, TimeoutError, expect

from llm_app.options import options_of
from llm_app.web.text import STRINGS, filled

Where = str | Locator
WAIT_MS = 40_000  # the machine may be busy with other tests


@dataclass(frozen=True)
class View:
    """How the page is looked at."""

    language: Literal["en", "zh"]
    width: int
    scheme: Literal["light", "dark"]

    def __str__(self) -> str:
        return f"{self.language}-{self.width}-{self.scheme}"

    @property
    def browser(self) -> dict[str, Any]:
        """What `open_page` takes: a phone has a finger, and no pointer."""
        is_phone = self.width < 760
        return {
            "language": {"en": "en-US", "zh": "zh-CN"}[self.language], "width": self.width,
            "height": 844 if is_phone else 800, "color_scheme": self.scheme,
            "has_touch": is_phone, "permissions": ["clipboard-read", "clipboard-write"], "accept_downloads": True,
        }  # fmt: skip


class Visitor:
    """One visitor with one page; `shots` is the folder for photographs, None for none."""

    def __init__(self, page: Page, view: View, shots: Path | None) -> None:
        self.page, self.view, self._shots = page, view, shots
        self._n = ("en", "zh").index(view.language)

    def word(self, name: str, **values: object) -> str:
        """One of the page's sentences in the visitor's language."""
        return filled(name, **values)[self._n]

    def like(self, name: str, **known: object) -> re.Pattern[str]:
        """The same, with anything in the place of values that are not known."""
        parts = re.split(r"(\{[^}]*\})", STRINGS[name][self._n])
        made = []
        for part in parts:
            key = re.match(r"\{(\w+)", part)
            made.append(re.escape(part) if not key else re.escape(str(known[key[1]])) if key[1] in known else ".+?")
        return re.compile("".join(made), re.DOTALL)

    def one_of(self, *names: str) -> re.Pattern[str]:
        """Any of these sentences, with anything in the place of their values."""
        return re.compile("|".join(self.like(name).pattern for name in names), re.DOTALL)

    def label(self, config: type[Any], field: str) -> str:
        """The name of an option in the visitor's language."""
        return next(info.label for item, info in options_of(config) if item.name == field)[self._n]

    def at(self, where: Where) -> Locator:
        """The element at this CSS selector, or the one that is given."""
        return self.page.locator(where) if isinstance(where, str) else where

    def sees(self, where: Where, *wanted: str | re.Pattern[str]) -> None:
        """All of this is in sight there, or soon will be."""
        expect(self.at(where)).to_be_visible(timeout=WAIT_MS)
        for words in wanted:
            expect(self.at(where)).to_contain_text(words, use_inner_text=True, timeout=WAIT_MS)

    def press(self, where: Where) -> None:
        """A click."""
        self.at(where).click(timeout=WAIT_MS)

    def button(self, name: str, within: Where = "body") -> Locator:
        """The button of this word."""
        return self.at(within).get_by_role("button", name=self.word(name), exact=True)

    def tick(self, where: Where, words: str) -> None:
        """Choose one of several by its label."""
        self.at(where).get_by_label(words, exact=True).check(timeout=WAIT_MS)

    def fill(self, where: str, words: str, key: str = "Tab") -> None:
        """Write into a box and leave it by this key."""
        box = self.page.locator(f"{where} :is(textarea, input:not([type=range], [type=file]))").first
        box.fill(words, timeout=WAIT_MS)
        box.press(key)

    def choose(self, where: str, option: str) -> None:
        """Take one from a menu. One that is told other choices meanwhile closes, and is opened again."""
        for timeout_ms in (5_000, 10_000, WAIT_MS):
            self.press(f"{where} input")
            try:
                return self.at(where).get_by_role("option", name=option, exact=True).click(timeout=timeout_ms)
            except TimeoutError:
                self.leave(where)
        raise AssertionError(f"{where} offers no {option}")

    def offered(self, where: str) -> list[str]:
        """What a menu offers, in its order."""
        self.press(f"{where} input")
        options = self.at(where).get_by_role("option")
        expect(options.first).to_be_visible()
        found = [words.removeprefix("✓").strip() for words in options.all_inner_texts()]
        self.leave(where)
        return found

    def offers(self, where: str, *wanted: str) -> None:
        """A menu offers exactly this, or will as soon as it has been told."""
        found: list[str] = []
        for _ in range(20):
            found = self.offered(where)
            if found == [*wanted]:
                return
            self.page.wait_for_timeout(500)
        raise AssertionError(f"{where} offers {found}, not {[*wanted]}")

    def leave(self, where: str) -> None:
        """Close a menu without taking anything."""
        self.page.locator(f"{where} input").blur()
        expect(self.at(where).get_by_role("option")).to_have_count(0)

    def unfold(self, where: Where) -> None:
        """Open a fold, unless it is open."""
        head = self.at(where).locator("> button.label-wrap")
        if "open" not in (head.get_attribute("class") or "").split():
            head.click(timeout=WAIT_MS)

    def fold_named(self, name: str, within: str = "body") -> Locator:
        """The fold of this title."""
        return self.page.locator(f"{within} .block:visible").filter(
            has=self.page.locator("> button.label-wrap", has_text=self.word(name))
        ).last  # fmt: skip

    def tab(self, name: str, within: str = ".rooms > .tab-wrapper") -> None:
        """Open a tab, or a tab within a tab."""
        self.page.locator(within).first.get_by_role("tab", name=self.word(name), exact=True).click(timeout=WAIT_MS)

    def save(self, where: Where) -> Download:
        """Press what saves a file."""
        with self.page.expect_download(timeout=WAIT_MS) as download:
            self.press(where)
        return download.value

    def stage(self, name: str) -> None:
        """A stage of the walk is over: nothing may scroll sideways. Photographed whole, if photographs are wanted."""
        assert self.page.evaluate("document.documentElement.scrollWidth") <= self.view.width, name
        if self._shots is not None:
            self._shots.mkdir(parents=True, exist_ok=True)
            with suppress(TimeoutError):
                self.page.screenshot(path=self._shots / f"{self.view}-{name}.png", full_page=True)
