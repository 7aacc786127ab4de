"""What is this? Each metric's formula with the numbers of a row put into it."""

import math
from collections.abc import Callable, Iterator

from eval.report import Row
from eval.report.markup import Markup, element
from eval.report.numbers import interval_text, score_text
from eval.report.text import LANGUAGES, text_of
from llm_app.web.benchmark.results_markup import said, told

# What a metric measures; the first name that a metric's own begins with counts.
MEANINGS = {
    "acc_norm": "metric_acc_norm", "acc_bytes": "metric_acc_bytes", "acc_mutual_info": "metric_acc_mutual",
    "acc": "metric_acc", "exact_match": "metric_exact_match", "em": "metric_exact_match", "contains": "metric_contains",
    "word_perplexity": "metric_word_perplexity", "byte_perplexity": "metric_byte_perplexity",
    "token_perplexity": "metric_token_perplexity", "perplexity": "metric_perplexity",
    "bits_per_byte": "metric_bits_per_byte", "f1": "metric_f1", "mcc": "metric_mcc", "matthews": "metric_mcc",
    "bleu": "metric_bleu", "sacrebleu": "metric_bleu", "chrf": "metric_chrf", "ter": "metric_ter",
    "rouge": "metric_rouge", "brier": "metric_brier", "pass@": "metric_pass", "pass_at": "metric_pass",
    "pearson": "metric_correlation", "spearman": "metric_correlation",
}  # fmt: skip
SHARES = ("acc", "exact_match", "em", "contains", "pass@", "pass_at")
LIKELIHOODS = ("word_perplexity", "byte_perplexity", "token_perplexity", "perplexity")


def explained(row: Row) -> Iterator[Markup]:
    """Paragraphs: what it measures, the formula with this run's numbers, the standard error, the interval."""
    yield element("p", said(_meaning(row)))
    formula = _formula(row)
    if formula is not None:
        yield element("p", formula, class_="formula")
    if row.stderr is not None:
        yield element("p", _stderr(row), class_="formula")
    if row.interval:
        method = (text_of(row.interval, LANGUAGES[0]), text_of(row.interval, LANGUAGES[1]))
        yield element("p", said("result_interval_of"), " ", told(method), f": {interval_text(row)}")
    if row.chance is not None:
        yield element("p", said("result_chance_of", chance=f"{row.chance:.3g}"))


def _meaning(row: Row) -> str:
    if row.is_group:
        return "metric_group"
    return next((name for start, name in MEANINGS.items() if row.metric.startswith(start)), "metric_other")


def _formula(row: Row) -> Markup | None:
    value = row.value
    if value is None or row.is_group:
        return None
    shown = score_text(value, row.unit)
    for starts, made in _FORMULAS:
        if row.metric.startswith(starts):
            return made(row, value, shown)
    return None


def _share(row: Row, value: float, shown: str) -> Markup | None:
    """Right ones over all, where every sample is right or wrong."""
    n_right = value * row.n
    if abs(n_right - round(n_right)) > 1e-6 * max(1, row.n):
        return None
    return said("formula_share", right=round(n_right), n=row.n, value=shown)


def _perplexity(row: Row, value: float, shown: str) -> Markup | None:
    return said("formula_perplexity", nats=f"{math.log(value):.4f}", value=shown) if value > 0 else None


def _bits(row: Row, value: float, shown: str) -> Markup:
    return said("formula_bits", nats=f"{value * math.log(2):.4f}", value=shown)


def _stderr(row: Row) -> Markup:
    """Of right and wrong by its formula; else only what it is."""
    assert row.stderr is not None and row.value is not None
    is_share = row.metric.startswith(SHARES) and 0 <= row.value <= 1 and row.n > 1 and not row.is_group
    by_formula = math.sqrt(row.value * (1 - row.value) / (row.n - 1)) if is_share else math.nan
    shown = score_text(row.stderr, row.unit)
    if is_share and math.isclose(by_formula, row.stderr, rel_tol=1e-3, abs_tol=1e-9):
        return said("formula_stderr", value=score_text(row.value, row.unit), n=row.n - 1, stderr=shown)
    return said("formula_stderr_is", stderr=shown)


_FORMULAS: tuple[tuple[tuple[str, ...], Callable[[Row, float, str], Markup | None]], ...] = (
    (SHARES, _share), (LIKELIHOODS, _perplexity), (("bits_per_byte",), _bits),
)  # fmt: skip
