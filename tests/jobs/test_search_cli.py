"""The command `search`, and its leaderboard."""

from pathlib import Path

import pytest

from llm_app.cli import main
from llm_app.jobs.leaderboard import as_markdown, leaderboard
from llm_app.training.search_trials import Trial


@pytest.mark.parametrize(("arguments", "words"), [
    (["--data", "x.jsonl"], "at least one option"),
    (["--space", "rnk=8", "--data", "x.jsonl"], "did you mean rank"),
    (["--space", "rank=8,16"], "--data FILE"),
    (["--space", "rank=8,16", "--data", "x.jsonl", "--trials", "0"], "trials must be at least 1"),
    (["--resume", "a" * 12, "--rank", "8"], "leave out --rank"),
    (["--resume", "a" * 12, "--space", "rank=8"], "leave out --space"),
    (["--resume", "a" * 12, "--votes"], "leave out --votes"),
    (["--space", "rank=8,16", "--votes"], "names a winner"),
    (["--resume", "a" * 12, "--trials", "0"], "trials must be at least 1"),
    (["--resume", "a" * 12, "--trials", "9"], "no run"),
    (["--resume", "a" * 12], "no run"),
])
def test_what_the_caller_can_mend_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path))
    assert main(["search", *arguments]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and said.out == ""


def test_the_leaderboard_shows_what_differs_best_first_and_why_a_trial_failed() -> None:
    trials = [
        Trial(0, {"rank": 8, "targets": ()}, "run0", 3.0, ((5, 2.5), (10, 2.25)), 10, 61.4, "done"),
        Trial(1, {"rank": 16, "targets": ("a", "b")}, "run1", 3.0, ((5, 1.5),), 10, 9.0, "done"),
        Trial(2, {"rank": 32, "targets": ()}, "run2", state="failed", reason="Memory ran out."),
    ]
    assert as_markdown(leaderboard(trials)).splitlines()[2:] == [
        "| 1 | 16 | a+b | 1.5000 | 5 | 10 | 9 | done | run1 |",
        "| 2 | 8 | none | 2.2500 | 10 | 10 | 61 | done | run0 |",
        "| 3 | 32 | none | - | - | 0 | 0 | failed | run2 |",
        "run2: Memory ran out.",
        "Before training: 3.0000.",
    ]


def test_a_search_that_found_nothing_better_than_no_training_says_so() -> None:
    trials = [Trial(0, {"rank": 8}, "run0", 1.0, ((5, 1.5),), 5, 1.0, "done")]
    assert as_markdown(leaderboard(trials)).endswith("Before training: 1.0000. No setting was better than that.")
