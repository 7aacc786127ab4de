"""Is a probability of 0.8 right in 8 of 10 rows? Bins of a reliability diagram, before and after a temperature."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.metrics.classification.score import N_BINS, confidence_bins
from eval.statistics import Interval, wilson_interval
from eval.statistics.resampling import Array


@dataclass(frozen=True)
class Bin:
    """Rows whose highest probability lies above `low` and at most at `high`: the mean of it, and how many are right."""

    low: float
    high: float
    confidence: float
    accuracy: Interval


def reliability(probabilities: ArrayLike, truths: ArrayLike, *, n_bins: int = N_BINS) -> tuple[Bin, ...]:
    """The bins that hold rows. `truths`: numbers of columns; -1 for a label that has none, which is never right.

    Source: Guo et al. 2017, arXiv:1706.04599, section 2.
    """
    table, true = np.asarray(probabilities, dtype=np.float64), np.asarray(truths)
    (confidence, places), is_right = confidence_bins(table, n_bins), table.argmax(axis=1) == true
    found = []
    for place in np.unique(places).tolist():
        inside = places == place
        accuracy = wilson_interval(int(is_right[inside].sum()), int(inside.sum()))
        found.append(Bin(place / n_bins, (place + 1) / n_bins, float(confidence[inside].mean()), accuracy))
    return tuple(found)


def tempered(probabilities: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Probabilities as they are once the logits are divided by the temperature; above 1 it makes them less sure.

    The labels keep their order. Source: Guo et al. 2017, section 4.2.
    """
    if not temperature > 0:
        raise ValueError(f"A temperature is above 0, not {temperature}.")
    # A softmax hides only a constant, which the next one takes away again.
    tiny = np.finfo(np.float64).tiny
    logits: Array = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), tiny)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: Array = powers / powers.sum(axis=1, keepdims=True)
    return scaled
