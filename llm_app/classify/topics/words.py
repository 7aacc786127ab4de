"""Key words of clusters by class-based TF-IDF: words that a cluster has much of, and all others little.

weight(t, c) = share of t among c's words * log(1 + A / f(t)), with f(t) how often t stands in all clusters and A the
mean number of words of a cluster. Source: Grootendorst 2022 (BERTopic), arXiv:2203.05794, section 3.3, with the counts
of a cluster divided by their sum, as its program does.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_app.classify.scripts import UNSPACED

_RUN, _WORD = re.compile(f"[{UNSPACED}]+"), re.compile(rf"[^\W\d_{UNSPACED}][^\W_{UNSPACED}]+")
# Characters that hold Chinese sentences together; a pair with one of them is hardly a key word.
_FUNCTION = frozenset("的了是在和也就都而及与着或一个没有我你他她它们这那不很到说要去会上吗呢吧啊呀")
Array = NDArray[np.float64]


def terms_of(text: str) -> list[str]:
    """Words in small letters but English stop words; of scripts without spaces, every two neighbouring characters."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    words = [word for word in _WORD.findall(text.lower()) if word not in ENGLISH_STOP_WORDS]
    pairs = [run[i : i + 2] for run in _RUN.findall(text) for i in range(len(run) - 1)]
    return words + [pair for pair in pairs if not _FUNCTION & set(pair)]


def key_words(
    texts: Sequence[str], topics: Sequence[int], n_topics: int, n_words: int
) -> list[tuple[tuple[str, float], ...]]:
    """The weightiest terms of each topic from 0 and their weights; texts of topic -1 do not count."""
    from sklearn.feature_extraction.text import CountVectorizer

    together = ["\n".join(texts[i] for i in range(len(texts)) if topics[i] == topic) for topic in range(n_topics)]
    if not any(map(terms_of, together)):
        return [()] * n_topics
    vectorizer = CountVectorizer(analyzer=terms_of)
    counts = vectorizer.fit_transform(together).toarray().astype(np.float64)
    terms: Any = vectorizer.get_feature_names_out()
    return [_best(row, terms, n_words) for row in class_tf_idf(counts)]


def class_tf_idf(counts: Array) -> Array:
    """Weights (clusters, terms) from counts of the same shape, in which every term occurs."""
    sizes = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, sizes, out=np.zeros_like(counts), where=sizes > 0)
    weights: Array = shares * np.log(1 + sizes.mean() / counts.sum(axis=0))
    return weights


def _best(weights: Array, terms: Any, n: int) -> tuple[tuple[str, float], ...]:
    # Equal weights in the order of the terms, so that the same texts always give the same words.
    order = np.argsort(-weights, kind="stable")[:n]
    return tuple((str(terms[i]), float(weights[i])) for i in order if weights[i] > 0)
