"""Pearson's and Spearman's correlation of graded similarity, as for STS-B.

Definition: Pearson, covariance over the product of deviations; Spearman, the same of ranks, ties sharing the mean rank;
`mean` is GLUE's figure for STS-B, the mean of both. Range: -1 to 1. Higher is better. NaN where one side is constant.
Source: Cer et al. 2017, https://aclanthology.org/S17-2001; computed by scipy.
"""

import math
from collections.abc import Sequence
from typing import TypedDict

import scipy


class Sts(TypedDict):
    """Both correlations and their mean."""

    pearson: float
    spearman: float
    mean: float


def sts(predictions: Sequence[float], references: Sequence[float]) -> Sts:
    """Correlation of predicted with given similarity. Raises: ValueError for fewer than two pairs."""
    if len(predictions) != len(references) or len(predictions) < 2:
        raise ValueError(f"{len(predictions)} predictions and {len(references)} references: give two or more of each.")
    if len(set(predictions)) == 1 or len(set(references)) == 1:
        return Sts(pearson=math.nan, spearman=math.nan, mean=math.nan)
    pearson = float(scipy.stats.pearsonr(predictions, references).statistic)
    spearman = float(scipy.stats.spearmanr(predictions, references).statistic)
    return Sts(pearson=pearson, spearman=spearman, mean=(pearson + spearman) / 2)
