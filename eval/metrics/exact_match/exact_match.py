"""Exact match and F1 for the `evaluate` package: evaluate.load("./eval/metrics/exact_match")."""

from typing import Any

import datasets
import evaluate

from .score import __doc__ as DESCRIPTION
from .score import exact_match


class ExactMatchMetric(evaluate.Metric):
    """Exact match and F1; the arguments of compute are those of `exact_match`."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        features = [
            datasets.Features({"predictions": text, "references": datasets.Sequence(text)}),
            datasets.Features({"predictions": text, "references": text}),
        ]
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=exact_match.__doc__,
            features=features,
            reference_urls=["https://rajpurkar.github.io/SQuAD-explorer/"],
        )

    def _compute(self, *, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        return dict(exact_match(predictions, references, **options))
