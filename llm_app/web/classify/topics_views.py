"""The topics of a table: a map whose marks are the topics' numbers, and each topic with its words. Pure functions.

The marks are radio buttons of one name: a browser lets the arrow keys go from one to the next, and says each one's
text, without a script of ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eval.report.markup import Markup, element
from eval.report.plots import colour_class
from llm_app.classify.topics.types import Point, Topic, TopicMap
from llm_app.options import Text
from llm_app.web.benchmark.results_markup import block, said, told, written
from llm_app.web.text import filled
from llm_app.web.views import joined as all_of
from llm_app.web.views import percent

MAX_DRAWN = 500  # marks; of more texts an even draw
TIP_CHARACTERS, LINE_CHARACTERS = 240, 160
NAMED = 12  # topics that have their words on the map
MARGIN, NAME_MARGIN = 4.0, 20.0  # percent of the map on each side
NO_TOPIC = "·"


@dataclass(frozen=True)
class Shown:
    """The topics of texts that stand on these lines of a table called `name`."""

    found: TopicMap
    name: str
    lines: Sequence[int]
    texts: Sequence[str]


def topics(shown: Shown) -> str:
    """What came of it in a line, the map, and the topics, the largest first."""
    return block(_head(shown), _map(shown), _about_map(shown), *(_topic(shown, topic) for topic in shown.found.topics))


def _head(shown: Shown) -> Markup:
    found = shown.found
    facts: list[Text] = [filled("topics_found", n=len(found.topics), title=shown.name, texts=len(shown.texts))]
    if n_none := sum(point.topic < 0 for point in found.points):
        facts.append(filled("topics_none", n=n_none))
    if found.n_cut:
        facts.append(filled("topics_cut", n=found.n_cut))
    return element("p", told(all_of(*facts)), class_="run-head")


def _about_map(shown: Shown) -> Markup:
    found = shown.found
    facts: list[Text] = [filled("topics_keys")]
    if len(found.points) > MAX_DRAWN:
        facts.append(filled("topics_drawn", n=len(_drawn(found.points)), whole=len(found.points)))
    if found.explained is not None:
        facts.append(filled("topics_explained", share=found.explained))
    if len(found.silhouettes) > 1:
        n, best = max(found.silhouettes.items(), key=lambda one: one[1])
        facts.append(filled("topics_chosen", n=n, best=best, low=min(found.silhouettes), high=max(found.silhouettes)))
    elif len(found.silhouettes) == 1:
        facts.append(filled("topics_silhouette", value=next(iter(found.silhouettes.values()))))
    return element("p", told(all_of(*facts)), class_="quiet about-map")


def _map(shown: Shown) -> Markup:
    """Every mark has its place in percent of the map; the text of the one that is pointed at stands below."""
    place = _Places(shown.found.points)
    # Topic by topic, so that the arrow keys go through one before the next.
    drawn = sorted(_drawn(shown.found.points), key=lambda point: (point.topic, point.x))
    marks = [_mark(shown, point, place) for point in drawn]
    names = [_name(shown.found, topic, place) for topic in shown.found.topics[:NAMED]]
    return element(
        "fieldset", element("legend", said("topics_map")), element("div", *names, *marks, class_="area"),
        class_="topic-map",
    )  # fmt: skip


class _Places:
    """Positions to percent of the map; the second axis points up."""

    def __init__(self, points: Sequence[Point]) -> None:
        xs, ys = [point.x for point in points], [point.y for point in points]
        self._x, self._y = (min(xs), max(xs)), (min(ys), max(ys))

    def style(self, x: float, y: float, least: float = 0.0) -> str:
        """`least`: percent that stay free at the left and the right."""
        left = min(max(_share(x, *self._x), least), 100 - least)
        return f"left:{left:.1f}%;top:{100 - _share(y, *self._y):.1f}%"


def _share(value: float, low: float, high: float) -> float:
    share = (value - low) / (high - low) if high > low else 0.5
    return MARGIN + share * (100 - 2 * MARGIN)


def _drawn(points: Sequence[Point]) -> Sequence[Point]:
    return points[:: math.ceil(len(points) / MAX_DRAWN)]


def _mark(shown: Shown, point: Point, place: _Places) -> Markup:
    sign = NO_TOPIC if point.topic < 0 else str(point.topic + 1)
    text = _line(shown.texts[point.index], TIP_CHARACTERS)
    return element(
        "label", element("input", type="radio", name="topic-map"),
        element("i", sign, style=place.style(point.x, point.y), class_="topic-mark"),
        element("span", element("b", sign), " ", element("bdi", written(text)), class_="tip"),
        class_=None if point.topic < 0 else colour_class(point.topic),
    )  # fmt: skip


def _name(found: TopicMap, topic: Topic, place: _Places) -> Markup:
    """A topic's first words in the middle of its texts."""
    members = [point for point in found.points if point.topic == topic.number]
    x, y = (sum(values) / len(members) for values in zip(*((one.x, one.y) for one in members), strict=True))
    words = " ".join(word for word, _ in topic.words[:2])
    return element(
        "span", f"{topic.number + 1} ", written(words), style=place.style(x, y, NAME_MARGIN), aria_hidden="true",
        class_=f"topic-name {colour_class(topic.number)}",
    )  # fmt: skip


def _topic(shown: Shown, topic: Topic) -> Markup:
    share = topic.size / len(shown.texts)
    words = [element("li", written(word), title=f"{weight:.4f}") for word, weight in topic.words]
    texts = [
        element(
            "li", element("span", f"{shown.lines[place]:,}", class_="number"),
            element("bdi", written(_line(shown.texts[place], LINE_CHARACTERS))),
        )
        for place in topic.examples
    ]  # fmt: skip
    return element(
        "section",
        element("h4", element("i", str(topic.number + 1)), " ",
                told(filled("topics_size", n=topic.size, share=percent(share)))),
        element("ul", *words, class_="settings") if words else element("p", said("topics_no_words"), class_="quiet"),
        element("p", said("topics_examples"), class_="quiet"), element("ol", *texts, class_="topic-texts"),
        class_=f"topic {colour_class(topic.number)}",
    )  # fmt: skip


def _line(text: str, n: int) -> str:
    words = " ".join(text.split())
    return words if len(words) <= n else words[: n - 1] + "…"
