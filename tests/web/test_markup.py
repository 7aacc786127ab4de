"""Tags in messages become text, and become tags again for the person who edits them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_app.web.chat.markup import as_written, without_markup


@pytest.mark.parametrize(("written", "shown"), [
    ("a < b and <b>bold</b>", "a &lt; b and &lt;b>bold&lt;/b>"),
    ("<think>hm</think>", "&lt;think>hm&lt;/think>"),
    ("![x](http://a/b.png)", "&#33;[x](http://a/b.png)"),
    ("use `<b>` and ``a ` <i>``", "use `<b>` and ``a ` <i>``"),
    ("```html\n<b>\n```\n<i>", "```html\n<b>\n```\n&lt;i>"),
    ("~~~\n<b>\n~~~\n<i>", "~~~\n<b>\n~~~\n&lt;i>"),
    ("```\nopen <b>", "```\nopen <b>"),
    ("\\`<b>`", "\\`&lt;b>`"),
    ("`<b>\n\n`", "`&lt;b>\n\n`"),
    ("    ```\n<b>", "    ```\n&lt;b>"),
    ("``` a `<b>", "``` a `&lt;b>"),
    ("already &lt; escaped", "already &amp;lt; escaped"),
    ("```mermaid\na\n```", "```\\mermaid\na\n```"),
    ("~~~ \\mermaid\na", "~~~ \\\\mermaid\na"),
    ("a & b, 5! [x]", "a & b, 5! [x]"),
    ("**bold** [link](http://x) > quote", "**bold** [link](http://x) > quote"),
])  # fmt: skip
def test_tags_and_pictures_outside_code_become_text(written: str, shown: str) -> None:
    assert without_markup(written) == shown
    assert as_written(shown) == written


@given(st.text(alphabet="`~<>!&lt;amp#33[]()\\ \nab", max_size=60))
def test_editing_gives_back_exactly_what_was_written(written: str) -> None:
    assert as_written(without_markup(written)) == written


@given(
    st.lists(st.sampled_from(["```", "~~~", "mermaid", "\\", "\n", " ", "`", "<b>", "&lt;", "text"]), max_size=20).map(
        "".join
    )
)
def test_editing_a_drawing_gives_it_back_too(written: str) -> None:
    assert as_written(without_markup(written)) == written


@pytest.mark.parametrize(
    "hostile", ["`" * 100_000, "`<" * 50_000, "```\n" * 25_000, "&amp;" * 20_000, "~~~`" * 25_000, "` " * 50_000]
)
def test_X4_hostile_text_takes_no_time(hostile: str) -> None:
    started = time.perf_counter()
    without_markup(hostile)
    as_written(hostile)
    assert time.perf_counter() - started < 0.5
