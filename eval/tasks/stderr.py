"""Standard errors as lm-evaluation-harness gives them, number for number, without its pool of processes."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api import metrics as harness

from eval.tasks.corpus import CorpusScore
from eval.tasks.glue import pearson, spearman

# What it estimates by resampling; everything else has a formula there, or nothing.
_RESAMPLED = (
    harness.median, harness.matthews_corrcoef, harness.f1_score, harness.perplexity, harness.bleu, harness.chrf,
    harness.chrfpp, harness.ter, harness.nanmean,
)
_SLOW = ("bleu", "chrf", "chrf++", "ter")
_CORRELATIONS = (pearson, spearman)  # our own, resampled as the harness resamples its Matthews correlation
N_CORRELATIONS = 1000  # resamples of these; a thousand tell a deviation to 2 or 3 %
_CHUNK = 1000


def standard_error(
    metric: str, aggregate: Callable[[Sequence[Any]], float], values: Sequence[Any], n_bootstrap: int
) -> float | str:
    """Standard error of an aggregated metric; "N/A" where the harness has none. `n_bootstrap` is 100,000 there.

    distinct-n has none either: drawn with replacement, texts occur twice, and each repeats its own words.
    """
    if n_bootstrap <= 0 or len(values) < 2:
        return "N/A"
    if isinstance(aggregate, CorpusScore):
        error = aggregate.standard_error(values, n_bootstrap)
        return "N/A" if error is None else error
    if aggregate in _CORRELATIONS:
        with warnings.catch_warnings(action="ignore"):  # a resample of equal numbers has no correlation
            scores = [x for x in _resampled(aggregate, values, min(n_bootstrap, N_CORRELATIONS)) if math.isfinite(x)]
        return float(harness.sample_stddev(scores)) if len(scores) > 1 else "N/A"
    if aggregate in _RESAMPLED:
        n = min(n_bootstrap, 100) if metric in _SLOW else n_bootstrap
        return float(harness.sample_stddev(_resampled(aggregate, values, n)))
    function = harness.stderr_for_metric(metric=aggregate, bootstrap_iters=n_bootstrap)
    return float(function(values)) if function else "N/A"


def _resampled(aggregate: Callable[[Sequence[Any]], float], values: Sequence[Any], n: int) -> list[float]:
    """Scores of resamples: the harness's own draws. Its pool would fork a process that has torch's threads."""
    chunk = min(_CHUNK, n)
    resample = harness._bootstrap_internal(aggregate, chunk)
    return [score for i in range(n // chunk) for score in resample((i, values))]
