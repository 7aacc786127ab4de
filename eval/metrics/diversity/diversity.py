"""Diversity for the `evaluate` package: evaluate.load("./eval/metrics/diversity")."""

from typing import Any

import datasets
import evaluate

from .score import __doc__ as DESCRIPTION
from .score import diversity


class DiversityMetric(evaluate.Metric):
    """Diversity; the arguments of compute are those of `diversity`."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": datasets.Value("string")})
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=diversity.__doc__,
            features=features,
            reference_urls=["https://aclanthology.org/N16-1014"],
        )

    def _compute(self, *, predictions: Any) -> dict[str, Any]:
        return dict(diversity(predictions))
