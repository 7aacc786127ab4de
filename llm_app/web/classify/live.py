"""A table while it is classified: how it does so far, the last rows, and what could not be classified."""

from collections import deque
from typing import Any

from eval.report.markup import Markup, element, joined
from eval.statistics import wilson_interval
from llm_app.classify.judged import Row, judge
from llm_app.classify.table import LabelledTable
from llm_app.classify.types import Kind, Outcome, Prediction, Unclassified
from llm_app.errors import UserError
from llm_app.jobs.classify import table_of
from llm_app.jobs.folder import RunFolder
from llm_app.web.benchmark.results_markup import block, said, written
from llm_app.web.classify.rows_views import spoken
from llm_app.web.runs.views import STATUS

LOG_LINES = 40
LAST_ROWS = 4
LINE_CHARACTERS = 120


class ClassifyTally:
    """What the log of a classification comes to so far; of the outcomes only counts are kept."""

    def __init__(self, folder: RunFolder) -> None:
        spec = folder.spec()
        self._labels: tuple[str, ...] = tuple(spec["classifier"]["labels"])
        self._kind: Kind = spec["classifier"]["kind"]
        self._table: LabelledTable | None
        try:
            self._table = table_of(folder)
        except UserError:  # changed or gone: then nothing of its rows is shown
            self._table = None
        self._n_right = self._n_judged = self._n_failed = 0
        self._seen: set[int] = set()
        self._last: deque[tuple[int, Row]] = deque(maxlen=LAST_ROWS)
        self._log: deque[Markup] = deque(maxlen=LOG_LINES)

    def add(self, event: dict[str, Any]) -> None:
        """Take one more line of the log into account."""
        place = event.get("row")
        match event.get("type"):
            case "prediction" if isinstance(place, int):
                self._count(Prediction(place, tuple(event.get("scores", ())), int(event.get("cut", 0))))
            case "unclassified" if isinstance(place, int):
                self._n_failed += place not in self._seen
                self._count(Unclassified(place, str(event.get("reason"))))
            case "end":
                status = said(STATUS.get(str(event.get("status")), "state_damaged"))
                self._note("— ", status, f" {event.get('reason') or ''}")

    def body(self) -> str:
        """How many are right so far, with the interval."""
        return block(self._so_far(), self._failed())

    def details(self) -> str:
        """The last rows, and the log."""
        rows = [self._line(place, row) for place, row in reversed(self._last)]
        last = element("div", element("h4", said("classify_last_rows")), element("ol", *rows), class_="log")
        log = element("div", element("h4", said("log_title")), element("ol", *reversed(self._log)), class_="log")
        return block(last if rows else None, log if self._log else None)

    def aside(self) -> str:
        """What stands in the line of the list."""
        found = self._so_far()
        return block(found) if found else ""

    def _count(self, outcome: Outcome) -> None:
        place, table = outcome.index, self._table
        if place in self._seen or table is None or place >= len(table.items):
            return
        self._seen.add(place)
        (row,) = judge(self._kind, self._labels, [table.truths[place]], [_at_first(outcome)]).rows
        self._last.append((place, row))
        if row.is_right is not None:
            self._n_judged += 1
            self._n_right += row.is_right
        if isinstance(outcome, Unclassified):
            self._note(said("tune_at_line", n=table.lines[place]), f" {outcome.reason}")

    def _so_far(self) -> Markup | None:
        if not self._n_judged:
            return None
        right = wilson_interval(self._n_right, self._n_judged)
        return element(
            "span", said("classify_so_far", share=right.estimate, low=right.low, high=right.high), class_="so-far"
        )

    def _failed(self) -> Markup | None:
        return element("p", said("classify_n_failed", n=self._n_failed), class_="notice") if self._n_failed else None

    def _line(self, place: int, row: Row) -> Markup:
        assert self._table is not None
        words = " ".join(self._table.items[place].text.split())
        cut = words if len(words) <= LINE_CHARACTERS else words[: LINE_CHARACTERS - 1] + "…"
        return element("li", element("b", written(spoken(row.answer))), joined(" · ", written(cut)))

    def _note(self, *parts: Markup | str) -> None:
        self._log.append(element("li", *(part if isinstance(part, Markup) else written(part[:400]) for part in parts)))


def _at_first(outcome: Outcome) -> Outcome:
    """The same, as the only row of a table."""
    if isinstance(outcome, Prediction):
        return Prediction(0, outcome.scores, outcome.n_cut)
    return Unclassified(0, outcome.reason)
