"""What a run over the table will do, before it starts: pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.report.markup import element
from llm_app.jobs.classify_open import Opened
from llm_app.options import Text
from llm_app.web.benchmark.results_markup import block, folded_command, said, told
from llm_app.web.classify.desk import Known
from llm_app.web.runs.views import duration
from llm_app.web.text import filled

Fact = tuple[str, Text, Text]  # name of its sentence, what it is, what stands below


@dataclass(frozen=True)
class Plan:
    """What is to be run. `line`: the command that does the same; `n_known`: notes of the table that are told there.

    `is_of_table`: the labels are those of the truth column, since none were given.
    """

    opened: Opened
    name: Text
    line: str
    n_known: int = 0
    is_of_table: bool = False


def facts(plan: Plan, time: tuple[float, int] | str) -> str:
    """Rows, classifier and time, and what is to be known of how table and classifier go together.

    `time`: seconds in all, and the rows on which that was measured; else the name of the sentence that says why not.
    """
    table, classifier = plan.opened.table, plan.opened.classifier
    n, n_scored = len(table.items), sum(truth is not None for truth in table.truths)
    if classifier.kind == "regression":
        predicts = filled("classify_plan_value")
    else:
        sentence = "classify_plan_labels_table" if plan.is_of_table else "classify_plan_labels"
        predicts = filled(sentence, n=len(classifier.labels))
    cells: list[Fact] = [
        ("classify_plan_rows", _same(f"{n:,}"), filled("classify_plan_scored", n=n_scored)),
        ("classify_plan_with", plan.name, predicts),
        ("classify_plan_time", *_time(time)),
    ]
    notes = [
        element("p", told((note.text, note.text_zh)), class_="notice warning") for note in table.notes[plan.n_known :]
    ]
    return block(*notes) + _list(cells) + block(folded_command(plan.line))


def training(known: Known | None, line: str = "") -> str:
    """What is learned from and the command `line` that does the same, or what is still missing."""
    if known is None or known.rows.columns.truth is None:
        return _line("classify_train_none")
    n = sum(truth is not None for truth in known.rows.truths)
    return _line("classify_train_about", title=known.rows.name, n=n) + (block(folded_command(line)) if line else "")


def _time(time: tuple[float, int] | str) -> tuple[Text, Text]:
    if isinstance(time, str):
        return _same("–"), filled(time)
    return duration(max(1.0, time[0])), filled("classify_plan_measured", n=time[1])


def _list(cells: Sequence[Fact]) -> str:
    parts = [
        element("div", element("dt", said(name)), element("dd", told(value)), element("dd", told(more), class_="more"))
        for name, value, more in cells
    ]
    return block(element("dl", *parts, class_="facts plan"))


def _line(name: str, **values: object) -> str:
    return block(element("p", said(name, **values), class_="notice info"))


def _same(words: str) -> Text:
    return words, words
