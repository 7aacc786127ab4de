"""HTML of results: every text escaped, in both languages, with a sign for what cannot be seen."""

import re
import unicodedata

from eval.report.markup import Child, Markup, element, joined
from llm_app.options import Text
from llm_app.web.text import both, pair

# gradio's HTML block reads templates.
SIGNS = {ord(sign): f"&#{ord(sign)};" for sign in "{}$`"}
# What moves the cursor, turns the direction of writing, has no width, or is half a character.
_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
)
_ODD = re.compile(f"[{_HIDDEN}]")
_ODD_OR_SPACE = re.compile(f"[{_HIDDEN}]| +|\t|\n|[\u00a0\u2000-\u200a\u202f\u3000]+")
FOLD_AFTER = 1_500  # characters of one text that stand open
MAX_TEXT = 20_000  # characters of one text that reach the page at all


def said(name: str, **values: object) -> Markup:
    """One of the page's sentences, in both languages."""
    return Markup(both(name, **values))


def told(text: Text) -> Markup:
    """A text that is said in both languages elsewhere; it may name what stands in a file."""
    return Markup(_ODD.sub(lambda odd: _sign(odd[0]), pair(text)))


def block(*children: Child) -> str:
    """The children as the value of an HTML block."""
    return joined(*children).translate(SIGNS)


def written(text: str, *, shows_spaces: bool = False) -> Markup:
    """A text as it is; what has no sign of its own gets one, and on demand white space too."""
    parts: list[Child] = []
    end = 0
    for found in (_ODD_OR_SPACE if shows_spaces else _ODD).finditer(text):
        parts += [text[end : found.start()], _sign(found[0])]
        end = found.end()
    return joined(*parts, text[end:])


def passage(text: str, *, shows_spaces: bool = False) -> Markup:
    """A text of a data set or a model in a box of its own; a long one is folded."""
    if len(text) <= FOLD_AFTER:
        return element("pre", written(text, shows_spaces=shows_spaces))
    rest = text[FOLD_AFTER:MAX_TEXT]
    folded = element(
        "details", element("summary", said("result_more_characters", n=len(text) - FOLD_AFTER)),
        element("pre", written(rest, shows_spaces=shows_spaces)),
        element("p", said("result_left_out", n=len(text) - MAX_TEXT), class_="quiet") if len(text) > MAX_TEXT else None,
        class_="rest",
    )
    return joined(element("pre", written(text[:FOLD_AFTER], shows_spaces=shows_spaces)), folded)


def folded_command(line: str) -> Markup:
    """The command line that does the same, folded."""
    words = element("pre", written(line), class_="prompt", tabindex="0")
    return element("details", element("summary", said("show_command")), words, data_fold="command")


def _sign(odd: str) -> Markup:
    if odd.isspace() and odd[0] in " \t\n\u00a0\u3000\u202f" or "\u2000" <= odd[0] <= "\u200a":
        shown = {" ": "·", "\t": "→\t", "\n": "⏎\n"}.get(odd[0], "°")
        return element("span", shown * len(odd), class_="space")
    code = ord(odd)
    name = unicodedata.name(odd, f"U+{code:04X}")
    shown = chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"
    return element("span", shown, class_="sign", title=name)
