"""chrF for the `evaluate` package: evaluate.load("./eval/metrics/chrf")."""

from typing import Any

import datasets
import evaluate

from .score import __doc__ as DESCRIPTION
from .score import chrf


class ChrfMetric(evaluate.Metric):
    """chrF; the arguments of compute are those of `chrf`."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        features = [
            datasets.Features({"predictions": text, "references": datasets.Sequence(text)}),
            datasets.Features({"predictions": text, "references": text}),
        ]
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=chrf.__doc__,
            features=features,
            reference_urls=["https://github.com/mjpost/sacrebleu"],
        )

    def _compute(self, *, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        return dict(chrf(predictions, references, **options))
