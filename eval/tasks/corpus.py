"""Scores of all samples together that are no mean of theirs: BLEU, perplexity, macro-F1. Each is a function of sums.

A sample's part in the sums is a row of numbers; the standard error is that of resampled rows (bootstrap).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.statistics import bootstrap_stderr
from eval.statistics.resampling import N_RESAMPLES, Array, Statistic

Rows = Callable[[Sequence[Any]], Array]


def as_given(values: Sequence[Any]) -> Array:
    """Values that are rows already."""
    return np.asarray(values, dtype=np.float64)


@dataclass(frozen=True)
class CorpusScore:
    """A score from the sums of `rows`, as the harness calls an aggregation: with the values of all samples."""

    statistic: Statistic
    rows: Rows = as_given

    def __call__(self, values: Sequence[Any]) -> float:
        return float(self.statistic(self.rows(values).sum(axis=0)))

    def standard_error(self, values: Sequence[Any], n_bootstrap: int) -> float | None:
        """Deviation of the score over at least two of the harness's own draws. None where it has none."""
        rows = self.rows(values)
        if not np.isfinite(rows).all():
            return None
        with np.errstate(all="ignore"):
            error = bootstrap_stderr(rows, self.statistic, n_resamples=max(2, min(n_bootstrap, N_RESAMPLES)))
        return error if np.isfinite(error) else None


def aggregation_name(function: Any) -> str:
    """The harness's name, else where the function is defined.

    A score of sums is named by the function of the sums, if its values are the rows already.
    """
    from lm_eval.api.registry import AGGREGATION_REGISTRY  # seconds, which whoever only computes need not wait

    known = {one: name for name, one in AGGREGATION_REGISTRY.items()}.get(function)
    if known is not None:
        return str(known)
    if isinstance(function, CorpusScore) and function.rows is as_given:
        function = function.statistic
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def ratio(totals: Array) -> Array:
    """First sum over second; NaN for nothing over nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(totals[..., 0] / totals[..., 1])


def perplexity(totals: Array) -> Array:
    """exp(-L / n) of summed log-likelihood and number of tokens, words or bytes; inf where it is too large."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(-ratio(totals)))


def bits(totals: Array) -> Array:
    """Bits for each byte, of summed log-likelihood in nats and bytes."""
    return np.asarray(-ratio(totals) / np.log(2))


def share_rows(values: Sequence[float | None]) -> Array:
    """Rows for the mean of those that have a value."""
    return np.array([(0.0, 0.0) if value is None else (value, 1.0) for value in values])
