"""Random column sums: the one loop under every bootstrap and permutation test of this package.

A corpus score is a function of sums over the samples: the mean of sum and count, perplexity of log-likelihood and token
count, MCC of a confusion matrix, BLEU of n-gram counts. So a resample needs no copy of the data, only new sums:
`rows` (n_samples, k) in, totals (n_resamples, k) out, and a statistic that maps totals (..., k) to scores (...).
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]

N_RESAMPLES = 10_000
# Numbers held at once by a chunk of resamples: 32 MB in float64.
CHUNK_SIZE = 4_000_000
# Up to here equal rows are drawn by their counts, which is the same distribution and needs no index for each sample.
MAX_DISTINCT_ROWS = 64


def mean(totals: Array) -> Array:
    """The mean, from totals of (score, 1); more generally any ratio of two sums."""
    return totals[..., 0] / totals[..., 1]


def as_rows(scores: ArrayLike, clusters: Sequence[Hashable] | None = None) -> Array:
    """Rows (n, k) whose column sums make up the statistic; plain scores become (score, 1), clusters one row each.

    Raises: ValueError for no samples, for a number that is not finite, or for as many clusters as do not fit.
    """
    rows: Array = np.asarray(scores, dtype=np.float64)
    if rows.ndim == 1:
        rows = np.column_stack([rows, np.ones(len(rows))])
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError(f"Give one score, or one row of numbers, for each of one or more samples, not {rows.shape}.")
    if not np.isfinite(rows).all():
        raise ValueError("A score is NaN or infinite. Leave unscored samples out on both sides, and count them.")
    return rows if clusters is None else _sum_within(rows, clusters)


def _sum_within(rows: Array, clusters: Sequence[Hashable]) -> Array:
    if len(clusters) != len(rows):
        raise ValueError(f"{len(rows)} samples but {len(clusters)} cluster names.")
    numbers: dict[Hashable, int] = {}
    inverse = [numbers.setdefault(name, len(numbers)) for name in clusters]
    sums = np.zeros((len(numbers), rows.shape[1]))
    np.add.at(sums, inverse, rows)
    return sums


def bootstrap_totals(rows: Array, *, n_resamples: int, seed: int) -> Array:
    """Totals (n_resamples, k) of n rows drawn with replacement."""
    random = np.random.default_rng(seed)
    n = len(rows)
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    if len(distinct) <= MAX_DISTINCT_ROWS:
        return random.multinomial(n, counts / n, size=n_resamples) @ distinct
    draws = (random.integers(n, size=(size, n), dtype=np.int32) for size in _chunks(n_resamples, n))
    return np.concatenate([totals_of_draws(rows, drawn) for drawn in draws])


def totals_of_draws(rows: Array, drawn: NDArray[Any]) -> Array:
    """Totals of the rows whose indices are in each line of `drawn` (n_resamples, n)."""
    n = len(rows)
    # How often each row was drawn, all lines in one count: line i counts in bins i * n up to (i + 1) * n.
    bins = drawn + np.arange(len(drawn), dtype=np.int64)[:, None] * n
    times = np.bincount(bins.ravel(), minlength=len(drawn) * n).reshape(len(drawn), n)
    return times.astype(np.float64) @ rows


def half_totals(rows: Array, *, n_resamples: int, seed: int, tries_all: bool = True) -> tuple[Array, bool]:
    """Totals of rows taken each with probability 1/2, and whether they are all 2**n subsets instead of a draw.

    They are that where no more than `n_resamples` are needed, unless `tries_all` is False.
    """
    distinct, counts = np.unique(rows[np.any(rows != 0, axis=1)], axis=0, return_counts=True)
    n = int(counts.sum())
    if tries_all and 2**n <= n_resamples:
        each = np.repeat(distinct, counts, axis=0)
        taken = np.arange(2**n)[:, None] >> np.arange(n) & 1
        return taken.astype(np.float64) @ each, True
    random = np.random.default_rng(seed)
    if len(distinct) <= MAX_DISTINCT_ROWS:
        return random.binomial(counts, 0.5, size=(n_resamples, len(distinct))) @ distinct, False
    each = np.repeat(distinct, counts, axis=0)
    halves = (random.integers(2, size=(size, n), dtype=np.int8) for size in _chunks(n_resamples, n))
    return np.concatenate([taken.astype(np.float64) @ each for taken in halves]), False


def _chunks(n_resamples: int, n: int) -> Iterator[int]:
    size = max(1, CHUNK_SIZE // n)
    for start in range(0, n_resamples, size):
        yield min(size, n_resamples - start)
