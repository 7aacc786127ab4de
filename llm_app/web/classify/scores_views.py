"""Scores of classifiers on one table: one line each, all figures of the shown one, its labels one by one."""

import math
from collections.abc import Sequence

from eval.classification import ClassFigures, Scores
from eval.report.markup import Markup, element
from eval.report.numbers import MINUS
from eval.statistics import Interval
from llm_app.classify.types import Kind
from llm_app.options import Text
from llm_app.web.benchmark.results_markup import block, said, told, written
from llm_app.web.classify.answers import Answers
from llm_app.web.views import notice

# The figures that stand side by side, by what is predicted.
FIRST: dict[Kind, tuple[str, ...]] = {
    "single": ("accuracy", "macro_f1", "mcc", "roc_auc", "log_loss", "ece"),
    "multi": ("subset_accuracy", "micro_f1", "macro_f1", "samples_f1", "roc_auc", "hamming_loss"),
    "regression": ("pearson", "spearman", "mae", "rmse"),
}
MAX_CLASSES = 200


def board(shown: Answers, others: Sequence[Answers], why_no_bars: Text | None = None) -> str:
    """A line for each classifier, the shown one first; then all figures of that one, and its labels.

    `why_no_bars`: why there are no baselines.
    """
    scores = shown.scores
    if scores is None:
        is_unlabelled = all(row.truth is None for row in shown.judged.rows)
        return notice(block(said("scores_no_truth" if is_unlabelled else "scores_nothing_yet")))
    listed = [one for one in (shown, *others) if one.scores is not None]
    names = [name for name in FIRST[shown.kind] if any(one.scores and name in one.scores.figures for one in listed)]
    head = element(
        "tr", element("th", said("scores_classifier"), scope="col"),
        *(element("th", said(f"figure_{name}"), scope="col", class_="num") for name in names),
    )  # fmt: skip
    lines = [_line(one, names, shown) for one in listed]
    table = element("table", element("thead", head), element("tbody", *lines), class_="scores board")
    bars = told(why_no_bars) if why_no_bars else said("scores_bars")
    parts = [
        element("p", shown.name.in_sentence("scores_head", n=len(shown.scored)), class_="run-head"),
        *map(flattered, listed), *map(_only_one_answer, listed), _wide(table),
        element("p", said("scores_about"), " ", bars, class_="quiet"),
    ]  # fmt: skip
    return block(*parts, _by_class(scores.by_class), _rest(shown, scores, names))


def flattered(one: Answers) -> Markup | None:
    """That its figures flatter, where it has seen rows of the table before."""
    if not one.n_learned:
        return None
    return element("p", one.name.in_sentence("scores_learned", n=one.n_learned), class_="notice warning")


def _only_one_answer(one: Answers) -> Markup | None:
    """That it tells nothing apart. Of the most frequent label, a baseline, that is so by its nature."""
    said_so = {one.judged.rows[place].answer for place in one.scored}
    true = {one.judged.rows[place].truth for place in one.scored}
    if one.kind != "single" or one.is_baseline or len(said_so) > 1 or len(true) < 2:
        return None
    words = one.name.in_sentence("scores_one_answer", label=next(iter(said_so)))
    return element("p", words, class_="notice warning")


def cell(value: Interval) -> tuple[str, str]:
    """The value, and its interval; empty where no interval is known."""
    ends = (value.low, value.high)
    return figure(value.estimate), f"[{figure(ends[0])}, {figure(ends[1])}]" if all(map(math.isfinite, ends)) else ""


def figure(value: float) -> str:
    """Three decimals of what lies between −1 and 1, four figures of all else."""
    if not math.isfinite(value):
        return "–"
    return (f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}").replace("-", MINUS)


def _line(one: Answers, names: Sequence[str], shown: Answers) -> Markup:
    scores = one.scores
    assert scores is not None
    notes = [element("small", said("train_is_baseline"))] if one.is_baseline else []
    if one.n_done < len(one.judged.rows):
        notes.append(element("small", said("scores_partial", done=one.n_done, total=len(one.judged.rows))))
    if (rows := {*one.scored}) != (shared := {*shown.scored}):
        notes.append(element("small", said("scores_other_rows", n=len(rows), shared=len(rows & shared))))
    name = element("th", told(one.name.text), *notes, scope="row")
    cells = [_cell(f"figure_{key}", scores.figures.get(key)) for key in names]
    return element("tr", name, *cells, class_="first shown" if one is shown else "first")


def _cell(name: str, value: Interval | None) -> Markup:
    label = element("span", said(name), class_="label")
    if value is None:
        return element("td", label, element("span", "–"), class_="num")
    shown, interval = cell(value)
    return element("td", label, element("span", element("b", shown), element("small", interval)), class_="num")


def _by_class(classes: Sequence[ClassFigures]) -> Markup | None:
    if not classes:
        return None
    heads = ("scores_precision", "scores_recall", "scores_f1")
    head = element(
        "tr", element("th", said("scores_label"), scope="col"),
        element("th", said("scores_support"), scope="col", class_="num"),
        *(element("th", said(name), scope="col", class_="num") for name in heads),
    )  # fmt: skip
    lines = [
        element(
            "tr", element("th", written(one.label), scope="row"),
            element("td", element("span", said("scores_support"), class_="label"), f"{one.support:,}", class_="num"),
            *(_cell(name, value) for name, value in zip(heads, (one.precision, one.recall, one.f1), strict=True)),
            class_="first",
        )
        for one in classes[:MAX_CLASSES]
    ]  # fmt: skip
    table = element("table", element("thead", head), element("tbody", *lines), class_="scores board")
    return element("div", element("h4", said("scores_by_class")), _wide(table))


def _rest(shown: Answers, scores: Scores, names: Sequence[str]) -> Markup | None:
    """The figures that do not stand side by side."""
    rest = [name for name in scores.figures if name not in names]
    if not rest:
        return None
    lines = [
        element("tr", element("th", said(f"figure_{name}"), scope="row"), element("td", *_pair(scores.figures[name])))
        for name in rest
    ]
    table = element("table", element("tbody", *lines), class_="differs")
    summary = element("summary", shown.name.in_sentence("scores_all"))
    return element("details", summary, table, class_="fold-line", data_fold="all-figures")


def _pair(value: Interval) -> tuple[Markup, str]:
    shown, interval = cell(value)
    return element("b", shown), f" {interval}"


def _wide(table: Markup) -> Markup:
    return element("div", table, class_="scroll", tabindex="0")
