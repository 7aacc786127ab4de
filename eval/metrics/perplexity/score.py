"""Perplexity: how surprised a model is by text, for each token, word or byte; and bits per byte.

Definition: exp(-L / n) with L the summed log-likelihood of all texts in nats, and n all their scored tokens, words or
bytes, so that each token weighs the same, not each text or window; bits per byte is -L / (bytes * ln 2). Range: 1 to
infinity, bits per byte from 0. Lower is better. Compare token perplexity only between models that share a tokenizer;
the others compare any two, word perplexity only for text with spaces.
Words are what white space separates and bytes are UTF-8, as in lm-evaluation-harness (`word_perplexity`,
`byte_perplexity`, `bits_per_byte`), whose figures these are. A text of which no token was scored (empty, or a single
token where the tokenizer has no start token) is left out and counted. How windows overlap is decided where
log-likelihoods are made.
Source: Jelinek et al. 1977; lm_eval/api/metrics.py.
"""

import math
import re
from collections.abc import Sequence
from typing import TypedDict


class Perplexity(TypedDict):
    """Four figures, each named for what it divides by, and what they were taken over."""

    token_perplexity: float
    word_perplexity: float
    byte_perplexity: float
    bits_per_byte: float
    n_tokens: int
    n_words: int
    n_bytes: int
    n_texts: int
    n_excluded: int


def count_words(text: str) -> int:
    """Words as the harness counts them: the pieces between white space, so that outer white space adds one."""
    return len(re.split(r"\s+", text))


def perplexity(loglikelihoods: Sequence[float], n_tokens: Sequence[int], texts: Sequence[str]) -> Perplexity:
    """Perplexities of a corpus from each text's summed log-likelihood (nats) and its number of scored tokens.

    A figure too large for a float, or of a text held impossible, is inf. Raises: ValueError if no token was scored.
    """
    scored = [triple for triple in zip(loglikelihoods, n_tokens, texts, strict=True) if triple[1] > 0]
    if not scored:
        raise ValueError(f"No token was scored in {len(texts)} texts, so there is no perplexity.")
    total = math.fsum(loglikelihood for loglikelihood, _, _ in scored)
    tokens = sum(count for _, count, _ in scored)
    words = sum(count_words(text) for _, _, text in scored)
    n_bytes = sum(len(text.encode("utf-8")) for _, _, text in scored)
    return Perplexity(
        token_perplexity=_exp(-total / tokens),
        word_perplexity=_exp(-total / words),
        byte_perplexity=_exp(-total / n_bytes),
        bits_per_byte=-total / n_bytes / math.log(2),
        n_tokens=tokens,
        n_words=words,
        n_bytes=n_bytes,
        n_texts=len(scored),
        n_excluded=len(texts) - len(scored),
    )


def _exp(exponent: float) -> float:
    try:
        return math.exp(exponent)
    except OverflowError:
        return math.inf
