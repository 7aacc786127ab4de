"""A search as work: its budget, its losers, its end, and what a kill leaves of it."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_app.errors import Cancelled, UserError
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.queue import Queue
from llm_app.jobs.store import describe
from llm_app.training.search_trials import Trial, leader
from tests.jobs.toy_trials import N_STEPS, open_toy, toy_search

RATE = "learning_rate=1e-6..1e-1:log"


def told(trials: list[Trial]) -> list[tuple[object, ...]]:
    """All of it but the time it took."""
    return [(t.number, dict(t.params), t.points, t.state, t.n_steps, t.reason) for t in trials]


def test_a_search_runs_as_many_trials_as_it_may_and_says_how_it_ended(tmp_path: Path) -> None:
    search, trials = toy_search(tmp_path, RATE, n_trials=5)
    last = list(search.run())[-1]
    assert (last.done, last.total, len(search.history)) == (5, 5, 5)
    run = describe(search.folder)
    best = leader(search.history)
    assert best is not None and best.best is not None
    assert (run.status, run.n_done, run.n_total) == ("done", 5, 5)
    assert run.scores == {"best": ("validation_loss", best.best[1])}


def test_the_loss_before_the_first_step_is_no_trials_merit(tmp_path: Path) -> None:
    search, _ = toy_search(tmp_path, "learning_rate=1e-3", n_trials=1)
    list(search.run())
    (trial,) = search.history
    assert [step for step, _ in trial.points] == [2, 4, 6, 8, 10]
    assert trial.before == pytest.approx(3.5)


def test_losers_are_stopped_early_and_the_best_trial_alone_keeps_its_files(tmp_path: Path) -> None:
    search, trials = toy_search(tmp_path, RATE, n_trials=12)
    list(search.run())
    states = [trial.state for trial in search.history]
    assert states[:3] == ["done"] * 3 and "pruned" in states
    assert all(t.n_steps < N_STEPS for t in search.history if t.state == "pruned")
    best = leader(search.history)
    assert best is not None and trials.offered == [best.run]
    assert set(trials.dropped) == {t.run for t in search.history} - {best.run}


def test_a_setting_that_does_not_work_fails_alone_and_says_why(tmp_path: Path) -> None:
    search, _ = toy_search(tmp_path, "use_dora", strategy="grid", n_trials=2)
    list(search.run())
    assert [(t.state, t.reason) for t in search.history] == [("done", None), ("failed", "DoRA burns here.")]


def test_a_search_in_which_nothing_works_gives_up_after_three_trials(tmp_path: Path) -> None:
    search, _ = toy_search(tmp_path, RATE, "use_dora=true", n_trials=9)
    with pytest.raises(UserError, match="The first 3 trials failed. The last one said: DoRA burns here."):
        list(search.run())
    assert describe(search.folder).status == "failed"


def test_a_space_of_impossible_settings_is_told(tmp_path: Path) -> None:
    search, _ = toy_search(tmp_path, "rank=1")
    with pytest.raises(UserError, match="None of the settings"):
        list(search.run())


def test_a_budget_of_time_ends_in_the_middle_of_a_trial(tmp_path: Path) -> None:
    search, trials = toy_search(tmp_path, RATE, n_trials=50, seconds=0.2, pause=0.5)
    list(search.run())
    assert [(t.state, t.n_steps) for t in search.history] == [("cut", 0)]  # one step, and not a second
    assert trials.n_steps() == 1
    assert describe(search.folder).status == "done"


def test_time_that_was_spent_before_a_stop_counts(tmp_path: Path) -> None:
    search, _ = toy_search(tmp_path, RATE, n_trials=50, seconds=0.2, pause=0.03)
    list(search.run())
    again, _ = open_toy(search.folder)
    assert list(again.run()) == []
    assert told(again.history) == told(search.history)


def test_stop_keeps_what_is_done_and_the_trial_under_way_goes_on_where_it_stood(tmp_path: Path) -> None:
    whole, _ = toy_search(tmp_path / "a", RATE, n_trials=3)
    list(whole.run())
    search, trials = toy_search(tmp_path / "b", RATE, n_trials=3)
    with pytest.raises(Cancelled):
        for progress in search.run():
            if progress.trial.number == 1 and progress.trial.n_steps == 5:
                search.stop(Cancelled("stop"))
    assert describe(search.folder).status == "cancelled"
    assert trials.n_steps() < 2 * (N_STEPS + 1)
    again, _ = open_toy(search.folder)
    list(again.run())
    assert told(again.history) == told(whole.history)
    assert trials.n_steps() == 3 * (N_STEPS + 1)  # no step was made twice


def test_a_search_is_work_for_the_queue(tmp_path: Path) -> None:
    search, _ = toy_search(tmp_path, RATE, n_trials=2)
    queue = Queue()
    queue.submit(search)
    assert queue.wait(search.folder.id, 30)
    assert queue.status(search.folder.id).reason is None
    assert search.n_done == 2


def kill_and_resume(tmp_path: Path, strategy: str, moments: list[float]) -> None:
    """An undisturbed search, and one whose process is killed at these shares of its log: the same trials."""
    space = (RATE, "dropout=0..0.3")
    whole, made = toy_search(tmp_path / "a", *space, strategy=strategy, n_trials=9)
    list(whole.run())
    n_lines = len(whole.folder.events())
    search, _ = toy_search(tmp_path / "b", *space, strategy=strategy, n_trials=9)
    for moment in sorted(moments):
        command = [sys.executable, "-m", "tests.jobs.toy_trials", str(search.folder.path), "0.01"]
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        while process.poll() is None and len(search.folder.events()) < moment * n_lines:
            time.sleep(0.002)
        assert process.poll() is None, "it ended before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < len(search.folder.events()) < n_lines
    again, trials = open_toy(RunFolder(search.folder.path))
    list(again.run())
    assert told(again.history) == told(whole.history)
    assert trials.n_steps() == made.n_steps()  # finished trials were not run again, nor finished steps


def test_a_search_that_is_killed_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, "bayes", [0.3, 0.8])


@pytest.mark.verify
@pytest.mark.parametrize("strategy", ["random", "bayes"])
def test_a_search_that_is_killed_ten_times_goes_on_as_if_it_had_not_been(tmp_path: Path, strategy: str) -> None:
    rng = random.Random(strategy)
    kill_and_resume(tmp_path, strategy, [rng.uniform(0.02, 0.9) for _ in range(10)])
