"""What the embedding view gives. No third-party imports."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Embedded:
    """So many of the texts have passed through the encoder."""

    n_done: int
    n: int


@dataclass(frozen=True)
class Grouped:
    """So many of the numbers of topics that come into question are tried; after the last one comes the map."""

    n_done: int
    n: int


@dataclass(frozen=True)
class Topic:
    """A cluster of texts.

    `words`: its key words and their weights, the weightiest first; `examples`: places of the texts nearest to its
    centre.
    """

    number: int  # from 0, the largest topic first
    size: int
    words: tuple[tuple[str, float], ...]
    examples: tuple[int, ...]


@dataclass(frozen=True)
class Point:
    """A text on the map. `topic`: -1 for one that belongs to none."""

    index: int
    x: float
    y: float
    topic: int


@dataclass(frozen=True)
class TopicMap:
    """All topics and all texts.

    `silhouettes`: number of topics -> mean silhouette, of the numbers that were tried; of one topic there is none.
    `explained`: share of the variance that the map shows (pca), None for tsne. `n_cut`: texts that lost their end.
    """

    topics: tuple[Topic, ...]
    points: tuple[Point, ...]
    silhouettes: Mapping[int, float]
    explained: float | None
    n_cut: int
