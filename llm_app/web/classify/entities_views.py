"""Sentences with their entities marked: by a colour, by a line, and by the name of the type. Pure functions."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from eval.report.markup import Markup, element
from llm_app.classify.entities.decode import spans
from llm_app.classify.entities.sentences import Sentence
from llm_app.classify.entities.types import Span, Tagging
from llm_app.data.types import BadRow
from llm_app.options import Text
from llm_app.web.benchmark.results_markup import block, said, told, written
from llm_app.web.classify.entities_reading import Brought
from llm_app.web.text import filled
from llm_app.web.views import joined as all_of
from llm_app.web.views import notice

SHOWN_SENTENCES = 200
SHOWN_LISTED, SHOWN_BAD = 100, 100
COLOURS = 6  # then the line under the words changes: solid, dashed, dotted
LINES = 3


@dataclass(frozen=True)
class Shown:
    """What a tagger said of sentences, by their places: of those that it came to.

    `by`: what it is called; `seconds`: what it took, if that is known; `learned`: see `Tagger`.
    """

    brought: Brought
    taggings: Mapping[int, Tagging]
    types: tuple[str, ...]
    by: str
    seconds: float | None
    learned: frozenset[str] = frozenset()

    @property
    def all_types(self) -> tuple[str, ...]:
        """Those of the tagger, then others that the file has."""
        return tuple(dict.fromkeys((*self.types, *self.brought.types)))


def found(shown: Shown) -> str:
    """What came of it in a line, the legend, the sentences, and the entities as a list."""
    places = sorted(shown.taggings)
    spans_of = {place: spans(shown.taggings[place]) for place in places}
    lines = [
        _line(shown.brought.sentences[place], spans_of[place], shown.all_types) for place in places[:SHOWN_SENTENCES]
    ]
    more = said("entities_more", n=len(places) - SHOWN_SENTENCES) if len(places) > SHOWN_SENTENCES else None
    return block(
        _head(shown, spans_of), _legend(shown, spans_of),
        element("ol", *lines, class_="tagged", tabindex="0"), element("p", more, class_="quiet") if more else None,
        _listed(shown, spans_of),
    )  # fmt: skip


def brought(what: Brought) -> str:
    """What was read, and what could not be."""
    n = len(what.sentences)
    if what.is_tagged:
        line = said("entities_read_tagged", title=what.name, n=n, types=", ".join(what.types) or "–")
    else:
        line = said("entities_read", title=what.name, n=n)
    notes = [element("p", told((note.text, note.text_zh)), class_="notice info") for note in what.notes]
    return block(element("p", line, class_="data-about"), *notes) + _bad(what.problems)


def highlighted(sentence: Sentence, entities: Iterable[tuple[int, int, str]], types: Sequence[str]) -> Markup:
    """A sentence with these entities marked, given by words."""
    return element("span", *_marked(sentence, [Span(*one, 0.0) for one in entities], types), dir="auto", class_="words")


def mark_class(kind: str, types: Sequence[str]) -> str:
    """Colour and line of a type."""
    number = types.index(kind) if kind in types else len(types)
    return f"entity run-{number % COLOURS} line-{number // COLOURS % LINES}"


def _line(sentence: Sentence, found: Sequence[Span], types: Sequence[str]) -> Markup:
    words = element("span", *_marked(sentence, found, types), dir="auto", class_="words")
    return element("li", element("span", f"{sentence.line:,}", class_="number"), words)


def _marked(sentence: Sentence, found: Sequence[Span], types: Sequence[str]) -> Iterator[Markup]:
    end = 0
    for span in found:
        start, stop = sentence.words[span.start][0], sentence.words[span.end - 1][1]
        yield written(sentence.text[end:start])
        yield element(
            "mark", element("bdi", written(sentence.text[start:stop])), element("b", written(span.type)),
            class_=mark_class(span.type, types), title=f"{span.probability:.3f}" if span.probability else None,
        )  # fmt: skip
        end = stop
    yield written(sentence.text[end:])


def _head(shown: Shown, spans_of: Mapping[int, Sequence[Span]]) -> Markup:
    n, whole = len(spans_of), len(shown.brought.sentences)
    facts: list[Text] = [
        filled("entities_found", n=sum(map(len, spans_of.values())), sentences=n), (shown.by, shown.by),
    ]
    if shown.seconds is not None:
        facts.append(filled("classify_took", ms=1000 * shown.seconds))
    if n < whole:
        facts.append(filled("entities_stopped", n=n, whole=whole))
    taggings = [shown.taggings[place] for place in spans_of]
    if n_cut := sum(tagging.n_cut for tagging in taggings):
        facts.append(filled("entities_cut", n=n_cut))
    if n_unknown := sum(tagging.n_unknown for tagging in taggings):
        facts.append(filled("entities_unknown", n=n_unknown))
    return element("p", told(all_of(*facts)), class_="figures")


def _legend(shown: Shown, spans_of: Mapping[int, Sequence[Span]]) -> Markup:
    counts = Counter(span.type for found in spans_of.values() for span in found)
    lines = [
        element("li", element("mark", element("b", written(kind)), class_=mark_class(kind, shown.all_types)),
                f" {counts[kind]:,}")
        for kind in shown.all_types
    ]  # fmt: skip
    return element("ul", *lines, class_="entity-legend")


def _listed(shown: Shown, spans_of: Mapping[int, Sequence[Span]]) -> Markup | None:
    """The same without colours: a line an entity, with its probability."""
    found = [(shown.brought.sentences[place], span) for place, those in spans_of.items() for span in those]
    if not found:
        return None
    names = ("own_line", "entities_entity", "entities_type", "entities_probability")
    head = element("tr", *(element("th", said(name), scope="col") for name in names))
    lines = [
        element(
            "tr", element("td", f"{sentence.line:,}"),
            element("td", element("bdi", written(words_of(sentence, span.start, span.end)))),
            element("td", written(span.type)), element("td", f"{span.probability:.3f}", class_="num"),
        )
        for sentence, span in found[:SHOWN_LISTED]
    ]  # fmt: skip
    summary = element("summary", said("entities_list", n=len(lines)))
    table = element("table", element("thead", head), element("tbody", *lines), class_="plain narrow")
    return element("details", summary, table, class_="fold-line", data_fold="entities-list")


def words_of(sentence: Sentence, start: int, end: int) -> str:
    """The text of these words."""
    return sentence.text[sentence.words[start][0] : sentence.words[end - 1][1]]


def _bad(problems: Sequence[BadRow]) -> str:
    if not problems:
        return ""
    lines = [
        element("li", said("tune_at_line", n=bad.origin.line), " ", told((bad.reason, bad.reason_zh or bad.reason)))
        for bad in problems[:SHOWN_BAD]
    ]
    more = element("li", said("own_more_lines", n=len(problems) - len(lines))) if len(problems) > len(lines) else None
    heading = said("entities_bad_lines", n=len(problems))
    return notice(block(heading, element("ul", *lines, more, class_="lines", tabindex="0")), "warning")
