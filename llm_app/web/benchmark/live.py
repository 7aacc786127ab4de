"""A benchmark while it runs: each task's share, its score so far with its interval, the last sample, the log."""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from eval.compare import Answered
from eval.compare.changes import answer_text
from eval.compare.run import Metric
from eval.report.estimate import Estimate
from eval.report.markup import Markup, element
from eval.report.numbers import score_text
from eval.types import Result
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.kept import result_of
from llm_app.jobs.running import estimate_so_far
from llm_app.web.benchmark.results_markup import block, passage, said, written
from llm_app.web.benchmark.samples_index import SampleIndex
from llm_app.web.runs.views import STATUS

LOG_LINES = 40
SHOWN_CHARACTERS = 700  # of the end of a prompt: the question stands there, examples before it


@dataclass
class TaskSoFar:
    """One task of the run; `score` is of `n_in_score` samples, and made anew when there are more."""

    name: str
    n_total: int
    metrics: list[Metric]
    shares_passages: bool
    results: dict[int, Result] = field(default_factory=dict)
    score: tuple[Metric, Estimate] | None = None
    n_in_score: int = 0

    def score_now(self) -> tuple[Metric, Estimate] | None:
        """Of what is done; None where there is no score yet."""
        if self.n_in_score != len(self.results):
            self.score = estimate_so_far(
                self.metrics, list(self.results.values()), n_total=self.n_total, shares_passages=self.shares_passages
            )
            self.n_in_score = len(self.results)
        return self.score

    @property
    def n_unscored(self) -> int:
        """Samples without a score."""
        return sum(result.error is not None for result in self.results.values())


class BenchmarkTally:
    """What the log of a benchmark comes to so far. Answers are not kept: they stand in the folder."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        spec = folder.spec()
        self._tasks = {
            name: TaskSoFar(
                name, int(task.get("n_samples") or 0), _metrics(task), name in spec.get("with_passages", ())
            )
            for name, task in spec.get("tasks", {}).items()
        }
        self._log: deque[Markup] = deque(maxlen=LOG_LINES)
        self._last: tuple[str, int] | None = None
        self._index: SampleIndex | None = None
        self._body, self._details = "", ""
        self._is_new = True

    def add(self, event: dict[str, Any]) -> None:
        """Take one more line of the log into account."""
        self._is_new = True
        match event.get("type"):
            case "result":
                self._add_result(event)
            case "unanswered":
                self._note(f"{event.get('task')} #{event.get('sample')} ", said("log_again"), f" {event.get('reason')}")
            case "end":
                status = STATUS.get(str(event.get("status")), "state_damaged")
                self._note("— ", said(status), f" {event.get('reason') or ''}")

    def body(self) -> str:
        """A line for each task: how far it is, its score so far."""
        self._draw()
        return self._body

    def details(self) -> str:
        """The last sample and the end of the log."""
        self._draw()
        return self._details

    def _add_result(self, event: dict[str, Any]) -> None:
        task = self._tasks.get(str(event.get("task")))
        if task is None:
            return
        result = replace(result_of(event), answers=())
        task.results.setdefault(result.sample, result)
        self._last = task.name, result.sample
        if result.error is not None:
            self._note(f"{task.name} #{result.sample} ", said("log_unscored"), f" {result.error}")
        else:
            self._note(f"{task.name} #{result.sample} {_scores(result)}")

    def _note(self, *parts: Markup | str) -> None:
        self._log.append(element("li", *(part if isinstance(part, Markup) else written(part[:300]) for part in parts)))

    def _draw(self) -> None:
        if self._is_new:
            self._is_new = False
            self._body = block(_table(list(self._tasks.values())))
            self._details = block(self._sample(), _log(list(self._log))) if self._log else ""

    def _sample(self) -> Markup | None:
        """The last sample as it was asked and answered; nothing where the files cannot be read just now."""
        if self._last is None:
            return None
        task, number = self._last
        try:
            self._index = self._index or SampleIndex(self._folder)
            (sample,) = self._index.refresh().read(task, [number])
        except UserError:
            return None
        return _last_sample(task, sample)


def _metrics(task: dict[str, Any]) -> list[Metric]:
    found = task.get("metrics") or []
    return [Metric(metric["name"], metric["aggregation"], metric["higher_is_better"]) for metric in found]


def _table(tasks: list[TaskSoFar]) -> Markup:
    heads = (("col_task", None), ("col_done", "num"), ("score_so_far", "num"))
    head = element("tr", *(element("th", said(name), scope="col", class_=class_) for name, class_ in heads))
    rows = [element("tr", *_row(task), class_=_tone(task)) for task in tasks]
    table = element("table", element("thead", head), element("tbody", *rows))
    return element("div", table, class_="live", tabindex="0")  # so that the keyboard can scroll it


def _row(task: TaskSoFar) -> list[Markup]:
    n = len(task.results)
    share = n / task.n_total if task.n_total else 0.0
    bar = element("span", element("i", style=f"width:{min(share, 1):.1%}"), class_="bar")
    unscored = said("log_n_unscored", n=task.n_unscored) if task.n_unscored else None
    return [
        element("th", written(task.name), scope="row"),
        element("td", bar, f"{n:,} / {task.n_total:,}", element("small", unscored) if unscored else None, class_="num"),
        element("td", *_score(task.score_now()), class_="num"),
    ]


def _score(found: tuple[Metric, Estimate] | None) -> list[Markup | str]:
    """As the table of the finished run has it: what it says of the last sample stays."""
    if found is None:
        return ["–"]
    metric, made = found
    name = element("span", f"{metric.name} {'↑' if metric.is_higher_better else '↓'}", class_="metric")
    if made.low is None or made.high is None:
        return [name, f" {score_text(made.value, made.unit)}"]
    low, high = score_text(made.low, made.unit), score_text(made.high, made.unit)
    return [name, f" {score_text(made.value, made.unit)} [{low}, {high}]"]


def _tone(task: TaskSoFar) -> str | None:
    return "over" if len(task.results) >= task.n_total else "now" if task.results else "next"


def _scores(result: Result) -> str:
    numbers = {key.partition(",")[0]: value for key, value in result.scores.items() if isinstance(value, int | float)}
    return "  ".join(f"{metric} {value:.4g}" for metric, value in numbers.items())


def _last_sample(task: str, sample: Answered) -> Markup:
    prompt = sample.requests[0][0] if sample.requests else ""
    if len(prompt) > SHOWN_CHARACTERS:
        prompt = "…" + prompt[-SHOWN_CHARACTERS:]
    key = next(iter(sample.scores), "")
    answer = sample.error or answer_text(sample, key)
    parts = [("sample_prompt", prompt), ("sample_wanted", sample.target), ("sample_answer", answer)]
    shown = [
        element("div", element("h5", said(name)), passage(words), class_="part") for name, words in parts if words
    ]
    head = element("h4", said("last_sample"), written(f" {task} #{sample.sample}"))
    return element("div", head, *shown, class_="last")


def _log(lines: list[Markup]) -> Markup:
    return element("div", element("h4", said("log_title")), element("ol", *reversed(lines)), class_="log")
