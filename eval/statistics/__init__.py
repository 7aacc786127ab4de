"""Is a score reliable, and is a difference real? Intervals, paired tests, Holm's correction, power.

Scores are one number a sample, in the order of the samples. A corpus score that is no mean of sample scores
(perplexity, BLEU, MCC) is passed as `statistic`, a function of column sums; see `resampling`. Every draw has a seed.
Needs numpy and scipy only.
"""

from eval.statistics.correction import holm
from eval.statistics.intervals import (
    Interval,
    bootstrap_interval,
    bootstrap_stderr,
    mean_interval,
    mean_stderr,
    wilson_interval,
)
from eval.statistics.paired import McNemar, PairedTest, mcnemar, paired_bootstrap, paired_permutation
from eval.statistics.power import (
    detectable_difference,
    detectable_rate_difference,
    samples_for_difference,
    samples_for_rate_difference,
)

__all__ = [
    "Interval",
    "McNemar",
    "PairedTest",
    "bootstrap_interval",
    "bootstrap_stderr",
    "detectable_difference",
    "detectable_rate_difference",
    "holm",
    "mcnemar",
    "mean_interval",
    "mean_stderr",
    "paired_bootstrap",
    "paired_permutation",
    "samples_for_difference",
    "samples_for_rate_difference",
    "wilson_interval",
]
