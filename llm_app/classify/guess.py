"""Which column of a table may hold the text and which the truth: a proposal that the person can change."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from llm_app.classify.table import Columns
from llm_app.classify.types import Kind
from llm_app.data.table import Table
from llm_app.errors import UserError

# Names that data sets use, without case; of each kind the first that is there.
TEXTS = ("text", "sentence", "review", "content", "question", "comment", "tweet", "title", "message")
PAIRS = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("text_a", "text_b"),
    ("text1", "text2"), ("question", "sentence"),
)  # fmt: skip
TRUTHS = ("label", "labels", "class", "category", "target", "sentiment", "label_desc", "score")
N_LOOKED_AT = 1_000
MOST_DISTINCT = 0.5  # share of the rows with a label of their own, beyond which a column holds no labels
ALIKE = 2.0  # how many times longer one text of a pair may be on average


def guess(table: Table) -> Columns:
    """Columns by their names, else by what is in them: the longest texts, and the values that come again most.

    Raises: UserError for a table with no column of texts.
    """
    names = {name.casefold(): name for name in reversed(table.columns)}
    values = {name: [row.cells.get(name) for row in table.rows[:N_LOOKED_AT]] for name in table.columns}
    lengths = {name: _mean_length(found) for name, found in values.items()}
    if not any(lengths.values()):
        raise UserError(f"{table.name} has no column that holds text.", param="text")
    pair = next(((names[a], names[b]) for a, b in PAIRS if a in names and b in names), None)
    named = next((names[name] for name in TEXTS if name in names and lengths[names[name]]), None)
    text = pair[0] if pair else named or max(table.columns, key=lambda name: lengths[name])
    second = pair[1] if pair else None if named else _second(text, table.columns, lengths, values)
    if second is not None and pair is None and table.columns.index(second) < table.columns.index(text):
        text, second = second, text
    others = [name for name in table.columns if name not in (text, second)]
    truth = next((names[name] for name in TRUTHS if names.get(name) in others), None) or _labelling(others, values)
    return Columns(text, second, truth, _kind(values[truth]) if truth else "single")


def _mean_length(values: Sequence[Any]) -> float:
    texts = [value for value in values if isinstance(value, str) and not _is_number(value)]
    return sum(map(len, texts)) / max(len(values), 1)


def _second(
    text: str, columns: Sequence[str], lengths: dict[str, float], values: dict[str, list[Any]]
) -> str | None:
    """A column of texts about as long, nearly all of them different: the other half of pairs."""
    for name in columns:
        if name != text and lengths[name] * ALIKE >= lengths[text] and _distinct(values[name]) > MOST_DISTINCT:
            return name
    return None


def _labelling(columns: Iterable[str], values: dict[str, list[Any]]) -> str | None:
    """The column whose values come again most, should any do so."""
    shares = {name: _distinct(values[name]) for name in columns}
    best = min(shares, key=lambda name: shares[name], default=None)
    return best if best is not None and 0 < shares[best] <= MOST_DISTINCT else None


def _distinct(values: Sequence[Any]) -> float:
    """How many of the values differ, as a share; 0 where all are one, which tells nothing."""
    found = {str(value) for value in values if value is not None}
    return len(found) / len(values) if len(found) > 1 else 0.0


def _kind(values: Sequence[Any]) -> Kind:
    """Lists are several labels; numbers with a fraction that is not nought are a scale; all else is one label."""
    present = [value for value in values if value is not None and value != ""]
    if any(isinstance(value, list) for value in present):
        return "multi"
    if present and all(_is_number(value) for value in present) and any(float(value) % 1 for value in present):
        return "regression"
    return "single"


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) or re.fullmatch(r"\s*[+-]?\d+(\.\d+)?\s*", str(value)) is not None
