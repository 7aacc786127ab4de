"""Area under the ROC curve with an interval, of two classes or of each against the rest."""

import math

import numpy as np
import scipy
from numpy.typing import NDArray

from eval.statistics import Interval
from eval.statistics.resampling import Array


def roc_auc(is_class: NDArray[np.bool_], scores: Array, *, confidence: float = 0.95) -> Interval | None:
    """Mean over columns of how likely a row of the class scores above one of another; None if a column lacks either.

    `is_class` and `scores` (n_rows, n_columns). The interval is symmetric on the logit scale, so that it stays within
    0 and 1; its ends are NaN where no row is out of place, which does not tell how sure that is.
    Source: DeLong et al. 1988, Biometrics 44:837, whose components of a row are summed here over the columns.
    """
    n, n_columns = is_class.shape
    n_in = is_class.sum(axis=0)
    n_out = n - n_in
    if not n_columns or not (n_in.all() and n_out.all()):
        return None
    areas, influence = np.zeros(n_columns), np.zeros(n)
    for column in range(n_columns):
        inside, values = is_class[:, column], scores[:, column]
        ranks = scipy.stats.rankdata(values)
        # How many of the other side a row is above, ties counting half: its rank among all less that among its own.
        above = np.empty(n)
        above[inside] = (ranks[inside] - scipy.stats.rankdata(values[inside])) / n_out[column]
        above[~inside] = 1 - (ranks[~inside] - scipy.stats.rankdata(values[~inside])) / n_in[column]
        areas[column] = above[inside].mean()
        weight = np.where(inside, 1 / n_in[column], 1 / n_out[column])
        influence += (above - areas[column]) * weight / n_columns
    area, deviation = float(areas.mean()), math.sqrt(float(np.sum(influence**2)) * n / (n - 1))
    if deviation == 0 or not 0 < area < 1:
        return Interval(area, math.nan, math.nan, n, confidence, "DeLong")
    reach = float(scipy.stats.norm.ppf((1 + confidence) / 2)) * deviation / (area * (1 - area))
    low, high = (1 / (1 + math.exp(-(math.log(area / (1 - area)) + side * reach))) for side in (-1, 1))
    return Interval(area, low, high, n, confidence, "DeLong, logit")
