"""Sentences to find entities in, however they came: plain text, or a CoNLL file that says what is true of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llm_app.classify.entities.types import Tagging
from llm_app.classify.entities.words import words_of
from llm_app.classify.scripts import UNSPACED
from llm_app.data.conll import TaggedSentence

SAMPLE_LINES = 200  # that say whether a text is a CoNLL file
_TAG = re.compile(r"O|[BIESMLU]-\S+")
_IS_UNSPACED = re.compile(f"[{UNSPACED}]")


@dataclass(frozen=True)
class Sentence:
    """A text, where its words begin and end in it, and the tag in BIO of each where that is known.

    `line`: where it begins in its file, from 1.
    """

    line: int
    text: str
    words: tuple[tuple[int, int], ...]
    truth: tuple[str, ...] | None = None

    @property
    def tokens(self) -> tuple[str, ...]:
        """Its words."""
        return tuple(self.text[start:end] for start, end in self.words)


def sentences_of(text: str, line: int = 1) -> list[Sentence]:
    """Those of plain text: each line that has words is one. `line`: the number of the first."""
    lines = re.split(r"\r\n|\r|\n", text)
    cut = [(number, each, tuple(words_of(each))) for number, each in enumerate(lines, line)]
    return [Sentence(number, each, words) for number, each, words in cut if words]


def sentence_of(tagged: TaggedSentence) -> Sentence:
    """One of a CoNLL file: its tokens apart by spaces, but where the script has none."""
    text, words = "", list[tuple[int, int]]()
    for token in tagged.tokens:
        is_apart = text and not (_IS_UNSPACED.match(text[-1]) or _IS_UNSPACED.match(token))
        text += " " if is_apart else ""
        words.append((len(text), len(text) + len(token)))
        text += token
    return Sentence(tagged.line, text, tuple(words), tagged.tags)


def looks_tagged(text: str) -> bool:
    """Whether most lines end in a tag behind a token, as those of a CoNLL file do."""
    lines = [cells for line in text.split("\n") if (cells := line.split())][:SAMPLE_LINES]
    n_tagged = sum(len(cells) > 1 and _TAG.fullmatch(cells[-1]) is not None for cells in lines)
    return 2 * n_tagged > len(lines)


def conll_text(sentences: Sequence[Sentence], taggings: Mapping[int, Tagging]) -> str:
    """A CoNLL file of the sentences that have a tagging, by their places: token, true tag if known, found tag."""
    blocks = []
    for place, sentence in enumerate(sentences):
        if place in taggings:
            truth = [[tag] for tag in sentence.truth] if sentence.truth is not None else [[] for _ in sentence.words]
            rows = zip(sentence.tokens, truth, taggings[place].tags, strict=True)
            blocks.append("".join("\t".join((token, *true, found)) + "\n" for token, true, found in rows))
    return "\n".join(blocks)
