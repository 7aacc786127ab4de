"""The page for everybody: axe, the keyboard alone, large type, a narrow screen. Row W13 of the fault table."""

from collections.abc import Callable
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.browser.walking import tabs, unfold

OpenPage = Callable[..., Page]
GRAVE = {"serious", "critical"}


def grave_faults(page: Page) -> list[str]:
    """What axe finds serious or critical, with the element at fault."""
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{fault['id']} ({fault['impact']}): {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for fault in found if fault["impact"] in GRAVE
        for node in fault["nodes"]
    ]


def test_W13_axe_finds_no_serious_fault_on_any_tab_in_english_light_or_chinese_dark(open_page: OpenPage) -> None:
    page = open_page(language="en-US", color_scheme="light")
    faults: dict[tuple[str, str], list[str]] = {}
    for name in tabs(page):
        unfold(page)
        for _ in range(2):
            shown = page.evaluate("document.documentElement.lang + ' ' + document.body.classList.contains('dark')")
            if found := grave_faults(page):
                faults[name, shown] = found
            page.locator("#switch-theme").click()
            page.locator("#switch-language").click()
            page.wait_for_timeout(400)  # colours change over a moment, and axe would measure one between two
    assert faults == {}


def test_W13_every_control_is_reached_by_tab_and_shows_the_focus(open_page: OpenPage) -> None:
    page = open_page()
    wanted = {"model", "adapter", "precision", "load", "unload", "model-more", "switch-language", "switch-theme"}
    page.evaluate("document.activeElement?.blur()")
    reached, unmarked = set(), []
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if not focused.count():
            continue
        reached |= set(named(focused))
        if not is_marked(focused):
            unmarked.append(focused.evaluate("e => e.outerHTML.slice(0, 120)"))
    assert wanted - reached == set()
    assert unmarked == []


def named(element: Locator) -> list[str]:
    """The names of an element and of all around it."""
    names: list[str] = element.evaluate("e => { const n = []; for (; e; e = e.parentElement) n.push(e.id); return n; }")
    return names


def is_marked(element: Locator) -> bool:
    """Whether an outline, or the border of the box around it, shows where the focus is."""
    script = """e => {
      const style = getComputedStyle(e), rest = getComputedStyle(document.documentElement);
      if (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) return true;
      const accent = getComputedStyle(document.body).getPropertyValue("--color-accent") || "x";
      const probe = document.createElement("i"); probe.style.color = "var(--input-border-color-focus)";
      document.querySelector(".gradio-container").append(probe);
      const wanted = getComputedStyle(probe).color; probe.remove();
      for (let box = e, n = 0; box && n < 5; box = box.parentElement, n += 1) {
        const s = getComputedStyle(box);
        if (s.borderTopColor === wanted && parseFloat(s.borderTopWidth) > 0) return true;
        if (s.boxShadow !== "none" && box !== document.body) return true;
        if (s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0) return true;
      }
      return false;
    }"""
    return bool(element.evaluate(script))


def test_W13_folds_tabs_and_choices_answer_to_the_keyboard(open_page: OpenPage) -> None:
    page = open_page()
    fold = page.locator("#model-more > button")
    fold.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#template")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.locator("#template")).to_be_hidden()
    page.locator("#precision input").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#fit")).to_contain_text("GB", timeout=20_000)


def test_W13_at_200_percent_and_at_360_pixels_nothing_scrolls_sideways(open_page: OpenPage) -> None:
    # Twice the size on a window of 1280 pixels is a window of 640.
    for width, height in ((640, 400), (360, 740)):
        page = open_page(width=width, height=height)
        for name in tabs(page):
            unfold(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
