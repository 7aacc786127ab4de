"""`compare` and `benchmark --compare-with-base` as a person and a script use them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eval.compare import Metric
from llm_app.compare_cli import json_text, language_of, text
from tests import tiny
from tests.eval.made_runs import compared

ROOT = Path(__file__).parents[1]
SPOKEN = Metric("variety", lambda texts: float(len(set(texts))), True)  # each score is a text


def llm_app(home: Path, data: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | {
        "PROOFBENCH_HOME": str(home), "PROOFBENCH_DATA": str(data), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8",
    }
    command = [sys.executable, "-m", "llm_app", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, cwd=ROOT, timeout=120)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def both(home: Path, hub_data: Path, tmp_path_factory: pytest.TempPathFactory) -> "subprocess.CompletedProcess[str]":
    """A benchmark of base and adapter in one command."""
    folder = tmp_path_factory.mktemp("models")
    model = tiny.make_model(folder / "tiny", n_context=512)
    adapter = tiny.make_adapter(model, folder / "tuned")
    return llm_app(
        home, hub_data, "benchmark", "--model", str(model), "--precision", "fp32", "--adapter", str(adapter),
        "--tasks", "sst2,wnli", "--limit", "16", "--shots", "0", "--bootstrap", "0", "--compare-with-base",
    )


@pytest.fixture(scope="module")
def runs(both: "subprocess.CompletedProcess[str]") -> list[str]:
    return [line.split()[1].rstrip(",") for line in both.stderr.splitlines() if line.startswith("run ")]


def test_base_and_adapter_run_in_one_loaded_model_and_are_compared(
    both: "subprocess.CompletedProcess[str]", runs: list[str]
) -> None:
    assert both.returncode == 0, both.stderr
    assert len(runs) == 2
    assert both.stdout.count("|sst2|") + both.stdout.count("|sst2 |") == 2  # a table for each run
    assert f"Baseline  tiny  (run {runs[0]})\nCompared  tiny + tuned  (run {runs[1]})" in both.stdout
    assert "Overall: " in both.stdout


def test_the_command_says_the_same_of_the_two_runs(
    both: "subprocess.CompletedProcess[str]", runs: list[str], home: Path, hub_data: Path
) -> None:
    again = llm_app(home, hub_data, "compare", *runs)
    assert again.returncode == 0 and again.stdout.strip() in both.stdout


def test_json_holds_every_sample_and_both_languages(runs: list[str], home: Path, hub_data: Path) -> None:
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} in JSON")

    made = llm_app(home, hub_data, "compare", *runs, "--json", "--language", "zh")
    (comparison,) = json.loads(made.stdout, parse_constant=refuse)["comparisons"]
    assert comparison["verdict"]["en"].startswith("Overall:") and comparison["verdict"]["zh"].startswith("总体：")
    assert [len(task["changes"]) for task in comparison["tasks"]] == [16, 16]


def test_the_verdict_is_chinese_if_asked_for(runs: list[str], home: Path, hub_data: Path) -> None:
    assert "总体：" in llm_app(home, hub_data, "compare", *runs, "--language", "zh").stdout


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"), ({"LANG": "en_US.UTF-8"}, "en"), ({}, "en"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
    ],
)
def test_the_language_is_that_of_the_terminal(environ: dict[str, str], language: str) -> None:
    assert language_of(environ) == language


def test_half_a_character_and_what_moves_the_cursor_can_be_printed() -> None:
    docs = [{"text": "a"}] * 2
    comparison = compared(["\ud800", "b"], ["\x1b[2J", "b"], docs=docs, metric=SPOKEN)
    json_text([comparison]).encode("utf-8")
    shown = text(comparison, "en")
    shown.encode("utf-8")
    assert "\x1b" not in shown and "changed, sample 0" in shown


def test_what_is_not_comparable_ends_with_2_and_the_reason(runs: list[str], home: Path, hub_data: Path) -> None:
    made = llm_app(home, hub_data, "compare", *runs, "--metric", "bleu")
    assert made.returncode == 2 and made.stdout == ""
    assert "are not comparable because:\n- it has no metric bleu (it has: acc,none) (sst2, wnli)" in made.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "abcdefghijkl", "abcdefghijkm"], "There is no run 'abcdefghijkl' here"),
        (["compare", "abcdefghijkl"], "Name at least two runs"),
        (["compare", "a", "b", "--alpha", "2"], "alpha lies between 0 and 1"),
        (["benchmark", "--tasks", "sst2", "--compare-with-base"], "--compare-with-base needs the adapter"),
    ],
    ids=["unknown", "single", "alpha", "adapter"],
)
def test_a_mistake_of_the_caller_ends_with_2(
    arguments: list[str], message: str, home: Path, tmp_path: Path
) -> None:
    made = llm_app(home, tmp_path, *arguments)
    assert made.returncode == 2 and message in made.stderr
