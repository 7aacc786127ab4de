"""ROUGE-1, -2, -L and -Lsum: how much of the reference summaries stands in the generated ones.

Definition: F1 of common words (1), word pairs (2), the longest common subsequence (L), and the same taken sentence by
sentence, sentences being lines (Lsum); the mean over the texts, of several references the best. Range: 0 to 1 (papers
often print it times 100). Higher is better.
Words are runs of a-z and 0-9, as in rouge-score, whose figures these are for text in Latin script; besides, each
Chinese, Japanese or Korean character is a word, where rouge-score drops it and gives 0. Words of other scripts are
dropped here too.
Source: Lin 2004, https://aclanthology.org/W04-1013; computed by Google's rouge-score.
"""

import unicodedata
from collections.abc import Sequence
from itertools import chain, groupby
from typing import TypedDict

TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


class Rouge(TypedDict):
    """F1 of each kind."""

    rouge1: float
    rouge2: float
    rougeL: float
    rougeLsum: float


class Words:
    """Words as rouge-score finds them, and each wide character (Chinese, Japanese, Korean) as a word of its own."""

    def __init__(self, use_stemmer: bool = False) -> None:
        # It brings all of nltk, a second that only those wait for who score.
        from rouge_score.tokenizers import DefaultTokenizer

        self._latin = DefaultTokenizer(use_stemmer)

    def tokenize(self, text: str) -> list[str]:
        """Lower-cased words; with a stemmer those of more than three letters lose their endings."""
        runs = ((is_wide, list(run)) for is_wide, run in groupby(text.lower(), _is_wide))
        pieces = (run if is_wide else self._latin.tokenize("".join(run)) for is_wide, run in runs)
        return list(chain.from_iterable(pieces))


def _is_wide(character: str) -> bool:
    return not character.isascii() and unicodedata.east_asian_width(character) in ("W", "F") and character.isalnum()


def rouge(
    predictions: Sequence[str], references: Sequence[str | Sequence[str]], *, use_stemmer: bool = False
) -> Rouge:
    """Mean ROUGE of a corpus; one reference or several for each prediction. `use_stemmer` for English only."""
    scores = rouge_scores(predictions, references, use_stemmer=use_stemmer)
    if not scores:
        raise ValueError("ROUGE needs at least one prediction.")
    n = len(scores)
    return Rouge(
        rouge1=sum(score["rouge1"] for score in scores) / n,
        rouge2=sum(score["rouge2"] for score in scores) / n,
        rougeL=sum(score["rougeL"] for score in scores) / n,
        rougeLsum=sum(score["rougeLsum"] for score in scores) / n,
    )


def rouge_scores(
    predictions: Sequence[str], references: Sequence[str | Sequence[str]], *, use_stemmer: bool = False
) -> list[Rouge]:
    """ROUGE of each text, for intervals and paired tests."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(TYPES), tokenizer=Words(use_stemmer))
    scores = []
    for text, given in zip(predictions, references, strict=True):
        golds = [given] if isinstance(given, str) else list(given)
        if not golds:
            raise ValueError(f"No reference for the prediction {text!r}.")
        found = scorer.score_multi(golds, text)
        r1, r2, rl, rlsum = (float(found[kind].fmeasure) for kind in TYPES)
        scores.append(Rouge(rouge1=r1, rouge2=r2, rougeL=rl, rougeLsum=rlsum))
    return scores
