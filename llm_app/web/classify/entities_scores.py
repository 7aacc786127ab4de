"""How good a tagger is on sentences whose entities are known: span scores, and every entity that is wrong."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from eval.report.markup import Markup, element
from eval.statistics import Interval
from llm_app.classify.entities.learned import n_among
from llm_app.classify.entities.scores import EntityScores, SpanScore, score
from llm_app.classify.entities.sentences import Sentence
from llm_app.classify.entities.wrong import Entity, Fault, WrongSpan, wrong_spans
from llm_app.data.conll import entities_of
from llm_app.web.benchmark.results_markup import block, said, written
from llm_app.web.classify.entities_views import Shown, highlighted, words_of
from llm_app.web.classify.scores_views import cell

SHOWN_WRONG = 200
FAULTS: tuple[Fault, ...] = ("missed", "spurious", "type", "ends")
FIGURES = ("scores_precision", "scores_recall", "scores_f1")


def scores(shown: Shown) -> str:
    """Strict span scores over all types and for each, then what is wrong; empty where no truth is known."""
    places = [place for place in sorted(shown.taggings) if shown.brought.sentences[place].truth is not None]
    if not places:
        return ""
    truths = [shown.brought.sentences[place].truth or () for place in places]
    taggings = [replace(shown.taggings[place], index=index) for index, place in enumerate(places)]
    wrong = [
        (place, one)
        for place, truth, tagging in zip(places, truths, taggings, strict=True)
        for one in wrong_spans(truth, tagging.tags)
    ]
    n_learned = n_among(shown.learned, (shown.brought.sentences[place].tokens for place in places))
    board = _board(score(truths, taggings, n_learned=n_learned), len(shown.brought.sentences))
    return block(board, _wrong(shown, wrong))


def _board(found: EntityScores, whole: int) -> Markup:
    """What makes the scores other than they seem, a line over all types, then one for each."""
    head = element(
        "tr", element("th", said("entities_type"), scope="col"),
        *(element("th", said(name), scope="col", class_="num") for name in ("entities_support", *FIGURES)),
    )  # fmt: skip
    lines = [
        _figures(said("entities_all_types"), found.all),
        *(_figures(written(kind), row) for kind, row in found.by_type.items()),
    ]
    table = element("table", element("thead", head), element("tbody", *lines), class_="scores board")
    n = found.n_sentences
    cautions = [
        *([said("entities_learned", n=found.n_learned, whole=n)] if found.n_learned else []),
        *([said("entities_stopped", n=n, whole=whole)] if n < whole else []),
    ]
    return element(
        "section", element("h4", said("entities_scores")),
        *(element("p", caution, class_="notice warning") for caution in cautions),
        element("div", table, class_="scroll", tabindex="0"),
        element("p", said("entities_scores_about", n=n, accuracy=found.accuracy), class_="quiet"),
    )  # fmt: skip


def _figures(name: Markup, row: SpanScore) -> Markup:
    cells = zip(FIGURES, (row.precision, row.recall, row.f1), strict=True)
    support = element("td", element("span", said("entities_support"), class_="label"), f"{row.support:,}", class_="num")
    return element(
        "tr", element("th", name, scope="row"), support, *(_cell(key, value) for key, value in cells), class_="first"
    )  # fmt: skip


def _cell(name: str, value: Interval) -> Markup:
    estimate, ends = cell(value)
    label = element("span", said(name), class_="label")
    return element("td", label, element("span", element("b", estimate), element("small", ends)), class_="num")


def _wrong(shown: Shown, wrong: Sequence[tuple[int, WrongSpan]]) -> Markup:
    if not wrong:
        return element("p", said("entities_none_wrong"), class_="notice info")
    counts = Counter(one.fault for _, one in wrong)
    parts = [
        element("li", said(f"fault_{fault}"), " ", element("b", f"{counts[fault]:,}")) for fault in FAULTS
    ]
    more = len(wrong) - SHOWN_WRONG
    return element(
        "section", element("h4", said("entities_wrong")), element("ul", *parts, class_="settings"),
        element("div", *(_line(shown, *one) for one in wrong[:SHOWN_WRONG]), class_="sample-list"),
        element("p", said("entities_more_wrong", n=more), class_="quiet") if more > 0 else None,
    )  # fmt: skip


def _line(shown: Shown, place: int, one: WrongSpan) -> Markup:
    """A wrong entity, which opens to its sentence, as it should be and as it was said to be."""
    sentence = shown.brought.sentences[place]
    said_so = entities_of(shown.taggings[place].tags)
    head = element(
        "summary", element("span", "✗ ", said(f"fault_{one.fault}"), class_="mark bad"),
        element("span", f"{sentence.line:,}", class_="number"),
        element("span", _entity(sentence, one.truth), " → ", _entity(sentence, one.found), class_="line"),
    )  # fmt: skip
    sides = [
        element("div", element("h5", said(name)), element("p", highlighted(sentence, entities, shown.all_types),
                                                          class_="tagged"), class_="part")
        for name, entities in (("rows_truth", entities_of(sentence.truth or ())), ("entities_said", said_so))
    ]  # fmt: skip
    return element("details", head, element("div", *sides, class_="inside"), class_="sample")


def _entity(sentence: Sentence, entity: Entity | None) -> Markup:
    """Paris LOC; a dash for none."""
    if entity is None:
        return written("–")
    start, end, kind = entity
    return element("span", element("bdi", written(words_of(sentence, start, end))), " ", element("b", written(kind)))

