"""Raw HTML, pictures and diagrams in a message, turned into text; Markdown stays.

The Chatbot cleans HTML in the browser, but keeps forms, classes and styles that lay a block over the whole page, and
drops what it does not know, so that a reply about HTML loses its words. Here every tag outside code is made to read
as it was written. `as_written` undoes it exactly: the person edits what was typed.
"""

import re
from collections.abc import Callable

# A fenced block up to its closing fence or the end; or a code span within one line. Where this sees no code although
# the browser does, a tag in it is shown with its escape; never the other way round.
_CODE = re.compile(
    r"^ {0,3}(?P<fence>`{3,})[^`\n]*$.*?(?:^ {0,3}(?P=fence)`*[ \t]*$|\Z)"
    r"|^ {0,3}(?P<tilde>~{3,})[^\n]*$.*?(?:^ {0,3}(?P=tilde)~*[ \t]*$|\Z)"
    r"|(?<![`\\])(?P<ticks>`{1,8})(?!`)[^\n]*?(?<!`)(?P=ticks)(?!`)",
    re.MULTILINE | re.DOTALL,
)
# What is escaped, and what already looks like an escape of ours.
_SIGNS = re.compile(r"<|!(?=\[)|&(?=(?:amp;)*(?:lt;|#33;))")
_ESCAPES = {"<": "&lt;", "!": "&#33;", "&": "&amp;"}
_ESCAPED = re.compile(r"&lt;|&#33;(?=\[)|&amp;(?=(?:amp;)*(?:lt;|#33;))")
# gradio draws blocks of this language, and a label in a drawing may hold a picture.
_DRAWN = re.compile(r"^( *(?:`{3,}|~{3,})[ \t]*)(\\*)(?=mermaid)", re.IGNORECASE)
_UNESCAPES = {escape: sign for sign, escape in _ESCAPES.items()}


def without_markup(text: str) -> str:
    """The message as Markdown without HTML and pictures."""
    return _changed(
        text, lambda part: _SIGNS.sub(lambda sign: _ESCAPES[sign[0]], part), lambda code: _DRAWN.sub(r"\1\\\2", code)
    )


def as_written(text: str) -> str:
    """What `without_markup` was given."""
    return _changed(
        text,
        lambda part: _ESCAPED.sub(lambda escape: _UNESCAPES[escape[0]], part),
        lambda code: _DRAWN.sub(lambda found: found[1] + found[2][1:], code),
    )


def _changed(text: str, outside: Callable[[str], str], inside: Callable[[str], str]) -> str:
    parts, end = [], 0
    for code in _CODE.finditer(text):
        parts += [outside(text[end : code.start()]), inside(code[0])]
        end = code.end()
    return "".join([*parts, outside(text[end:])])
