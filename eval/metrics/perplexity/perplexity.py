"""Perplexity for the `evaluate` package: evaluate.load("./eval/metrics/perplexity")."""

from typing import Any

import datasets
import evaluate

from .score import __doc__ as DESCRIPTION
from .score import perplexity


class PerplexityMetric(evaluate.Metric):
    """Perplexity; the arguments of compute are those of `perplexity`."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(
            {
                "loglikelihoods": datasets.Value("float64"),
                "n_tokens": datasets.Value("int64"),
                "texts": datasets.Value("string"),
            }
        )
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=perplexity.__doc__,
            features=features,
            reference_urls=["https://huggingface.co/docs/transformers/perplexity"],
        )

    def _compute(self, *, loglikelihoods: Any, n_tokens: Any, texts: Any) -> dict[str, Any]:
        return dict(perplexity(loglikelihoods, n_tokens, texts))
