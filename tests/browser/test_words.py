"""Every word that the page shows exists in both languages: what stands there unchanged is a name, a number or code."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.walking import tabs, unfold

OpenPage = Callable[..., Page]
# Names, units and terms that both languages write alike; everything else is translated.
NAMES = """
    proofbench smollm smollm2-135m-instruct embedded tiny auto cpu cuda gb mb kb gpu fp bf nf int top-p top-k min-p
    jsonl json csv tsv yaml html markdown pdf svg png bleu chrf rouge mmlu glue acc ppl f mcc em chatml smoke quick full
    a b n p k english en zh utf gguf lora ui id api hub qlora full dora rslora dropout alpha linear cosine constant none
    tensorboard trackio int fp bf grid random bayes rank adamw big5 gb shift_jis euc_kr cp q_proj v_proj learning_rate
    log safetensors peft calendar
"""
SAME = frozenset(NAMES.split())
SEEN = """() => {
  const found = new Set(), seen = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: false });
  const walker = document.createTreeWalker(document.querySelector(".gradio-container"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const box = walker.currentNode.parentElement;
    const isCode = box.closest("pre, code, script, style, textarea, svg");
    if (!isCode && seen(box)) found.add(box.tagName + "|" + walker.currentNode.data.trim());
  }
  for (const name of ["aria-label", "title", "placeholder", "alt"]) {
    for (const e of document.querySelectorAll(`.gradio-container [${name}]`)) {
      if (seen(e)) found.add(name + "|" + e.getAttribute(name).trim());
    }
  }
  return [...found];
}"""


def visible(page: Page) -> set[str]:
    """All texts, labels and hints in sight on any tab."""
    found: set[str] = set()
    for _ in tabs(page):
        unfold(page)
        found |= set(page.evaluate(SEEN))
    return found


def is_language(text: str) -> bool:
    """Whether a text says something in one language: words beyond names, or Chinese characters."""
    words = text.partition("|")[2]
    if re.search(r"[\u4e00-\u9fff]", words) and re.search(r"[A-Za-z]{3}", words):
        return False  # both languages in one title
    named = [word for word in re.findall(r"[A-Za-z][A-Za-z-]*", words) if word.lower().strip("-") not in SAME]
    return bool(named or re.search(r"[\u4e00-\u9fff]", words))


@pytest.fixture
def pages(open_page: OpenPage) -> tuple[set[str], set[str]]:
    """What the English and the Chinese page show."""
    return visible(open_page(language="en-US")), visible(open_page(language="zh-CN"))


def test_no_visible_string_exists_in_one_language_only(pages: tuple[set[str], set[str]]) -> None:
    english, chinese = pages
    untranslated = {text for text in english & chinese if is_language(text)} - {"SPAN|中文"}
    assert untranslated == set()
    assert not {text for text in english if re.search(r"[\u4e00-\u9fff]", text) and not is_both(text)} - {"SPAN|中文"}


TAB_NAMES = ["对话", "分类", "评测", "微调", "对话", "对比", "词元视图"]


def test_the_switch_names_every_tab_in_the_new_language(open_page: OpenPage) -> None:
    page = open_page(language="en-US")
    page.click("#switch-language")
    expect(page.locator("button[role=tab]")).to_have_text(TAB_NAMES)


@pytest.mark.parametrize(("language", "path"), [("en-US", "/?lang=zh"), ("zh-TW", "/"), ("zh-HK", "/")])
def test_chinese_is_for_whoever_asks_for_it_and_for_every_chinese_browser(
    open_page: OpenPage, language: str, path: str
) -> None:
    page = open_page(language=language, path=path)
    expect(page.locator("button[role=tab]")).to_have_text(TAB_NAMES)
    expect(page.locator("#send")).to_have_text("发送")


def is_both(text: str) -> bool:
    """Whether a title says the same in both languages, as those of the two switches do."""
    return bool(re.search(r"[A-Za-z]{3}", text.partition("|")[2]))
