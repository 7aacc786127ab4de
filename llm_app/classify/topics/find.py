"""Texts to topics: an iterator that tells how far it is, and gives the map at the end."""

from collections.abc import Iterator, Sequence

import numpy as np

from llm_app.classify.topics.clusters import clusters, nearest, positions
from llm_app.classify.topics.config import TopicsConfig
from llm_app.classify.topics.embedding import SentenceEncoder
from llm_app.classify.topics.types import Embedded, Grouped, Point, Topic, TopicMap
from llm_app.classify.topics.words import key_words
from llm_app.errors import UserError


def find_topics(
    texts: Sequence[str], encoder: SentenceEncoder, config: TopicsConfig
) -> Iterator[Embedded | Grouped | TopicMap]:
    """Progress, and at last the map; the same texts and options give the same map.

    Closing stops between two passes of the encoder, between two numbers of topics, and before the map, which is made
    in one piece.
    Raises: UserError for fewer than two texts, or fewer different ones than topics asked for.
    """
    if len(texts) < 2:
        raise UserError("Give at least two texts to find topics in.", param="data")
    parts, n_done = [], 0
    for part in encoder.embed(texts):
        parts.append(part)
        n_done += len(part.indices)
        yield Embedded(n_done, len(texts))
    vectors = np.concatenate([part.vectors for part in parts])
    # As the texts stand, not as they passed.
    vectors = vectors[np.argsort([index for part in parts for index in part.indices])]
    found = yield from clusters(vectors, config)
    plane, explained = positions(vectors, config)
    n_topics = len(found.centres)
    words = key_words(texts, found.topics.tolist(), n_topics, config.n_words)
    sizes = np.bincount(found.topics[found.topics >= 0], minlength=n_topics).tolist()
    topics = tuple(
        Topic(number, sizes[number], words[number], nearest(vectors, found, number, config.n_examples))
        for number in range(n_topics)
    )
    points = tuple(
        Point(index, float(x), float(y), int(topic))
        for index, ((x, y), topic) in enumerate(zip(plane, found.topics, strict=True))
    )
    yield TopicMap(topics, points, dict(found.silhouettes), explained, sum(part.n_cut for part in parts))
