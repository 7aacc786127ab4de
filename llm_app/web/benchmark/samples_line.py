"""The line of a sample in a list: what tells it from the others beside it."""

import os
from collections.abc import Sequence

from eval.compare import Answered

MAX_LINE, MAX_ANSWER = 140, 48  # characters
MAX_QUESTION = 4 * MAX_LINE  # what is longer begins with examples that were drawn for this sample alone
WORD = 20  # characters within which a word is looked for that is not to be cut
CUT = "…"


def questions(samples: Sequence[Answered]) -> list[str]:
    """Of each question what follows the words that all of them begin with; in one line.

    Of a long one its end, without the words that all of them end with.
    """
    texts = [" ".join(_asked(sample).split()) for sample in samples]
    if len(set(texts)) < 2:
        return [_own(text, 0, 0) for text in texts]
    start = _to_word(os.path.commonprefix(texts))
    return [_own(text, start, _to_word(os.path.commonprefix([text[start:][::-1] for text in texts]))) for text in texts]


def difference(before: str, after: str) -> tuple[str, str] | None:
    """Two answers from the word on in which they differ; None where only white space does."""
    first, second = (" ".join(text.split()) for text in (before, after))
    if first == second:
        return None
    start = _to_word(os.path.commonprefix([first, second]))
    return _short(first, start), _short(second, start)


def _asked(sample: Answered) -> str:
    return sample.requests[0][0] or sample.requests[0][1] if sample.requests else ""


def _own(text: str, start: int, n_end: int) -> str:
    rest, own = text[start:], text[start : len(text) - n_end]
    if not own:  # another question begins as this one ends
        return text[-MAX_LINE:]
    before = CUT if start else ""
    if len(rest) <= MAX_LINE:
        return before + rest
    if len(own) <= MAX_QUESTION:
        return before + own[:MAX_LINE] + (CUT if len(rest) > MAX_LINE else "")
    return CUT + own[-MAX_LINE:] + (CUT if n_end else "")


def _short(text: str, start: int) -> str:
    own = text[start:]
    return (CUT if start else "") + (own if len(own) <= MAX_ANSWER else own[:MAX_ANSWER] + CUT)


def _to_word(shared: str) -> int:
    """How many of the characters that texts share are whole words; all of them in a script without spaces."""
    space = shared.rfind(" ", max(0, len(shared) - WORD))
    return space + 1 if space >= 0 else len(shared)
