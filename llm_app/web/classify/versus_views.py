"""Two classifiers on the same rows: the verdict in a sentence, and the table behind it."""

from dataclasses import replace
from typing import Any

from eval.classification import compare_classifiers
from eval.report.markup import element
from eval.verdict import task_verdict
from llm_app.web.benchmark.comparison_view import comparison_table
from llm_app.web.benchmark.results_markup import block, said, told
from llm_app.web.classify.answers import Answers
from llm_app.web.views import notice


def verdict(shown: Answers, other: Answers) -> str:
    """The shown one against the other, on the rows that both classified."""
    places = sorted({*shown.scored} & {*other.scored})
    if not places:
        return notice(block(said("scores_nothing_yet")))
    answers: list[list[Any]] = [
        [one.judged.rows[place].answer for place in places] for one in (other, shown)
    ]
    truths: list[Any] = [shown.judged.rows[place].truth for place in places]
    found = compare_classifiers(
        shown.table.name, (other.name, shown.name), (answers[0], answers[1]), truths, shown.kind
    )
    first = found[0]
    sentence = task_verdict(first, first.tasks[0], "en"), task_verdict(first, first.tasks[0], "zh")
    whole = replace(first, tasks=tuple(task for one in found for task in one.tasks))
    return block(
        element("p", told(sentence), class_="verdict"),
        element("div", comparison_table(whole), class_="scroll", tabindex="0"),
        element("p", said("versus_about", n=len(places), other=other.name), class_="quiet"),
    )
