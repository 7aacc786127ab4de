"""BLEU: how many 1- to 4-grams of a corpus of translations stand in the references.

Definition: geometric mean of the four n-gram precisions, clipped to the counts in the references and pooled over the
corpus, times a penalty for being shorter than the references. Range: 0 to 100. Higher is better. It is a score of the
corpus: the mean of sentence BLEUs is another figure. Quote the signature with it.
Source: Papineni et al. 2002, https://aclanthology.org/P02-1040; computed by sacreBLEU (Post 2018,
https://aclanthology.org/W18-6319), equal to its command line.
"""

import importlib.util
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU

# The other tokenisers of sacreBLEU (spm, flores) would download a model.
TOKENIZERS = ("13a", "intl", "zh", "char", "none")
NEEDS = {"ja-mecab": "MeCab", "ko-mecab": "mecab_ko"}


class Bleu(TypedDict):
    """Score, penalty and precisions, lengths in tokens, and the signature that lets others repeat it."""

    score: float
    precisions: list[float]
    brevity_penalty: float
    n_predicted_tokens: int
    n_reference_tokens: int
    signature: str


def tokenizers() -> tuple[str, ...]:
    """The tokenisers that work here: Japanese and Korean need an extra package (pip install sacrebleu[ja])."""
    return (*TOKENIZERS, *(name for name, module in NEEDS.items() if importlib.util.find_spec(module)))


def bleu(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
    smooth_method: str = "exp",
    smooth_value: float | None = None,
) -> Bleu:
    """Corpus BLEU; one reference or several for each prediction, also a different number of them.

    `tokenize`: 13a for text with spaces, zh for Chinese, ja-mecab for Japanese where installed, char for any text.
    """
    metric = _metric(tokenize, lowercase, smooth_method, smooth_value)
    result = metric.corpus_score(predictions, _streams(predictions, references))
    return Bleu(
        score=result.score,
        precisions=list(result.precisions),
        brevity_penalty=result.bp,
        n_predicted_tokens=result.sys_len,
        n_reference_tokens=result.ref_len,
        signature=str(metric.get_signature()),
    )


def bleu_counts(
    predictions: Sequence[str], references: Sequence[str | Sequence[str]], *, tokenize: str = "13a"
) -> NDArray[np.float64]:
    """Rows (n, 10) of matching n-grams, n-grams and both lengths; their sums make up the corpus BLEU."""
    metric = _metric(tokenize)
    metric.effective_order = True  # of no effect on counts; without it sacreBLEU warns of the sentence's score
    lists = [[given] if isinstance(given, str) else list(given) for given in references]
    scores = [metric.sentence_score(text, given) for text, given in zip(predictions, lists, strict=True)]
    return np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scores], dtype=np.float64)


def bleu_of_counts(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corpus BLEU of summed counts (..., 10): the `statistic` for bootstrap and permutation tests of BLEU."""

    def score(sums: NDArray[np.float64]) -> float:
        whole = [int(value) for value in np.rint(sums)]
        return BLEU.compute_bleu(whole[:4], whole[4:8], whole[8], whole[9], smooth_method="exp").score

    scores: NDArray[np.float64] = np.apply_along_axis(score, -1, totals)
    return scores


def _metric(
    tokenize: str, lowercase: bool = False, smooth_method: str = "exp", smooth_value: float | None = None
) -> BLEU:
    if tokenize not in tokenizers():
        raise ValueError(f"No tokeniser {tokenize!r} here; there is {', '.join(tokenizers())}.")
    return BLEU(lowercase=lowercase, tokenize=tokenize, smooth_method=smooth_method, smooth_value=smooth_value)


def _streams(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> list[Any]:
    """References as sacreBLEU takes them: first references of all, second of all, None where there is none."""
    if not predictions or len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions and {len(references)} references: give one for one.")
    lists = [[given] if isinstance(given, str) else list(given) for given in references]
    if not all(lists):
        raise ValueError(f"No reference for prediction {lists.index([])}.")
    return list(zip_longest(*lists))
