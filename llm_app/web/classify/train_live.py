"""The training of a classifier while it goes on: its figures, its learning curve, what each method comes to."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from eval.report.markup import Markup, element
from eval.statistics import Interval
from llm_app.classify.training.events import Point, Scored
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.train_log import Begun, Discarded, Phase, Written, told_of
from llm_app.options import Text
from llm_app.training.events import Note, Saved, Step
from llm_app.web.benchmark.results_markup import block, said, told, written
from llm_app.web.classify.scores_views import FIRST, cell
from llm_app.web.runs.views import STATUS
from llm_app.web.text import STRINGS, filled
from llm_app.web.tune.curves import Line, Points, curves, spark
from llm_app.web.tune.search_view import measure
from llm_app.web.views import gigabytes

LOG_LINES = 60
TOLD_AT_ONCE = ("few", "epochs", "no_gain", "no_baseline")  # notes that say what the scores are worth
MAX_NOTE = 400  # characters
TRAINING, VALIDATION, TEST = 0, 1, 2  # numbers of their colours
SPANS = "spans"  # what a tagger finds
FIGURES: Mapping[str, Sequence[str]] = {str(kind): names for kind, names in FIRST.items()} | {
    SPANS: ("span_f1", "span_precision", "span_recall", "tag_accuracy"),
}  # fmt: skip
SHOWN = 4  # figures of a method that stand side by side


class ClassifierTally:
    """What the log of the training of a classifier, or of a tagger, comes to so far."""

    def __init__(self, folder: RunFolder) -> None:
        spec = folder.spec()
        self._method, self._kind = str(spec["config"]["method"]), str(spec["columns"].get("kind", SPANS))
        self._losses, self._points = Points(), list[Point]()
        self._step: Step | None = None
        self._begun: Begun | None = None
        self._phase: str | None = None
        self.written: Written | None = None
        self.scored: dict[tuple[str, str], Scored] = {}
        self._notes: dict[str, Markup] = {}
        self._log: deque[Markup] = deque(maxlen=LOG_LINES)

    def add(self, event: dict[str, Any]) -> None:
        """Take one more line of the log into account. A line that is not as it should be is passed over."""
        if event.get("type") == "end":
            self._phase = None
            status = said(STATUS.get(str(event.get("status")), "state_damaged"))
            self._note("— ", status, f" {event.get('reason') or ''}")
            return
        try:
            found = told_of(event)
        except TypeError:
            return
        match found:
            case Step():
                self._add_step(found)
            case Point():
                self._phase = None
                self._points = [one for one in self._points if one.step < found.step] + [found]
            case Scored():
                self.scored[found.method, found.part] = found
            case Saved():
                self._note(said("tune_log_best" if found.is_best else "tune_log_saved", step=found.step))
            case Note():
                text = told((found.text[:MAX_NOTE], (found.text_zh or found.text)[:MAX_NOTE]))
                self._note(text)
                if found.kind in TOLD_AT_ONCE:
                    self._notes[found.kind] = text
            case Phase():
                self._phase = found.phase
            case Begun():
                self._begun, self._phase = found, None
            case Written():
                self.written = found
            case Discarded():
                self.written = None
                self._note(said("tune_discarded"))

    def body(self) -> str:
        """Figures, the scores of each method, the learning curve, the losses."""
        n_steps = self._step.n_steps if self._step else self._begun.n_steps if self._begun else 0
        names = STRINGS["train_error_training"], STRINGS["train_error_validation"]
        losses = [
            Line(names[TRAINING], TRAINING, self._losses.all()),
            Line(names[VALIDATION], VALIDATION, [(float(one.step), one.loss) for one in self._points], has_marks=True),
        ]
        return block(
            self._phase_line(), self._figures(), *(element("p", text, class_="quiet") for text in self._notes.values()),
            scored_table(list(self.scored.values()), self._method, self._kind),
            *((curves(self._caption(), self._errors(), n_steps), curves(STRINGS["train_loss_curve"], losses, n_steps))
              if n_steps > 1 else ()),
        )  # fmt: skip

    def details(self) -> str:
        """The log."""
        if not self._log:
            return ""
        lines = element("ol", *reversed(self._log))
        return block(element("div", element("h4", said("log_title")), lines, class_="log"))

    def aside(self) -> str:
        """What stands in the line of the list: the curve, and what it came to on rows that nobody learned from."""
        found = self._of_method()
        if found is None or not found.scores:
            return block(spark(self._errors()))
        name, (value, low, high) = next(iter(found.scores.items()))
        shown, ends = cell(Interval(value, low, high, found.n, 0.95, ""))
        return block(spark(self._errors()), element("span", said(f"figure_{name}"), f" {shown} {ends}"))

    def _add_step(self, found: Step) -> None:
        if self._step is not None and found.step <= self._step.step:  # resumed: these steps are made again
            kept = Points()
            for at, value in self._losses.all():
                if at < found.step:
                    kept.add(at, value)
            self._losses = kept
            self._points = [one for one in self._points if one.step < found.step]
        self._phase, self._step = None, found
        self._losses.add(float(found.step), found.loss)

    def _caption(self) -> Text:
        """What the errors are of: on how many rows, as far as the log says so."""
        last = self._points[-1] if self._points else None
        if last is None or not last.n_training:
            return STRINGS["train_curve"]
        return filled("train_curve_on", n_training=last.n_training, n_validation=last.n_validation)

    def _errors(self) -> list[Line]:
        """Training, validation and at the end test error: what is missing to a score of 1."""
        lines = [
            Line(STRINGS["train_error_training"], TRAINING,
                 [(float(one.step), 1 - one.training_score) for one in self._points], has_marks=True),
            Line(STRINGS["train_error_validation"], VALIDATION,
                 [(float(one.step), 1 - one.score) for one in self._points], has_marks=True),
        ]  # fmt: skip
        found = self._of_method()
        best = self._best()
        if found is not None and found.part == "test" and best is not None and best.metric in found.scores:
            step = self.written.step if self.written else best.step  # the last one where none beat the start
            test = [(float(step), 1 - found.scores[best.metric][0])]
            lines.append(Line(STRINGS["train_error_test"], TEST, test, has_marks=True))
        return lines

    def _best(self) -> Point | None:
        """Whose weights are kept: of equal scores the lower loss decides, of equal losses the first, as in training."""
        return max(self._points, key=lambda one: (one.score, -one.loss), default=None)

    def _of_method(self) -> Scored | None:
        """What was trained, on the test part where there is one."""
        parts = [self.scored.get((self._method, part)) for part in ("test", "validation")]
        return next((found for found in parts if found is not None), None)

    def _figures(self) -> Markup | None:
        facts: list[tuple[Markup, str, Markup | None]] = []
        if self._step is not None:
            facts.append((said("train_training_loss"), f"{self._step.loss:.3g}", None))
        if best := self._best():
            name = told(measure(best.metric))
            more = said("tune_best_at", best=best.score, step=best.step) if best.step else said("train_no_gain_yet")
            chooses = self._step is not None and self._step.n_steps > 1
            facts.append((name, f"{self._points[-1].score:.3f}", more if chooses else None))
        if self._step is not None and self._step.n_steps > 1:
            facts += [
                (said("tune_rate"), f"{self._step.learning_rate:.2e}", None),
                (said("tune_epoch"), f"{self._step.epoch:.2f}", None),
                (said("tune_memory"), f"{gigabytes(self._step.memory_bytes)} GB", None),
            ]
        cells = [
            element(
                "div", element("dt", name), element("dd", value),
                element("dd", more, class_="more") if more else None,
            )
            for name, value, more in facts
        ]
        return element("dl", *cells, class_="tune-figures") if cells else None

    def _phase_line(self) -> Markup | None:
        name = f"train_phase_{self._phase}"
        return element("p", said(name), "…", class_="phase", role="status") if name in STRINGS else None

    def _note(self, *parts: Markup | str) -> None:
        self._log.append(element("li", *(part if isinstance(part, Markup) else written(part[:400]) for part in parts)))


def scored_table(scored: Sequence[Scored], method: str, kind: str) -> Markup | None:
    """Each method on the rows that nothing was learned from, what was trained first."""
    if not scored:
        return None
    listed = sorted(scored, key=lambda one: one.method != method)
    names = [name for name in FIGURES[kind] if any(name in one.scores for one in listed)][:SHOWN]
    head = element(
        "tr", element("th", said("train_method"), scope="col"),
        *(element("th", said(f"figure_{name}"), scope="col", class_="num") for name in names),
    )  # fmt: skip
    lines = [element("tr", _name(one, method), *(_cell(one, name) for name in names)) for one in listed]
    table = element("table", element("thead", head), element("tbody", *lines))
    if not any(one.flatters for one in listed):
        return table
    return element("div", table, element("p", said("train_scored_chosen"), class_="quiet"))


def _name(one: Scored, method: str) -> Markup:
    part = STRINGS[f"part_{one.part}"]
    on = filled("train_scored_on", n=one.n, part=part[0])[0], filled("train_scored_on", n=one.n, part=part[1])[1]
    baseline = element("small", said("train_is_baseline")) if one.method != method else None
    return element("th", said(f"method_{one.method}"), " ", baseline, element("small", told(on)), scope="row")


def _cell(one: Scored, name: str) -> Markup:
    if name not in one.scores:
        return element("td", "–", class_="num")
    value, low, high = one.scores[name]
    shown, ends = cell(Interval(value, low, high, one.n, 0.95, ""))
    return element("td", element("b", shown), element("small", ends), class_="num")
