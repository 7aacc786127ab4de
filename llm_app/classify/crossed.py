"""The bars to beat on a table that has truths: baselines that learn from four fifths of it and answer the last one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from llm_app.classify.folder import ClassifierFile
from llm_app.classify.judged import Judged, judge
from llm_app.classify.majority import Majority
from llm_app.classify.table import LabelledTable, item_digest
from llm_app.classify.tfidf import Tfidf
from llm_app.classify.training.baselines import fit_tfidf, shares
from llm_app.classify.training.targets import Problem, check_learnable
from llm_app.classify.types import Classifier, Item, Outcome, Truth
from llm_app.errors import UserError

N_FOLDS = 5
BASELINES = ("majority", "tfidf")  # each the method that it is learned by
MIN_ROWS, MAX_ROWS = 10, 20_000  # from which they learn in a moment, so that they are run without being asked for


def crossed(table: LabelledTable, places: Sequence[int]) -> dict[str, Judged]:
    """Baseline -> its answers to the rows at these places, each by a model that learned from other rows.

    Rows that say the same stand in one fold, so that no answer was learned. The other rows get no outcome.
    Raises: UserError for fewer than MIN_ROWS rows, truths that are all the same, or texts without words.
    """
    rows = [(place, table.items[place], truth) for place in places if (truth := table.truths[place]) is not None]
    if len(rows) < MIN_ROWS:
        raise UserError(f"Baselines need {MIN_ROWS} rows with a label, and there are {len(rows)}.", param="baselines")
    problem = Problem(table.columns.kind, table.labels)
    check_learnable(problem, [truth for _, _, truth in rows])
    fold = folds([item for _, item, _ in rows], [truth for _, _, truth in rows])
    found: dict[str, list[Outcome]] = {name: [] for name in BASELINES}
    for number in range(N_FOLDS):
        train = [row for row, place in zip(rows, fold, strict=True) if place != number]
        test = [row for row, place in zip(rows, fold, strict=True) if place == number]
        learned = _learned(problem, [item for _, item, _ in train], [truth for _, _, truth in train])
        for name, classifier in zip(BASELINES, learned, strict=True):
            found[name] += _placed(classifier, test)
    return {
        name: judge(problem.kind, problem.labels, table.truths, outcomes) for name, outcomes in found.items()
    }


def folds(items: Sequence[Item], truths: Sequence[Truth]) -> list[int]:
    """The fold of each item, each fold with about the same share of every label; equal texts are in one."""
    groups: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        groups.setdefault(item_digest(item), []).append(place)

    def key(digest: str) -> tuple[str, float, str]:
        truth = truths[groups[digest][0]]
        return (str(truth), 0.0, digest) if not isinstance(truth, float) else ("", truth, digest)

    fold = [0] * len(items)
    # In the order of their truths, dealt out in turn: whatever the order of the rows, nothing is left to chance.
    for number, digest in enumerate(sorted(groups, key=key)):
        for place in groups[digest]:
            fold[place] = number % N_FOLDS
    return fold


def _learned(problem: Problem, items: Sequence[Item], truths: Sequence[Truth]) -> tuple[Classifier, Classifier]:
    majority = ClassifierFile("majority", problem.kind, problem.labels, shares=shares(problem, truths))
    (tfidf,) = fit_tfidf(problem, (items, truths), ((), ()))
    return Majority(majority), Tfidf(ClassifierFile("tfidf", problem.kind, problem.labels), tfidf.model)


def _placed(classifier: Classifier, rows: Sequence[tuple[int, Item, Truth]]) -> Iterator[Outcome]:
    for outcome in classifier.predict([item for _, item, _ in rows]):
        yield replace(outcome, index=rows[outcome.index][0])
