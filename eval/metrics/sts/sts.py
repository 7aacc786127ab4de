"""Pearson's and Spearman's correlation for the `evaluate` package: evaluate.load("./eval/metrics/sts")."""

from typing import Any

import datasets
import evaluate

from .score import __doc__ as DESCRIPTION
from .score import sts


class StsMetric(evaluate.Metric):
    """Pearson's and Spearman's correlation; the arguments of compute are those of `sts`."""

    def _info(self) -> evaluate.MetricInfo:
        number = datasets.Value("float64")
        features = datasets.Features({"predictions": number, "references": number})
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=sts.__doc__,
            features=features,
            reference_urls=["https://docs.scipy.org/doc/scipy/reference/stats.html"],
        )

    def _compute(self, *, predictions: Any, references: Any) -> dict[str, Any]:
        return dict(sts(predictions, references))
