"""Span F1 for the `evaluate` package: evaluate.load("./eval/metrics/seqeval")."""

from typing import Any

import datasets
import evaluate

from .score import __doc__ as DESCRIPTION
from .score import seqeval


class SeqevalMetric(evaluate.Metric):
    """Span F1; the arguments of compute are those of `seqeval`."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        features = datasets.Features({"predictions": datasets.Sequence(text), "references": datasets.Sequence(text)})
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=seqeval.__doc__,
            features=features,
            reference_urls=["https://github.com/chakki-works/seqeval"],
        )

    def _compute(self, *, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        return dict(seqeval(predictions, references, **options))
