"""What a classifier says of one text, shown: pure functions, of text that is always escaped."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eval.report.markup import Markup, element
from eval.report.numbers import MINUS
from llm_app.classify.config import LEAVE_ONE_OUT
from llm_app.classify.explain import Span
from llm_app.classify.types import Kind, Prediction, answer
from llm_app.options import Text
from llm_app.web.benchmark.results_markup import block, said, told, written
from llm_app.web.text import filled
from llm_app.web.views import joined as all_of

SHOWN_LABELS = 20  # of very many: the likeliest
SHOWN_WEIGHTS = 12
SHADES = 5  # of a word's background
FULL_NATS = 1.0  # has the darkest, unless another word has more: what hardly matters must not look like evidence
LEAST_NATS = 0.1  # below it a word does not matter; likelihoods in half precision are rounded to sixteenths
THRESHOLD = 0.5  # of each of several labels, as `types.answer` takes it


@dataclass(frozen=True)
class Said:
    """What came of one text. `by`: what classified it."""

    kind: Kind
    labels: Sequence[str]
    prediction: Prediction
    seconds: float
    by: Text


def verdict(found: Said) -> str:
    """The answer, how likely each label is, and what it took."""
    return block(element("section", _head(found), *_bars(found), _foot(found), class_="said-of"))


def deciding(texts: Sequence[tuple[str, Sequence[Span]]], label: str | None, how: str = LEAVE_ONE_OUT) -> str:
    """Texts with the words that decided. `label`: for which; None where it is a value. `how`: of EXPLANATIONS.

    A word that speaks for it has a solid line, one against a dotted line: told without colour too.
    """
    weights = [abs(span.weight) for _, spans in texts for span in spans]
    if not weights:
        return ""
    most = max(weights)
    key = said("classify_words_value") if label is None else said("classify_words_key", label=label)
    if label is not None and most < LEAST_NATS:
        key = said("classify_words_none", least=LEAST_NATS)
    darkest = most if label is None else max(most, FULL_NATS)
    measure = said(f"classify_words_{how.replace('-', '_')}")
    return block(
        element("h4", said("classify_words")),
        *(element("p", *_marked(text, spans, darkest), class_="deciding") for text, spans in texts),
        element("p", key, " ", measure, class_="quiet"), _weights(texts),
    )  # fmt: skip


def _head(found: Said) -> Markup:
    said_so = answer(found.kind, found.labels, found.prediction.scores)
    if isinstance(said_so, float):
        return element("h3", written(found.labels[0]), " ", element("b", number(said_so)))
    if isinstance(said_so, tuple):
        return element("h3", written(", ".join(said_so) or "–"))
    score = found.prediction.scores[list(found.labels).index(said_so)]
    return element("h3", written(said_so), " ", element("b", f"{score:.3f}"))


def _bars(found: Said) -> list[Markup]:
    if found.kind == "regression":
        return [element("p", said("classify_value"), class_="quiet")]
    scores = found.prediction.scores
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    lines = [_bar(found, place) for place in order]
    note = said("classify_sums") if found.kind == "single" else said("classify_each", threshold=THRESHOLD)
    parts = [element("ol", *lines[:SHOWN_LABELS], class_="label-bars")]
    if rest := lines[SHOWN_LABELS:]:
        summary = element("summary", said("classify_more_labels", n=len(rest)))
        parts.append(element("details", summary, element("ol", *rest, class_="label-bars"), class_="fold-line"))
    return [*parts, element("p", note, class_="quiet")]


def _bar(found: Said, place: int) -> Markup:
    score = found.prediction.scores[place]
    is_said = found.kind == "multi" and score >= THRESHOLD
    return element(
        "li", element("span", written(found.labels[place]), " ✓" if is_said else None, class_="name"),
        element("span", element("i", style=f"width:{min(max(score, 0.0), 1.0):.1%}"), class_="bar"),
        element("span", f"{score:.3f}", class_="num"),
    )  # fmt: skip


def _foot(found: Said) -> Markup:
    facts: list[Text] = [filled("classify_took", ms=1000 * found.seconds), found.by]
    if found.prediction.n_cut:
        facts.append(filled("classify_cut", n=found.prediction.n_cut))
    return element("p", told(all_of(*facts)), class_="figures")


def _marked(text: str, spans: Sequence[Span], darkest: float) -> Iterator[Markup]:
    end = 0
    for span in spans:
        shade = round(SHADES * abs(span.weight) / darkest) if darkest else 0
        if not shade:
            continue
        yield written(text[end : span.start])
        tone = "for" if span.weight > 0 else "against"
        word = written(text[span.start : span.end])
        yield element("mark", word, class_=f"{tone} shade-{shade}", title=signed(span.weight))
        end = span.end
    yield written(text[end:])


def _weights(texts: Sequence[tuple[str, Sequence[Span]]]) -> Markup:
    """The same in figures."""
    found = [(text[span.start : span.end], span.weight) for text, spans in texts for span in spans]
    strongest = sorted(found, key=lambda one: -abs(one[1]))[:SHOWN_WEIGHTS]
    head = element(
        "tr", element("th", said("classify_word"), scope="col"),
        element("th", said("classify_weight"), scope="col", class_="num"),
    )  # fmt: skip
    lines = [
        element("tr", element("td", written(word)), element("td", signed(weight), class_="num"))
        for word, weight in strongest
    ]
    table = element("table", element("thead", head), element("tbody", *lines), class_="plain narrow")
    summary = element("summary", said("classify_weights"))
    return element("details", summary, table, class_="fold-line", data_fold="weights")


def number(value: float) -> str:
    """A value with four figures."""
    return f"{value:.4g}".replace("-", MINUS)


def signed(value: float) -> str:
    """With its sign."""
    return f"{value:+.3f}".replace("-", MINUS)
