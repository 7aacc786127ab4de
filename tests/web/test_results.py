"""The results of a run on the page: its table, plots and history, and whose runs they are."""

import re
import time
from pathlib import Path

import gradio as gr
import pytest
from starlette.requests import Request

from eval.report import Row
from llm_app.config import ServeConfig, Settings
from llm_app.engine.host import Host
from llm_app.jobs.store import Run
from llm_app.services import Services
from llm_app.web.benchmark import plots, table
from llm_app.web.benchmark.results import Parts, ResultHandlers, _past
from llm_app.web.benchmark.results_cache import Shelf
from llm_app.web.benchmark.table_metrics import explained
from llm_app.web.runs import views
from llm_app.web.visitor import COOKIE
from tests.web.made_results import choice_event, choice_run

RIGHTS = [True] * 30 + [False] * 10


def services_of(home: Path, *, is_public: bool = False) -> Services:
    settings = Settings(home=home, is_public=is_public)
    return Services(settings, ServeConfig(), Host(settings))


def asking(visitor: str = "") -> gr.Request:
    """A request of a browser with this cookie."""
    headers = [(b"cookie", f"{COOKIE}={visitor}".encode())] if visitor else []
    return gr.Request(request=Request({"type": "http", "headers": headers}))


@pytest.fixture
def parts() -> Parts:
    return Parts(
        gr.HTML(), gr.Column(), gr.HTML(), gr.HTML(), gr.HTML(), gr.HTML(), gr.Timer(), gr.State(())
    )  # fmt: skip


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return services_of(tmp_path / "home")


@pytest.fixture
def handlers(services: Services, parts: Parts) -> ResultHandlers:
    return ResultHandlers(services, Shelf(services.settings), parts)


def row(metric: str, value: float, **fields: object) -> Row:
    given = {
        "task": "quiz", "metric": metric, "filter": "none", "is_higher_better": True, "value": value, "stderr": None,
        "low": None, "high": None, "interval": "", "unit": "percent", "n": 40, "n_answered": 40, "n_asked": 40,
        "n_unscored": 0, "version": "1.0", "n_shots": 0, "chance": None,
    }  # fmt: skip
    return Row(**(given | fields))  # type: ignore[arg-type]


def words(html: str) -> str:
    """What a reader of English sees."""
    return re.sub(r"<[^>]*>", "", re.sub(r'<span class="zh".*?</span>', "", html))


def test_the_table_has_value_direction_interval_error_n_and_version(
    handlers: ResultHandlers, services: Services, parts: Parts
) -> None:
    shown = handlers.show(asking(), choice_run(services.runs(), RIGHTS).id)
    # Wilson's interval of 30 out of 40 at 95 %: 0.598 to 0.858 (Wilson 1927, as in statsmodels' proportion_confint).
    for part in ("quiz", "acc ↑", "0.750", "[0.598, 0.858]", "1.0", "40"):
        assert part in words(shown[parts.table]), part
    assert "done" in words(shown[parts.head])


def test_a_stopped_run_is_marked_as_partial(handlers: ResultHandlers, services: Services, parts: Parts) -> None:
    folder = choice_run(services.runs(), RIGHTS, n_asked=50, ends=False)
    with folder:
        folder.end("cancelled", done=40)
    shown = handlers.show(asking(), folder.id)
    assert "partial: 40 of 50 samples" in words(shown[parts.table]) and "stopped" in words(shown[parts.head])


def test_scores_of_a_running_run_stand_in_its_card_alone(
    handlers: ResultHandlers, services: Services, parts: Parts
) -> None:
    folder = choice_run(services.runs(), RIGHTS, n_asked=50, ends=False)
    with folder:  # held open: somebody works on it
        shown = handlers.show(asking(), folder.id)
        assert (shown[parts.head], shown[parts.table]) == ("", "") and "quiz" in shown[parts.plots]
    ended = handlers.look(asking(), folder.id, shown[parts.seen])
    assert "partial: 40 of 50" in words(ended[parts.table])


def test_nothing_is_sent_where_nothing_has_changed(handlers: ResultHandlers, services: Services, parts: Parts) -> None:
    folder = choice_run(services.runs(), RIGHTS, n_asked=50, ends=False)
    shown = handlers.show(asking(), folder.id)
    assert parts.table not in handlers.look(asking(), folder.id, shown[parts.seen])
    with folder:
        folder.append([choice_event(40, True) | {"done": 41}])
    assert "partial: 41 of 50" in words(handlers.look(asking(), folder.id, shown[parts.seen])[parts.table])


def test_a_run_without_a_result_says_so(handlers: ResultHandlers, services: Services, parts: Parts) -> None:
    folder = choice_run(services.runs(), [], n_asked=5, ends=False)
    assert "ended before it had a result" in handlers.show(asking(), folder.id)[parts.empty]


@pytest.mark.parametrize("run", ["", None, 7, {"path": "x"}])
def test_W6_what_is_no_id_shows_that_no_run_is_chosen(handlers: ResultHandlers, parts: Parts, run: object) -> None:
    assert "No run is chosen" in handlers.show(asking(), run)[parts.empty]


@pytest.mark.parametrize("run", ["zzzzzzzzzzzz", "../secret", "/etc/passwd"])
def test_a_run_that_is_not_there_is_a_sentence_with_a_number(
    handlers: ResultHandlers, parts: Parts, run: str
) -> None:
    shown = handlers.show(asking(), run)
    assert "There is no run" in shown[parts.empty] and "request" in shown[parts.empty]


def test_W9_a_visitor_cannot_open_the_run_of_another_by_its_id(tmp_path: Path, parts: Parts) -> None:
    services = services_of(tmp_path / "home", is_public=True)
    handlers = ResultHandlers(services, Shelf(services.settings), parts)
    mine, other = "m" * 43, "o" * 43
    run = choice_run(services.runs(mine), RIGHTS).id
    assert "0.750" in handlers.show(asking(mine), run)[parts.table]
    shown = handlers.show(asking(other), run)
    assert parts.table not in shown and "There is no run" in shown[parts.empty]


def test_the_history_of_a_task_holds_the_runs_before_it(
    handlers: ResultHandlers, services: Services, parts: Parts
) -> None:
    choice_run(services.runs(), [True, False] * 20, created="2026-01-01T08:00:00.000000")
    run = choice_run(services.runs(), RIGHTS, created="2026-01-03T08:00:00.000000")
    choice_run(services.runs(), [True] * 40, created="2026-01-05T08:00:00.000000")
    shown = handlers.show(asking(), run.id)[parts.history]
    assert "0.500" in shown and "0.750" in shown and "1.000" not in shown


def test_the_history_leaves_out_what_was_asked_otherwise(
    handlers: ResultHandlers, services: Services, parts: Parts
) -> None:
    store = services.runs()
    otherwise = {"n_asked": 41, "digest": "other", "n_shots": 5, "version": "2", "uses_chat_template": True}
    for name, value in otherwise.items():
        choice_run(store, [True, False] * 20, created="2026-01-01T08:00:00.000000", **{name: value})
    run = choice_run(store, RIGHTS, created="2026-01-03T08:00:00.000000")
    assert "0.500" not in handlers.show(asking(), run.id)[parts.history]


def test_a_past_score_has_the_samples_of_its_own_run() -> None:
    now = row("acc", 0.75, n=10, n_answered=10, chance=0.5)  # stopped after 10 of 40
    found = _past(now, Run("r", "done"), {
        "results": {"quiz": {"acc,none": 0.5, "acc_stderr,none": 0.1}}, "n-samples": {"quiz": {"effective": 39}},
    })  # fmt: skip
    assert found is not None and (found.value, found.n, found.n_unscored, found.chance) == (0.5, 39, 1, None)
    assert not found.is_partial


def test_a_run_has_one_time_wherever_it_is_named(
    handlers: ResultHandlers, services: Services, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        choice_run(services.runs(), RIGHTS, created="2026-01-01T08:00:00.000000")
        run = choice_run(services.runs(), RIGHTS, created="2026-01-03T08:00:00.000000")
        shown = handlers.show(asking(), run.id)
        assert views.when("2026-01-03T08:00:00.000000") == "2026-01-03 16:00"
        assert "2026-01-03 16:00" in shown[parts.head] and "01-03 16:00" in shown[parts.history]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_is_this_puts_the_numbers_of_the_run_into_the_formula() -> None:
    # sqrt(0.75 * 0.25 / 39) = 0.0693
    said = words("".join(explained(row("acc", 0.75, stderr=0.06933752452815365))))
    assert "30 right / 40 samples = 0.750" in said and "√(0.750 × (1 − 0.750) / 39) = 0.069" in said


def test_perplexity_is_explained_as_the_exponential_of_its_own_log() -> None:
    said = words("".join(explained(row("word_perplexity", 24.4, unit="plain", is_higher_better=False))))
    assert "exp(3.1946) = 24.40" in said  # ln 24.4 = 3.19458


def test_a_formula_is_not_claimed_where_the_numbers_do_not_fit_it() -> None:
    said = words("".join(explained(row("acc", 0.7512, stderr=0.05))))  # a mean of tasks, not of right and wrong
    assert "right /" not in said and "√" not in said and "standard error 0.050" in said


def test_only_the_first_score_of_a_task_stands_open() -> None:
    shown = table.table([row("acc", 0.5), row("f1", 0.25)])
    first, rest = shown.split("<details class=\"fold-line\"")
    assert "0.500" in first and "0.250" not in first and "0.250" in rest and "The other scores (1)" in rest


def test_plots_have_intervals_a_zero_line_and_words_for_who_cannot_see_them() -> None:
    shown = plots.overview([row("acc", 0.5, low=0.4, high=0.6)])
    assert shown.count('class="whisker"') == 3 and 'class="zero"' in shown
    assert 'aria-label="quiz acc, : 0.500 [0.400, 0.600]"' in shown


def test_names_from_a_task_mean_nothing_in_table_and_plots() -> None:
    hostile = row("<img src=x onerror=alert(1)>", 0.5, task="${alert(1)}{{x}}`", low=0.4, high=0.6)
    shown = table.table([hostile]) + plots.overview([hostile])
    assert "<img" not in shown and not re.search(r"[{}$`]", shown)
