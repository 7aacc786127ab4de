"""The confusion matrix: each cell a button that opens its rows. Many labels: the commonest mistakes instead."""

import math

from eval.classification import Confusion, confusion
from eval.report.markup import Markup, element
from llm_app.web.benchmark.results_markup import block, said, written
from llm_app.web.classify.answers import Answers
from llm_app.web.text import STRINGS
from llm_app.web.views import notice

MAX_LABELS = 16  # of a matrix that can be read
MAX_PAIRS = 40
SHADES = 6


def matrix_of(shown: Answers) -> Confusion | None:
    """None where there is nothing to confuse."""
    if shown.kind != "single" or not shown.scored:
        return None
    said_so = [row.answer if isinstance(row.answer, str) else None for row in shown.judged.rows]
    truths = [row.truth if isinstance(row.truth, str) else None for row in shown.judged.rows]
    return confusion(said_so, truths, shown.labels)


def matrix(shown: Answers) -> str:
    """The whole, or what is confused most."""
    found = matrix_of(shown)
    if found is None:
        return notice(block(said("confusion_only_single")))
    return block(_pairs(found) if len(found.labels) > MAX_LABELS else _table(found))


def named(found: Confusion, value: object) -> tuple[str, str] | None:
    """The (true, answer) of a button's value; None for anything else."""
    numbers = value.split("-") if isinstance(value, str) else []
    if len(numbers) != 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        return None
    places = [int(number) for number in numbers]
    if max(places) >= len(found.labels):
        return None
    return found.labels[places[0]], found.labels[places[1]]


def _table(found: Confusion) -> Markup:
    head = element(
        "tr", element("th", said("confusion_true"), scope="col", class_="corner"),
        *(element("th", element("span", written(label)), scope="col") for label in found.labels),
    )  # fmt: skip
    lines = [
        element(
            "tr", element("th", written(label), scope="row"),
            *(_cell(found, row, column) for column in range(len(found.labels))),
        )
        for row, label in enumerate(found.labels)
    ]  # fmt: skip
    table = element("table", element("thead", head), element("tbody", *lines), class_="confusion")
    return element("div", element("p", said("confusion_about"), class_="quiet"),
                   element("div", table, class_="scroll", tabindex="0"))  # fmt: skip


def _cell(found: Confusion, row: int, column: int) -> Markup:
    n, total = found.counts[row][column], sum(found.counts[row])
    if not n:
        return element("td", "0", class_="none diagonal" if row == column else "none")
    shade = math.ceil(SHADES * n / total)
    tone = "diagonal" if row == column else "off"
    return element("td", _button(found, row, column, f"{n:,}"), class_=f"{tone} shade-{shade}")


def _pairs(found: Confusion) -> Markup:
    n_labels = len(found.labels)
    wrong = [(found.counts[i][j], i, j) for i in range(n_labels) for j in range(n_labels) if i != j]
    commonest = sorted((one for one in wrong if one[0]), key=lambda one: (-one[0], one[1], one[2]))[:MAX_PAIRS]
    lines = [
        element(
            "li", _button(found, i, j, f"{n:,}"), element("span", written(f"{found.labels[i]} → {found.labels[j]}"))
        )
        for n, i, j in commonest
    ]
    return element("div", element("p", said("confusion_pairs", n=n_labels), class_="quiet"),
                   element("ol", *lines, class_="confusion pairs"))  # fmt: skip


def _button(found: Confusion, row: int, column: int, words: str) -> Markup:
    english, chinese = (
        sentence.format(truth=found.labels[row], answer=found.labels[column], n=found.counts[row][column])
        for sentence in STRINGS["confusion_cell"]
    )
    return element(
        "button", words, type="button", name="cell", value=f"{row}-{column}",
        aria_label=english if english == chinese else f"{english} · {chinese}",
    )  # fmt: skip
