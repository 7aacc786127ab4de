"""ROUGE for the `evaluate` package: evaluate.load("./eval/metrics/rouge")."""

from typing import Any

import datasets
import evaluate

from .score import __doc__ as DESCRIPTION
from .score import rouge


class RougeMetric(evaluate.Metric):
    """ROUGE; the arguments of compute are those of `rouge`."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        features = [
            datasets.Features({"predictions": text, "references": datasets.Sequence(text)}),
            datasets.Features({"predictions": text, "references": text}),
        ]
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=rouge.__doc__,
            features=features,
            reference_urls=["https://pypi.org/project/rouge-score/"],
        )

    def _compute(self, *, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        return dict(rouge(predictions, references, **options))
