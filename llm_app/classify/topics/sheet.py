"""Topics as a table: what the command line and the page write as CSV."""

from collections.abc import Iterator, Sequence

from llm_app.classify.topics.types import TopicMap

COLUMNS = ("row", "topic", "words", "x", "y", "text")


def rows_of(
    found: TopicMap, lines: Sequence[int], texts: Sequence[str]
) -> Iterator[tuple[int, int, str, float, float, str]]:
    """A row a text: its line, its topic (-1 for none) with the key words, its place on the map."""
    words = {topic.number: " ".join(word for word, _ in topic.words) for topic in found.topics}
    for point in found.points:
        yield (
            lines[point.index], point.topic, words.get(point.topic, ""), point.x, point.y, texts[point.index],
        )  # fmt: skip
