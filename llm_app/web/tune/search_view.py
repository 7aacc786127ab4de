"""A search while it goes on: its trials as a leaderboard, best first, and their curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from eval.report.markup import Child, Markup, element
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.search import read_trials
from llm_app.jobs.searched import searched_of
from llm_app.jobs.train_search import n_settings
from llm_app.options import Text
from llm_app.training.search_trials import LOSS, Trial, as_measured, leader, ranking
from llm_app.web.benchmark.results_markup import block, said, told, written
from llm_app.web.runs.views import duration
from llm_app.web.text import STRINGS, filled
from llm_app.web.tune.curves import Line, spark
from llm_app.web.tune.settings_view import option_name, value_text

STATES = {
    "running": "state_running", "done": "state_done", "pruned": "search_pruned", "cut": "search_cut",
    "failed": "state_failed",
}  # fmt: skip
MAX_SHOWN = 50
MORE_TRIALS = (5, 20)  # that a search which is over can be given


class SearchTally:
    """What the log of a search comes to so far."""

    def __init__(self, folder: RunFolder) -> None:
        self._run_id, self._n_settings = folder.id, n_settings(folder)
        self._config = searched_of(folder).config
        self.events: list[Mapping[str, Any]] = []

    def add(self, event: dict[str, Any]) -> None:
        """Take one more line of the log into account."""
        self.events.append(event)

    def body(self) -> str:
        """The leaderboard, and below that of a search that is done how it goes on."""
        trials = read_trials(self.events)
        last = self.events[-1] if self.events else {}
        is_done = (last.get("type"), last.get("status")) == ("end", "done")
        more = more_trials(self._run_id, len(trials), self._n_settings) if is_done else ""
        return leaderboard(trials, self._config) + more

    def details(self) -> str:
        """Nothing: all that is known stands in the board."""
        return ""

    def aside(self) -> str:
        """The best loss or score, in a line of the list."""
        best = leader(read_trials(self.events))
        return block(told(measure(best.metric)), f" {best.best_value:.4g}") if best else ""


def measure(metric: str) -> Text:
    """What is measured on the rows held back, and which way is better."""
    if metric == LOSS:
        return STRINGS["search_loss"]
    english, chinese = STRINGS.get(f"train_score_metric_{metric}", (metric, metric))
    return filled("train_validation_score", metric=english)[0], filled("train_validation_score", metric=chinese)[1]


def leaderboard(trials: Sequence[Trial], config: type[Any]) -> str:
    """Trials, best first; `config` names their options. A press of a line's button shows the run of that trial."""
    if not trials:
        return ""
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    best = leader(trials)
    heads = [
        element("th", "#", scope="col", class_="num"),
        *(element("th", told(option_name(config, name)), scope="col") for name in names),
        element("th", told(measure((best or trials[0]).metric)), scope="col", class_="num"),
        *(element("th", said(name), scope="col", class_="num") for name in ("search_steps", "search_time")),
        element("th", said("search_state"), scope="col"),
    ]
    shown = ranking(trials)[:MAX_SHOWN]
    rows = [_row(place, trial, names, trial is best) for place, trial in enumerate(shown, start=1)]
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *rows))
    return block(element("div", table, class_="live board", tabindex="0"))


def more_trials(run_id: str, n_tried: int, n_all: int | None) -> str:
    """Buttons that give a search so many more trials; where all of its `n_all` settings were tried, that."""
    if n_all is not None and n_tried >= n_all:
        return block(element("p", said("search_all_tried", n=n_all), class_="quiet"))
    left = [n for n in MORE_TRIALS if n_all is None or n < n_all - n_tried]
    if n_all is not None and n_all - n_tried < max(MORE_TRIALS):
        left.append(n_all - n_tried)  # the rest of a small space
    buttons: list[Child] = [
        element("button", said("search_more", n=n), type="button", class_="search-more", name=run_id, value=str(n))
        for n in left
    ]
    return block(element("p", *buttons, class_="more-trials"))


def _row(place: int, trial: Trial, names: Sequence[str], is_best: bool) -> Markup:
    value = f"{trial.best_value:.4g}" if trial.best_value is not None else "–"
    points = [(float(step), as_measured(trial.metric, loss)) for step, loss in trial.points]
    line = Line(("", ""), 1, points, has_marks=True)
    time, _ = duration(trial.seconds)
    cells: list[Child] = [
        element("td", str(place), class_="num"),
        *(element("td", written(value_text(trial.params.get(name)))) for name in names),
        element("td", spark([line]), element("b", value) if is_best else value, class_="num"),
        element("td", f"{trial.n_steps:,}", class_="num"), element("td", time, class_="num"),
        element("td", said(STATES[trial.state]), _reason(trial), _show(trial)),
    ]
    return element("tr", *cells, class_="over" if trial.state != "running" else "now")


def _reason(trial: Trial) -> Markup | None:
    return element("small", written(trial.reason[:300])) if trial.reason else None


def _show(trial: Trial) -> Markup | None:
    """A button that shows the run of a trial in the card above."""
    if trial.run is None:
        return None
    return element(
        "button", said("search_show"), type="button", class_="search-show link", name="show", value=trial.run
    )
