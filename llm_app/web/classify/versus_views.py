"""Two classifiers on the same rows: the verdict in a sentence, and the table behind it."""

from dataclasses import replace

from eval.report.markup import element
from eval.verdict import task_verdict
from llm_app.classify.versus import versus
from llm_app.web.benchmark.comparison_view import comparison_table
from llm_app.web.benchmark.results_markup import block, told
from llm_app.web.classify.answers import Answers
from llm_app.web.classify.scores_views import flattered


def verdict(shown: Answers, other: Answers) -> str:
    """The shown one against the other, on the rows that both classified. Raises: UserError if there is none."""
    names = other.name.text, shown.name.text
    found = versus(shown.table.name, (names[0][0], other.judged), (names[1][0], shown.judged))
    first = found[0]
    chinese = replace(first, baseline=names[0][1], candidate=names[1][1])
    sentence = task_verdict(first, first.tasks[0], "en"), task_verdict(chinese, first.tasks[0], "zh")
    whole = replace(first, tasks=tuple(task for one in found for task in one.tasks))
    n = len({*shown.scored} & {*other.scored})
    return block(
        element("p", told(sentence), class_="verdict"), flattered(shown), flattered(other),
        element("div", comparison_table(whole), class_="scroll", tabindex="0"),
        element("p", other.name.in_sentence("versus_about", n=n), class_="quiet"),
    )
