"""Rows of a table with what a classifier said of them: a page of a longer list, in the order that was asked for."""

from collections.abc import Sequence

from eval.classification import ordered
from eval.classification.orders import Order
from eval.report.markup import Markup, element
from llm_app.classify.judged import Row
from llm_app.classify.types import Prediction, Truth, Unclassified
from llm_app.web.benchmark.results_markup import block, passage, said, told, written
from llm_app.web.classify.answers import Answers
from llm_app.web.classify.one_views import number
from llm_app.web.text import both, filled

PAGE = 20  # rows that stand in the browser at once
LINE_CHARACTERS = 160
MAX_SCORES = 30
SIGNS = {True: ("✓", "rows_right", "good"), False: ("✗", "rows_wrong", "bad")}
ORDER_NAMES: dict[Order, str] = {
    "all": "order_all", "errors": "order_errors", "confident errors": "order_confident_errors",
    "least confident": "order_least_confident",
}  # fmt: skip


def places_of(shown: Answers, order: Order, cell: tuple[str, str] | None) -> list[int]:
    """Places of the rows in this order; of a cell of the confusion matrix (true, answer), those alone."""
    rows = shown.judged.rows
    places = ordered(order, [row.is_right for row in rows], [row.confidence for row in rows])
    if cell is None:
        return places
    return [place for place in places if (rows[place].truth, rows[place].answer) == cell]


def cut(places: Sequence[int], start: int) -> tuple[list[int], int]:
    """(the page that holds this place of the list, where it begins): the last one if the list became shorter."""
    first = min(max(start, 0), max(0, len(places) - 1)) // PAGE * PAGE
    return list(places[first : first + PAGE]), first


def page(shown: Answers, places: Sequence[int]) -> str:
    """These rows, folded: a line opens to the whole text and all scores."""
    return block(*(_row(shown, place) for place in places))


def position(first: int, n_shown: int, n: int) -> str:
    """Rows 21 to 40 of 340."""
    return both("rows_range", first=first + 1, last=first + n_shown, n=n) if n else both("rows_none")


def cell_chip(cell: tuple[str, str] | None) -> str:
    """Which cell of the matrix the rows are of, with a button that shows all again."""
    if cell is None:
        return ""
    words = said("rows_of_cell", truth=cell[0], answer=cell[1])
    again = element("button", said("rows_all_again"), type="button", name="all", value="", class_="act")
    return block(element("p", words, again, class_="notice info"))


def spoken(truth: Truth | None) -> str:
    """A truth or an answer as text."""
    if isinstance(truth, float):
        return number(truth)
    return ", ".join(truth) if isinstance(truth, tuple) else truth or "–"


def _row(shown: Answers, place: int) -> Markup:
    row, table = shown.judged.rows[place], shown.table
    item = table.items[place]
    words = " ".join(item.text.split())
    line = words if len(words) <= LINE_CHARACTERS else words[: LINE_CHARACTERS - 1] + "…"
    head = element(
        "summary", _mark(row), element("span", f"{table.lines[place]:,}", class_="number"),
        element("span", written(spoken(row.answer)), _sure(row), class_="answer"),
        element("span", written(line), class_="line"),
    )  # fmt: skip
    parts = [_part("rows_text", passage(item.text))]
    if item.pair is not None:
        parts.append(_part("classify_pair", passage(item.pair)))
    if row.truth is not None:
        parts.append(_part("rows_truth", element("p", written(spoken(row.truth)))))
    if isinstance(row.outcome, Unclassified):
        english, chinese = row.outcome.reason, row.outcome.reason_zh or row.outcome.reason
        why = filled("rows_unclassified", reason=english)[0], filled("rows_unclassified", reason=chinese)[1]
        parts.append(element("p", told(why), class_="notice warning"))
    if isinstance(row.outcome, Prediction):
        parts.append(_scores(shown, row.outcome))
    return element("details", head, element("div", *parts, class_="inside"), class_="sample")


def _mark(row: Row) -> Markup:
    if isinstance(row.outcome, Unclassified):
        return element("span", "!", class_="mark bad")
    if row.is_right is None:
        return element("span", "○", class_="mark plain")
    sign, name, tone = SIGNS[row.is_right]
    return element("span", f"{sign} ", said(name), class_=f"mark {tone}")


def _sure(row: Row) -> Markup | None:
    return None if row.confidence is None else element("small", f" {row.confidence:.2f}")


def _scores(shown: Answers, outcome: Prediction) -> Markup:
    if shown.kind == "regression":
        return _part("rows_answer", element("p", number(outcome.scores[0])))
    order = sorted(range(len(outcome.scores)), key=lambda n: -outcome.scores[n])[:MAX_SCORES]
    lines = [
        element("li", element("span", written(shown.labels[n]), class_="name"), element(
            "span", element("i", style=f"width:{min(max(outcome.scores[n], 0.0), 1.0):.1%}"), class_="bar"
        ), element("span", f"{outcome.scores[n]:.3f}", class_="num"))
        for n in order
    ]  # fmt: skip
    cut_off = element("p", said("rows_cut", n=outcome.n_cut), class_="quiet") if outcome.n_cut else None
    return element("div", element("h5", said("rows_answer")), element("ol", *lines, class_="label-bars"), cut_off,
                   class_="part")  # fmt: skip


def _part(name: str, *children: Markup) -> Markup:
    return element("div", element("h5", said(name)), *children, class_="part")
