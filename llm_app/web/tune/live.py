"""A training run while it goes on: its figures, its curves, what it said before and now, the log."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from eval.report.markup import Markup, element
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.train_log import Begun, Discarded, Phase, Written, told_of
from llm_app.training.events import Note, Saved, Step, Validation
from llm_app.web.benchmark.results_markup import block, passage, said, told, written
from llm_app.web.runs.views import STATUS
from llm_app.web.text import STRINGS
from llm_app.web.tune.curves import Line, Points, curves, spark
from llm_app.web.views import gigabytes

LOG_LINES = 60
SPEED_STEPS = 10  # that the tokens a second are a mean of
SHOWN_SAMPLES = 4
MAX_NOTE = 400  # characters
RISES = 1.02  # a validation loss so much above the best one is said to rise
TRAINING, VALIDATION = 0, 1  # numbers of their colours
NOTES = {
    "batch_halved": "tune_note_batch_halved", "stopped_early": "tune_note_stopped_early",
    "loss_rises": "tune_rising", "resumed": "tune_note_resumed",
}  # fmt: skip


class TrainTally:
    """What the log of a training run comes to so far."""

    def __init__(self, folder: RunFolder) -> None:
        self._training, self._validations = Points(), list[Validation]()
        self._speeds: deque[Step] = deque(maxlen=SPEED_STEPS)
        self._step: Step | None = None
        self._begun: Begun | None = None
        self.written: Written | None = None
        self._phase: str | None = None
        self._log: deque[Markup] = deque(maxlen=LOG_LINES)
        self._body, self._details, self._is_new = "", "", True

    def add(self, event: dict[str, Any]) -> None:
        """Take one more line of the log into account. A line that is not as it should be is passed over."""
        self._is_new = True
        if event.get("type") == "end":
            self._phase = None
            status = STATUS.get(str(event.get("status")), "state_damaged")
            self._note("— ", said(status), f" {event.get('reason') or ''}")
            return
        try:
            found = told_of(event)
        except TypeError:
            return
        match found:
            case Step():
                self._add_step(found)
            case Validation():
                self._add_validation(found)
            case Saved():
                self._note(said("tune_log_best" if found.is_best else "tune_log_saved", step=found.step))
            case Note():
                self._note(_remark(found))
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
        """Figures, a hint where there is one, the curves."""
        self._draw()
        return self._body

    def details(self) -> str:
        """What the model said at validations, and the end of the log."""
        self._draw()
        return self._details

    def lines(self) -> list[Line]:
        """Training and validation loss."""
        names = STRINGS["tune_training_loss"], STRINGS["tune_validation_loss"]
        validations = [(float(found.step), found.loss) for found in self._validations if math.isfinite(found.loss)]
        return [
            Line(names[0], TRAINING, self._training.all()), Line(names[1], VALIDATION, validations, has_marks=True)
        ]  # fmt: skip

    def aside(self) -> str:
        """The curves in a line of the list, and the validation loss before and at its best."""
        training, validation = (line.points for line in self.lines())
        if len(validation) > 1:
            words = said("tune_came_to", first=validation[0][1], best=min(loss for _, loss in validation))
        elif training:
            words = said("tune_came_to_training", last=training[-1][1])
        else:
            return ""
        return block(spark(self.lines()), words)

    def _add_step(self, told: Step) -> None:
        if self._step is not None and told.step <= self._step.step:
            self._forget_from(told.step)
        self._phase, self._step = None, told
        self._speeds.append(told)
        self._training.add(float(told.step), told.loss)

    def _forget_from(self, step: int) -> None:
        """A run that was resumed makes some steps again: what it said of them before is not its curve."""
        kept = Points()
        for at, value in self._training.all():
            if at < step:
                kept.add(at, value)
        self._training = kept
        self._validations = [found for found in self._validations if found.step < step]

    def _add_validation(self, told: Validation) -> None:
        self._validations = [found for found in self._validations if found.step < told.step] + [told]
        self._note(said("tune_log_validation", step=told.step, loss=told.loss))

    def _note(self, *parts: Markup | str) -> None:
        self._log.append(element("li", *(part if isinstance(part, Markup) else written(part[:400]) for part in parts)))

    def _draw(self) -> None:
        if not self._is_new:
            return
        self._is_new = False
        n_steps = self._step.n_steps if self._step else self._begun.n_steps if self._begun else 0
        self._body = block(
            _phase(self._phase), _figures(self._step, self._validations, self._per_second()),
            rising(self._validations), curves(STRINGS["tune_loss_axis"], self.lines(), n_steps),
        )  # fmt: skip
        answers = [found for found in self._validations if found.samples]
        self._details = block(_answers(answers), _log(self._log)) if self._log else ""

    def _per_second(self) -> float:
        seconds = sum(step.seconds for step in self._speeds)
        return sum(step.n_tokens for step in self._speeds) / seconds if seconds > 0 else 0.0


def rising(validations: Sequence[Validation]) -> Markup | None:
    """A hint where the last two validation losses lie above the best one: it learns by heart from here on."""
    best = min(validations, key=lambda found: found.loss, default=None)
    if best is None or len(validations) < 3 or any(found.loss <= RISES * best.loss for found in validations[-2:]):
        return None
    words = said("tune_rising_since", best=best.loss, step=best.step, now=validations[-1].loss)
    return element("p", words, class_="notice warning", role="status")


def _figures(step: Step | None, validations: Sequence[Validation], per_second: float) -> Markup | None:
    facts: list[tuple[str, str, Markup | None]] = []
    if step is not None:
        facts.append(("tune_training_loss_down", f"{step.loss:.3g}", None))
    if validations:
        best = min(validations, key=lambda found: found.loss)
        more = said("tune_best_at", best=best.loss, step=best.step) if len(validations) > 1 else None
        facts.append(("tune_validation_loss_down", f"{validations[-1].loss:.3g}", more))
    if step is not None:
        facts += [
            ("tune_rate", f"{step.learning_rate:.2e}", None), ("tune_norm", f"{step.gradient_norm:.3g}", None),
            ("tune_speed", f"{per_second:,.0f}", None), ("tune_memory", f"{gigabytes(step.memory_bytes)} GB", None),
            ("tune_epoch", f"{step.epoch:.2f}", None),
        ]  # fmt: skip
    cells = [
        element(
            "div", element("dt", said(name)), element("dd", value),
            element("dd", more, class_="more") if more else None,
        )
        for name, value, more in facts
    ]  # fmt: skip
    return element("dl", *cells, class_="tune-figures") if cells else None


def _phase(phase: str | None) -> Markup | None:
    name = f"tune_phase_{phase}"
    return element("p", said(name), "…", class_="phase", role="status") if name in STRINGS else None


def _remark(note: Note) -> Markup:
    words = element("span", told((note.text[:MAX_NOTE], (note.text_zh or note.text)[:MAX_NOTE])), class_="quiet")
    return element("span", said(NOTES[note.kind]), " ", words) if note.kind in NOTES else words


def _answers(validations: Sequence[Validation]) -> Markup | None:
    """Each prompt with what was expected, what the model said before, and what it says now."""
    if not validations:
        return None
    first, last = validations[0], validations[-1]
    before = {prompt: answer for prompt, _, answer in first.samples} if first.step < last.step else {}
    shown = [
        element(
            "div", _part("tune_sample_prompt", prompt), element(
                "div", _part("tune_sample_expected", expected),
                _part("tune_sample_before", before[prompt], step=first.step) if prompt in before else None,
                _part("tune_sample_now", answer, step=last.step), class_="answers",
            ), class_="tune-sample",
        )
        for prompt, expected, answer in last.samples[:SHOWN_SAMPLES]
    ]  # fmt: skip
    return element("div", element("h4", said("tune_samples", step=last.step)), *shown, class_="last")


def _part(name: str, words: str, **values: object) -> Markup:
    return element("div", element("h5", said(name, **values)), passage(words), class_="part")


def _log(lines: Sequence[Markup]) -> Markup:
    return element("div", element("h4", said("log_title")), element("ol", *reversed(lines)), class_="log")


