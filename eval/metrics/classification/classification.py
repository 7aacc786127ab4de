"""Classification scores for the `evaluate` package: evaluate.load("./eval/metrics/classification")."""

from typing import Any

import datasets
import evaluate

from .score import __doc__ as DESCRIPTION
from .score import classification


class ClassificationMetric(evaluate.Metric):
    """Classification scores; the arguments of compute are those of `classification`."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        features = [
            datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
            datasets.Features({"predictions": text, "references": text}),
        ]
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=classification.__doc__,
            features=features,
            reference_urls=["https://scikit-learn.org/stable/modules/model_evaluation.html"],
        )

    def _compute(self, *, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        return dict(classification(predictions, references, **options))
