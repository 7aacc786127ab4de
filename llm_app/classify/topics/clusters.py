"""Clusters of embeddings, and their places on a map; scikit-learn does the work."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from llm_app.classify.topics.config import TopicsConfig

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


def clusters(vectors: Vectors, config: TopicsConfig) -> Clusters:
    """Clusters of vectors of length 1; with such, k-means by distance is k-means by cosine."""
    if config.method == "hdbscan":
        least = min(config.least_size, max(2, len(vectors)))
        return _by_size(vectors, HDBSCAN(min_cluster_size=least, copy=True).fit(vectors).labels_, {})
    n_distinct = len(np.unique(vectors, axis=0))
    if n_distinct < 2:
        return _by_size(vectors, np.zeros(len(vectors), dtype=np.intp), {})
    most = min(MOST_TRIED, n_distinct - 1, max(2, math.isqrt(len(vectors))))
    tried = [min(config.n_topics, n_distinct)] if config.n_topics else list(range(2, most + 1))
    if not tried:  # two different texts
        tried = [2]
    found = {n: _k_means(vectors, n, config.seed) for n in tried}
    silhouettes = {n: score for n, topics in found.items() if (score := _silhouette(vectors, topics)) is not None}
    best = max(tried, key=lambda n: silhouettes.get(n, -1.0))
    return _by_size(vectors, found[best], silhouettes)


def positions(vectors: Vectors, config: TopicsConfig) -> tuple[NDArray[np.float64], float | None]:
    """Places on a plane (vectors, 2), and the share of the variance that they show where that is known."""
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


def _k_means(vectors: Vectors, n: int, seed: int) -> NDArray[np.intp]:
    labels: NDArray[np.intp] = KMeans(n, n_init=N_STARTS, random_state=seed).fit(vectors).labels_.astype(np.intp)
    return labels


def _silhouette(vectors: Vectors, topics: NDArray[np.intp]) -> float | None:
    """Over an even draw of the vectors; None where it is not defined."""
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
