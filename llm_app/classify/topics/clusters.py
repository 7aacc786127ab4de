"""Clusters of embeddings, and their places on a map; scikit-learn does the work."""

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_app.classify.topics.config import TopicsConfig
from llm_app.classify.topics.types import Grouped
from llm_app.errors import UserError

MOST_TRIED = 15  # topics; more can be asked for
N_SILHOUETTE = 2_000  # texts at most that a silhouette is taken over
N_STARTS = 4
PERPLEXITY, TSNE_WIDTH = 30.0, 50
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Clusters:
    """`topics`: of each vector, -1 for none, the largest topic is 0; `centres` (topics, width), the mean of each."""

    topics: NDArray[np.intp]
    centres: Vectors
    silhouettes: Mapping[int, float] = field(default_factory=dict)


def clusters(vectors: Vectors, config: TopicsConfig) -> Generator[Grouped, None, Clusters]:
    """Clusters of vectors of length 1; with such, k-means by distance is k-means by cosine.

    Tells each number of topics that is tried; closing stops between two of them.
    Raises: UserError if there are fewer different vectors than topics asked for, or than a topic needs.
    """
    if config.method == "hdbscan":
        return (yield from _dense(vectors, config.least_size))
    tried = _to_be_tried(vectors, config.n_topics)
    found, silhouettes = dict[int, NDArray[np.intp]](), dict[int, float]()
    for n_done, n in enumerate(tried, start=1):
        found[n] = _k_means(vectors, n, config.seed) if n > 1 else np.zeros(len(vectors), dtype=np.intp)
        if (score := _silhouette(vectors, found[n])) is not None:
            silhouettes[n] = score
        yield Grouped(n_done, len(tried))
    best = max(tried, key=lambda n: silhouettes.get(n, -1.0))
    return _by_size(vectors, found[best], silhouettes)


def positions(vectors: Vectors, config: TopicsConfig) -> tuple[NDArray[np.float64], float | None]:
    """Places on a plane (vectors, 2), and the share of the variance that they show where that is known."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n = len(vectors)
    plane = np.zeros((n, 2))
    width = min(2 if config.positions == "pca" else TSNE_WIDTH, *vectors.shape)
    pca = PCA(width, svd_solver="full" if n <= width else "auto", random_state=config.seed)
    if n < 2 or len(np.unique(vectors, axis=0)) < 2:
        return plane, None
    reduced = pca.fit_transform(vectors.astype(np.float64))
    if config.positions == "pca" or n <= 3:
        plane[:, : min(2, width)] = reduced[:, :2]
        return plane, float(pca.explained_variance_ratio_[:2].sum())
    tsne = TSNE(perplexity=min(PERPLEXITY, (n - 1) / 3), init="pca", random_state=config.seed)
    return tsne.fit_transform(reduced), None


def nearest(vectors: Vectors, found: Clusters, topic: int, n: int) -> tuple[int, ...]:
    """Places of the vectors of a topic that are nearest to its centre, the nearest first."""
    members = np.flatnonzero(found.topics == topic)
    away = np.linalg.norm(vectors[members] - found.centres[topic], axis=1)
    return tuple(int(place) for place in members[np.argsort(away, kind="stable")[:n]])


def _dense(vectors: Vectors, least_size: int) -> Generator[Grouped, None, Clusters]:
    """Those of HDBSCAN, which finds out how many there are."""
    from sklearn.cluster import HDBSCAN

    if least_size > len(vectors):
        raise UserError(
            f"A topic needs {least_size:,} texts, and there are {len(vectors):,}: lower least_size.", param="least_size"
        )
    found = HDBSCAN(min_cluster_size=least_size, copy=True).fit(vectors).labels_
    yield Grouped(1, 1)
    return _by_size(vectors, found, {})


def _to_be_tried(vectors: Vectors, n_topics: int | None) -> list[int]:
    """Numbers of topics; of vectors that are all the same, 1. `n_topics`: what was asked for."""
    n_distinct = len(np.unique(vectors, axis=0))
    if n_topics is not None:
        if n_topics > n_distinct:
            raise UserError(
                f"No more than {n_distinct:,} of the texts differ: ask for fewer topics than {n_topics:,}.",
                param="n_topics",
            )
        return [n_topics]
    most = min(MOST_TRIED, n_distinct - 1, max(2, math.isqrt(len(vectors))))
    return list(range(2, most + 1)) or [min(2, n_distinct)]


def _k_means(vectors: Vectors, n: int, seed: int) -> NDArray[np.intp]:
    from sklearn.cluster import KMeans

    labels: NDArray[np.intp] = KMeans(n, n_init=N_STARTS, random_state=seed).fit(vectors).labels_.astype(np.intp)
    return labels


def _silhouette(vectors: Vectors, topics: NDArray[np.intp]) -> float | None:
    """Over an even draw of the vectors; None where it is not defined."""
    from sklearn.metrics import silhouette_score

    shown = slice(None, None, math.ceil(len(vectors) / N_SILHOUETTE))
    n_topics = len(set(topics[shown].tolist()))
    if not 2 <= n_topics < len(topics[shown]):
        return None
    return float(silhouette_score(vectors[shown], topics[shown]))


def _by_size(vectors: Vectors, labels: NDArray[Any], silhouettes: Mapping[int, float]) -> Clusters:
    """Topics numbered by size, the largest first; of equal ones the one that comes first."""
    numbers, firsts, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    order = np.lexsort((firsts, -sizes))
    topics = np.full(len(labels), -1, dtype=np.intp)
    for rank, which in enumerate(order):
        topics[labels == numbers[which]] = rank
    centres = [vectors[topics == rank].mean(axis=0) for rank in range(len(order))]
    return Clusters(topics, np.array(centres, dtype=np.float32).reshape(len(order), vectors.shape[1]), silhouettes)
