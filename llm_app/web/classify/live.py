"""A table while it is classified: how it does so far, the last rows, and what could not be classified."""

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from eval.report.markup import Markup, element, joined
from eval.statistics import wilson_interval
from llm_app.classify.types import Kind, Prediction, Unclassified, answer
from llm_app.errors import UserError
from llm_app.jobs.classify import source_of
from llm_app.jobs.classify_log import outcome_of
from llm_app.jobs.folder import RunFolder
from llm_app.web.benchmark.results_markup import block, said, told, written
from llm_app.web.classify.rows_views import spoken
from llm_app.web.classify.tables import Tables
from llm_app.web.runs.views import STATUS
from llm_app.web.text import STRINGS

LOG_LINES = 40
LAST_ROWS = 4
LINE_CHARACTERS = 120


class ClassifyTally:
    """What the log of a classification comes to so far: counts. Its table is looked at for the last rows alone."""

    def __init__(self, folder: RunFolder, tables: Tables) -> None:
        spec = folder.spec()
        self._folder, self._tables = folder, tables
        self._labels: tuple[str, ...] = tuple(spec["classifier"]["labels"])
        self._kind: Kind = spec["classifier"]["kind"]
        self._is_over = False
        self._n_right = self._n_judged = self._n_failed = 0
        # By place: an item that was classified twice counts once.
        self._seen = bytearray(sum(int(task["n_samples"]) for task in spec["tasks"].values()))
        self._last: deque[Prediction] = deque(maxlen=LAST_ROWS)
        self._log: deque[Markup] = deque(maxlen=LOG_LINES)

    def add(self, event: dict[str, Any]) -> None:
        """Take one more line of the log into account. A line that is not as it should be is passed over."""
        if event.get("type") == "end":
            self._is_over = True
            status = said(STATUS.get(str(event.get("status")), "state_damaged"))
            self._note("— ", status, f" {event.get('reason') or ''}")
            return
        try:
            outcome = outcome_of(event)
        except (KeyError, TypeError):
            return
        if outcome is None or not isinstance(outcome.index, int) or not self._is_first(outcome.index):
            return
        self._is_over = False  # it was resumed
        if isinstance(outcome, Unclassified):
            self._n_failed += 1
            reason = outcome.reason, outcome.reason_zh or outcome.reason
            self._note(said("tune_at_line", n=int(event.get("line", 0))), " ", told(reason))
            return
        self._last.append(outcome)
        if (right := event.get("right")) is not None:
            self._n_judged += 1
            self._n_right += right is True

    def body(self) -> str:
        """How many are right so far, with the interval."""
        return block(self._so_far(), self._failed())

    def details(self) -> str:
        """The last rows while it goes on, and the log."""
        rows = [] if self._is_over else list(self._rows())
        last = element("div", element("h4", said("classify_last_rows")), element("ol", *rows), class_="log")
        log = element("div", element("h4", said("log_title")), element("ol", *reversed(self._log)), class_="log")
        return block(last if rows else None, log if self._log else None)

    def aside(self) -> str:
        """What stands in the line of the list."""
        found = self._so_far()
        return block(found) if found else ""

    def _is_first(self, place: int) -> bool:
        if not 0 <= place < len(self._seen) or self._seen[place]:
            return False
        self._seen[place] = 1
        return True

    def _so_far(self) -> Markup | None:
        if not self._n_judged:
            return None
        right = wilson_interval(self._n_right, self._n_judged)
        values = {"share": right.estimate, "low": right.low, "high": right.high}
        if not all(self._seen):
            return element("span", said("classify_so_far_partial", **values), class_="so-far")
        # Called as in the lines of trainings, which stand in the same list.
        figures = STRINGS["figure_subset_accuracy" if self._kind == "multi" else "figure_accuracy"]
        told_so = zip(STRINGS["classify_so_far"], figures, strict=True)
        english, chinese = (sentence.format(figure=figure, **values) for sentence, figure in told_so)
        return element("span", told((english, chinese)), class_="so-far")

    def _failed(self) -> Markup | None:
        return element("p", said("classify_n_failed", n=self._n_failed), class_="notice") if self._n_failed else None

    def _rows(self) -> Iterator[Markup]:
        if not self._last:
            return
        with suppress(UserError, IndexError):  # changed or gone: then nothing of its rows is shown
            items = self._tables.read(*source_of(self._folder)).items
            for one in reversed(self._last):
                words = " ".join(items[one.index].text.split())
                cut = words if len(words) <= LINE_CHARACTERS else words[: LINE_CHARACTERS - 1] + "…"
                found = spoken(answer(self._kind, self._labels, one.scores))
                yield element("li", element("b", written(found)), joined(" · ", written(cut)))

    def _note(self, *parts: Markup | str) -> None:
        self._log.append(element("li", *(part if isinstance(part, Markup) else written(part[:400]) for part in parts)))
