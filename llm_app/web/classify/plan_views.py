"""What a run over the table will do, before it starts: pure functions."""

from collections.abc import Sequence

from eval.report.markup import element
from llm_app.jobs.classify_open import Opened
from llm_app.options import Text
from llm_app.web.benchmark.results_markup import block, said, told
from llm_app.web.classify.desk import Known
from llm_app.web.runs.views import duration
from llm_app.web.text import filled

Fact = tuple[str, Text, Text]  # name of its sentence, what it is, what stands below


def facts(opened: Opened, name: str, *, time: tuple[float, int] | None, is_measuring: bool) -> str:
    """Rows, classifier and time; `time`: seconds in all, and the rows on which that was measured."""
    table, classifier = opened.table, opened.classifier
    n, n_scored = len(table.items), sum(truth is not None for truth in table.truths)
    if classifier.kind == "regression":
        predicts = filled("classify_plan_value")
    else:
        predicts = filled("classify_plan_labels", n=len(classifier.labels))
    cells: list[Fact] = [
        ("classify_plan_rows", _same(f"{n:,}"), filled("classify_plan_scored", n=n_scored)),
        ("classify_plan_with", _same(name), predicts),
        ("classify_plan_time", *_time(time, is_measuring=is_measuring)),
    ]
    return _list(cells)


def training(known: Known | None, *, is_public: bool) -> str:
    """What is learned from, or what is still missing."""
    if is_public:
        return _line("classify_train_public")
    if known is None or known.rows.columns.truth is None:
        return _line("classify_train_none")
    n = sum(truth is not None for truth in known.rows.truths)
    return _line("classify_train_about", title=known.rows.name, n=n)


def _time(time: tuple[float, int] | None, *, is_measuring: bool) -> tuple[Text, Text]:
    if time is None:
        return _same("–"), filled("classify_plan_measuring" if is_measuring else "classify_plan_unmeasured")
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
