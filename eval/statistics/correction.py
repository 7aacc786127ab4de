"""Several tasks, several chances to be lucky: p-values corrected for how many were looked at."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given; below 0.05 means: holds even among all of these tests.

    Needs no independence between the tasks. Source: Holm 1979, Scand J Stat 6:65.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("A p-value lies between 0 and 1.")
    order = np.argsort(p)
    # The smallest is multiplied by the number of tests, the next by one less; none may pass a smaller one.
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]
