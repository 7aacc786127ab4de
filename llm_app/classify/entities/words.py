"""Text cut into words as the corpora of named entities have them, and entities found in plain text."""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from llm_app.classify.entities.decode import spans
from llm_app.classify.entities.types import Span, Tagger
from llm_app.classify.scripts import UNSPACED

# In this order: an address, a name or a tag of social media, what follows an apostrophe ('s, 're), a character of a
# script without spaces, a word or a number, and any other sign by itself.
_WORD = re.compile(
    rf"https?://\S+|[@#][^\W{UNSPACED}]+|['’](?:s|m|re|ve|ll|d|t)\b|"
    rf"[{UNSPACED}]|[^\W{UNSPACED}]+(?:[.,]\d+)*|\S",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Found:
    """The entities of a text, by characters. `n_cut`: words that were not read, since a line was too long."""

    index: int
    spans: tuple[Span, ...]
    n_cut: int = 0
    n_unknown: int = 0


def words_of(text: str, start: int = 0, end: int = sys.maxsize) -> list[tuple[int, int]]:
    """Where each word of this part of a text begins and ends."""
    return [match.span() for match in _WORD.finditer(text, start, end)]


def find_entities(tagger: Tagger, texts: Sequence[str]) -> Iterator[Found]:
    """What each text names, in the order of the texts; each line is a sentence by itself."""
    for index, text in enumerate(texts):
        yield _found(tagger, index, text)


def _found(tagger: Tagger, index: int, text: str) -> Found:
    lines = [words_of(text, *line.span()) for line in re.finditer(r"[^\r\n]+", text)]
    taggings = sorted(
        tagger.tag([[text[start:end] for start, end in words] for words in lines]), key=lambda tagging: tagging.index
    )
    found = [
        replace(span, start=words[span.start][0], end=words[span.end - 1][1])
        for words, tagging in zip(lines, taggings, strict=True)
        for span in spans(tagging)
    ]
    return Found(
        index, tuple(found), sum(tagging.n_cut for tagging in taggings), sum(tagging.n_unknown for tagging in taggings)
    )
