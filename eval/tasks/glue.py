"""STS-B, the one GLUE task that lm-evaluation-harness lacks: how similar are two sentences, from 0 to 5?

The model's answer is the mean of the marks 0 to 5, each weighted by the probability that the model gives it as the
next words. GLUE's metrics: Pearson's and Spearman's correlation with the mean human mark, over all samples.
Data: Cer et al. 2017, SemEval-2017 task 1, as in Wang et al. 2019, GLUE.
"""

from collections.abc import Sequence
from math import exp, fsum
from typing import Any

import scipy

MARKS = ("0", "1", "2", "3", "4", "5")


def pearson(pairs: Sequence[tuple[float, float]]) -> float:
    """Pearson's r of (human, model) marks."""
    human, model = zip(*pairs, strict=True)
    return float(scipy.stats.pearsonr(human, model).statistic) if len(pairs) > 1 else float("nan")


def spearman(pairs: Sequence[tuple[float, float]]) -> float:
    """Spearman's rho of (human, model) marks."""
    human, model = zip(*pairs, strict=True)
    return float(scipy.stats.spearmanr(human, model).statistic) if len(pairs) > 1 else float("nan")


def expected_mark(logprobs: Sequence[float]) -> float:
    """Mean mark under the probabilities of the marks, normalised over the six."""
    most = max(logprobs)
    weights = [exp(value - most) for value in logprobs]
    return fsum(mark * weight for mark, weight in enumerate(weights)) / fsum(weights)


def _score(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, tuple[float, float]]:
    pair = float(doc["label"]), expected_mark([value for value, _ in results])
    return {"pearson": pair, "spearman": pair}


def _nearest_mark(doc: dict[str, Any]) -> str:
    return str(int(float(doc["label"]) + 0.5))


def stsb() -> dict[str, Any]:
    """The task, in the harness's own form."""
    return {
        "task": "stsb",
        "tag": "glue",
        "dataset_path": "nyu-mll/glue",
        "dataset_name": "stsb",
        "output_type": "multiple_choice",
        "training_split": "train",
        "validation_split": "validation",
        "doc_to_text": (
            "Sentence 1: {{sentence1}}\nSentence 2: {{sentence2}}\n"
            "Question: How similar are the two sentences, from 0 (unrelated) to 5 (same meaning)?\nAnswer:"
        ),
        "doc_to_target": _nearest_mark,
        "doc_to_choice": list(MARKS),
        "process_results": _score,
        "metric_list": [
            {"metric": "pearson", "aggregation": pearson, "higher_is_better": True},
            {"metric": "spearman", "aggregation": spearman, "higher_is_better": True},
        ],
        "metadata": {"version": 1.0},
    }
