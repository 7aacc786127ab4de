"""Span F1 of named entities: an entity counts if its type and both its ends are right.

Definition: precision, recall and F1 over whole entities, for each type and over all (micro), from tags such as B-PER,
I-PER, O; `accuracy` is that of single tags. Range: 0 to 1. Higher is better. Without a scheme broken sequences (an I-
after O) are read as conlleval reads them; with one (IOB2, IOBES ...) they are wrong.
Source: Tjong Kim Sang and De Meulder 2003 (conlleval), https://aclanthology.org/W03-0419; computed by seqeval.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

SCHEMES = ("IOB1", "IOB2", "IOE1", "IOE2", "IOBES", "BILOU")


class Entity(TypedDict):
    """Scores of one type of entity; support: how many there are in the references."""

    precision: float
    recall: float
    f1: float
    support: int


class Seqeval(TypedDict):
    """Scores over all entities, tag accuracy, and each type's scores."""

    precision: float
    recall: float
    f1: float
    accuracy: float
    by_type: dict[str, Entity]


def seqeval(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], *, scheme: str | None = None
) -> Seqeval:
    """Span scores of tag sequences, one sequence a text. Raises: ValueError for sequences of unequal length."""
    if not predictions or list(map(len, predictions)) != list(map(len, references)):
        raise ValueError("Give one tag for each word: predictions and references differ in length, or are none.")
    if scheme is not None and scheme not in SCHEMES:
        raise ValueError(f"No scheme {scheme!r}; there is {', '.join(SCHEMES)}.")
    # Here, since it imports scikit-learn: half a second, and the page shows a tab with these scores.
    from seqeval import scheme as schemes
    from seqeval.metrics import accuracy_score, classification_report

    strict = {} if scheme is None else {"mode": "strict", "scheme": getattr(schemes, scheme)}
    report = classification_report(references, predictions, output_dict=True, zero_division=0, **strict)
    micro = _entity(report["micro avg"])
    return Seqeval(
        precision=micro["precision"],
        recall=micro["recall"],
        f1=micro["f1"],
        accuracy=float(accuracy_score(references, predictions)),
        by_type={name: _entity(row) for name, row in report.items() if not name.endswith(" avg")},
    )


def _entity(row: dict[str, Any]) -> Entity:
    return Entity(
        precision=float(row["precision"]),
        recall=float(row["recall"]),
        f1=float(row["f1-score"]),
        support=int(row["support"]),
    )
