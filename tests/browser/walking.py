"""A walk over every tab of the page, those within a tab and folds included."""

from collections.abc import Iterator

from playwright.sync_api import Page

TABS = "button[role=tab]:visible"


def tabs(page: Page) -> Iterator[str]:
    """Opens one tab after the other, those within a tab too, and gives the name of each."""
    outer = page.locator(".rooms > .tab-wrapper").first.locator(TABS)
    for n in range(outer.count()):
        outer.nth(n).click()
        name = outer.nth(n).inner_text()
        inner = [tab for tab in page.locator(TABS).all() if tab.inner_text() not in outer.all_inner_texts()]
        if not inner:
            page.wait_for_timeout(200)
            yield name
        for tab in inner:
            tab.click()
            page.wait_for_timeout(200)
            yield f"{name} / {tab.inner_text()}"


def unfold(page: Page) -> None:
    """Open every fold in sight, since what is folded is part of the page."""
    closed = page.locator("button.label-wrap:visible:not(.open)")
    for _ in range(closed.count()):
        if closed.count():
            closed.first.click()
    page.wait_for_timeout(300)
