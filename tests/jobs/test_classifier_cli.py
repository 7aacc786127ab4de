"""The command `classify train`: what it refuses, what it prints, and that it runs from end to end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm_app.classify.training.events import Scored
from llm_app.classify_train_cli import table_text
from llm_app.cli import main
from tests.jobs.test_classifier import table


@pytest.mark.parametrize(("arguments", "told"), [
    (["--input", "a.csv", "--text-column", "text"], "Training needs --truth-column."),
    (["--resume", "abcdefghijkl", "--epochs", "2"], "A resumed run keeps its own options; leave out --epochs."),
    (["--resume", "abcdefghijkl"], "There is no run 'abcdefghijkl' here."),
    (["--input", "gone.csv", "--text-column", "a", "--truth-column", "b"], "Cannot read gone.csv"),
    (["--input", "a.csv", "--text-column", "a", "--truth-column", "b", "--method", "lstm", "--model", "x"],
     "Method lstm learns from the table alone: leave out the model."),
    (["--resume", "abcdefghijkl", "--kind", "multi", "--no-header", "--drop-unlabelled"],
     "leave out --kind, --drop-unlabelled, --header."),
    (["--input", "a.csv", "--text-column", "a", "--truth-column", "b", "--test-input", "c", "--test", "0.2"],
     "leave out --test."),
    (["--validation", "0.5", "--test", "0.5"], "must hold back less than 0.9 of the rows"),
])  # fmt: skip
def test_what_cannot_be_trained_is_told_in_a_sentence(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["classify", "train", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_glue_refuses_to_hold_rows_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "glue", "--tasks", "cola", "--test", "0.2"]) == 2
    assert "leave out --test" in capsys.readouterr().err


def test_the_table_has_a_line_a_method_with_the_interval_of_each_score() -> None:
    nan = float("nan")
    scored = [
        Scored("encoder", "test", 1200, {"accuracy": (0.9, 0.88, 0.915), "mcc": (0.8, nan, nan)}, "a"),
        Scored("majority", "test", 1200, {"accuracy": (0.5, 0.47, 0.53)}, "b"),
    ]
    assert table_text(scored).splitlines() == [
        "method    rows        accuracy               mcc",
        "encoder   1,200 test  0.9000 [0.880, 0.915]  0.8000",
        "majority  1,200 test  0.5000 [0.470, 0.530]  -",
    ]


@pytest.mark.verify
def test_a_table_becomes_a_classifier_that_the_command_uses(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "llm_app", "classify"]
    environment = os.environ | {"PROOFBENCH_HOME": str(tmp_path / "home")}
    table(tmp_path / "reviews.csv")
    columns = ["--input", "reviews.csv", "--text-column", "text", "--truth-column", "label"]
    options = {"env": environment | {"PYTHONPATH": str(Path(__file__).parents[2])}, "cwd": tmp_path, "check": True}
    trained = subprocess.run(
        [*command, "train", *columns, "--method", "tfidf", "--output", "made", "--json"], capture_output=True, **options
    )
    assert json.loads(trained.stdout)["classifier"] == str(tmp_path / "made")
    subprocess.run([*command, "--model", "made", *columns, "--output", "out.csv"], **options)
    assert len((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()) == 61
