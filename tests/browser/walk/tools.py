"""The tools beside the benchmark: one ruler for all precisions of a model, and the template doctor."""

import re

from playwright.sync_api import expect

from llm_app.web.benchmark.ruler import ALL
from llm_app.web.benchmark.ruler_view import HEADS
from tests.browser.walk.visitor import Visitor


def measure_precisions(visitor: Visitor) -> None:
    """Every precision of a packed model on one text and one task."""
    page = visitor.page
    visitor.choose("#model", "packed")
    visitor.press("#load")
    visitor.sees("#model-status", "packed", visitor.word("ready"))
    visitor.unfold("#tool-ruler")
    for precision in ALL:
        page.locator("#ruler-precisions").get_by_label(precision, exact=True).check()
    visitor.fill("#ruler-tokens", "64")
    visitor.choose("#ruler-task", "choices")
    visitor.fill("#ruler-limit", "2")
    visitor.press("#ruler-start")
    rows = page.locator("#ruler-table tbody tr")
    expect(rows).to_have_count(len(ALL), timeout=180_000)
    expect(page.locator("#ruler-start")).to_be_enabled(timeout=60_000)
    if visitor.view.width > 760:
        visitor.sees("#ruler-table", *(visitor.word(name) for name in HEADS))
    visitor.sees("#ruler-table", *ALL, re.compile(r"\[.+, .+\]"), visitor.like("ruler_about"))
    visitor.stage("tools-1-ruler")


def look_with_the_doctor(visitor: Visitor) -> None:
    """The first prompts as they are sent, and what is wrong with them."""
    visitor.unfold("#tool-doctor")
    visitor.press("#doctor-look")
    visitor.sees("#doctor-found", visitor.like("tool_first_prompt"))
    visitor.press("#doctor-both")
    visitor.sees("#doctor-scored", visitor.word("tool_both_about"))
    visitor.stage("tools-2-doctor")
