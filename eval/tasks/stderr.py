"""Standard errors as lm-evaluation-harness gives them, number for number, without its pool of processes."""

from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api import metrics as harness

from eval.tasks.corpus import CorpusScore

# What it estimates by resampling; everything else has a formula there, or nothing.
_RESAMPLED = (
    harness.median, harness.matthews_corrcoef, harness.f1_score, harness.perplexity, harness.bleu, harness.chrf,
    harness.chrfpp, harness.ter, harness.nanmean,
)
_SLOW = ("bleu", "chrf", "chrf++", "ter")
_CHUNK = 1000


def standard_error(
    metric: str, aggregate: Callable[[Sequence[Any]], float], values: Sequence[Any], n_bootstrap: int
) -> float | str:
    """Standard error of an aggregated metric; "N/A" where the harness has none. `n_bootstrap` is 100,000 there."""
    if n_bootstrap <= 0 or len(values) < 2:
        return "N/A"
    if isinstance(aggregate, CorpusScore):
        error = aggregate.standard_error(values, n_bootstrap)
        return "N/A" if error is None else error
    if aggregate in _RESAMPLED:
        # A pool would fork a process that has torch's threads. The seeds of the chunks make the same numbers here.
        n = min(n_bootstrap, 100) if metric in _SLOW else n_bootstrap
        chunk = min(_CHUNK, n)
        resample = harness._bootstrap_internal(aggregate, chunk)
        return float(harness.sample_stddev([x for i in range(n // chunk) for x in resample((i, values))]))
    function = harness.stderr_for_metric(metric=aggregate, bootstrap_iters=n_bootstrap)
    return float(function(values)) if function else "N/A"
