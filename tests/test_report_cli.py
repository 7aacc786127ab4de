"""The command `report`, on real runs of a tiny model; when it reads them, neither model nor data is there any more."""

import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import report
from eval.report import FORMATS
from eval.tasks.harness import TaskOptions
from eval.verdict import overall_verdict, task_verdict
from llm_app import report_cli
from llm_app.cli import build_parser, main
from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.flags import read_flags
from llm_app.jobs.benchmark import start
from llm_app.jobs.command import arguments_of, command_of
from llm_app.jobs.compare import compare_runs
from llm_app.jobs.files import write_files
from tests import tiny

SMOKE = Path(report.__file__).parents[1] / "data" / "smoke"


@dataclass(frozen=True)
class Runs:
    """Ids: run to its end, stopped after three samples, killed before its files were written."""

    home: Path
    whole: str
    cancelled: str
    killed: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    home, data = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("data") / "smoke"
    model = tiny.make_model(tmp_path_factory.mktemp("models") / "tiny", n_context=1024)
    shutil.copytree(SMOKE, data)
    settings = Settings(home=home)
    host = Host(settings)
    for _ in host.load(ModelConfig(str(model), precision="fp32")):
        pass
    tasks = [str(data / "choices.yaml"), str(data / "answers.yaml")]
    ids = []
    for n_steps, is_written in ((None, True), (3, True), (3, False)):
        benchmark = start(host, tasks, TaskOptions(n_shots=0, limit=6), settings)
        steps = benchmark.run()
        for _ in steps if n_steps is None else range(n_steps):
            if n_steps is not None:
                next(steps)
        steps.close()
        if is_written:
            write_files(benchmark, home / "elsewhere", n_bootstrap=20)
        ids.append(benchmark.folder.id)
    host.shutdown(grace_seconds=0)
    shutil.rmtree(model)
    shutil.rmtree(data)
    yield Runs(home, *ids)


@pytest.fixture
def run(runs: Runs, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Any:
    """Runs the command in this process; gives exit code, stdout and stderr."""
    monkeypatch.setenv("PROOFBENCH_HOME", str(runs.home))

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["report", *arguments])
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


def test_the_command_line_offers_every_form_that_there_is():
    assert report_cli.FORMATS == FORMATS


def test_a_report_needs_neither_the_model_nor_the_data(run: Any, runs: Runs):
    code, out, err = run(runs.whole)
    assert code == 0, err
    assert "| smoke_choices | acc ↑ |" in out and "| smoke_answers | exact_match ↑ |" in out


def test_values_are_those_of_the_harness_table(run: Any, runs: Runs):
    _, out, _ = run(runs.whole, "--format", "json")
    path = next((runs.home / "runs" / runs.whole).glob("*/results_*.json"))
    want = json.loads(path.read_text())["results"]
    for row in json.loads(out)["runs"][0]["results"]:
        assert row["value"] == want[row["task"]][f"{row['metric']},{row['filter']}"]


def test_results_written_elsewhere_are_in_the_run_folder_too(runs: Runs):
    kept = {path.name: path.read_bytes() for path in (runs.home / "runs" / runs.whole).glob("*/*.json*")}
    given = {path.name: path.read_bytes() for path in (runs.home / "elsewhere").glob("*/*")}
    assert len(kept) == 3 and kept.items() <= given.items()


def test_E8_partial_results_of_a_cancelled_run_are_shown_and_marked(run: Any, runs: Runs):
    _, out, _ = run(runs.cancelled)
    assert "partial, 3 of 6" in out


def test_a_killed_run_is_reported_from_what_was_asked_and_answered(run: Any, runs: Runs):
    code, out, _ = run(runs.killed)
    assert code == 0 and "partial, 3 of 6" in out and "| smoke_choices | acc ↑ |" in out


def test_a_killed_run_has_no_model_card_and_says_what_to_do(run: Any, runs: Runs):
    code, out, err = run(runs.killed, "--format", "eval-results")
    assert (code, out) == (2, "")
    assert f"benchmark --resume {runs.killed}" in err


def test_own_data_is_not_exported_as_a_data_set_of_the_hub(run: Any, runs: Runs):
    code, _, err = run(runs.whole, "--format", "model-index")
    assert code == 2 and "nothing to export" in err


def test_the_page_goes_to_a_file_and_stdout_stays_empty(run: Any, runs: Runs, tmp_path: Path):
    path = tmp_path / "deep" / "report.html"
    code, out, err = run(runs.whole, runs.cancelled, "--format", "html", "--output", str(path), "--language", "zh")
    assert (code, out) == (0, "") and str(path) in err
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "评测报告" in page and runs.cancelled in page


@pytest.mark.parametrize("language", ["en", "zh"])
def test_two_runs_on_one_page_are_compared(run: Any, runs: Runs, language: str):
    comparison, = compare_runs([runs.whole, runs.cancelled], Settings(home=runs.home))
    _, out, _ = run(runs.whole, runs.cancelled, "--format", "html", "--language", language)
    shown = unescape(out)
    assert overall_verdict(comparison, language) in shown
    assert all(task_verdict(comparison, task, language) in shown for task in comparison.tasks)
    assert all(alarm[language == "zh"] in shown for alarm in comparison.alarms) and comparison.alarms


def test_runs_that_cannot_be_compared_say_why_on_the_page(run: Any, runs: Runs):
    from_harness = runs.home / "runs" / runs.whole / "spec.json"
    spec = from_harness.read_text(encoding="utf-8")
    try:
        from_harness.write_text(spec.replace('"uses_chat_template": false', '"uses_chat_template": true'), "utf-8")
        code, out, _ = run(runs.whole, runs.cancelled, "--format", "html")
    finally:
        from_harness.write_text(spec, encoding="utf-8")
    assert code == 0 and "are not comparable because" in out and "use of the chat template" in out


def test_a_generated_answer_is_shown_with_what_was_extracted(run: Any, runs: Runs):
    _, out, _ = run(runs.whole, "--format", "html")
    assert "Extracted answer" in out


def test_csv_on_stdout_keeps_its_own_line_ends(run: Any, runs: Runs):
    _, out, _ = run(runs.whole, "--format", "csv")
    assert out.count("\r\n") == out.count("\n") > 2


@pytest.mark.parametrize("name", ["zzzzzzzzzzzz", "../runs", "nowhere", ""])
def test_a_run_that_is_not_there_is_told_in_a_sentence(run: Any, name: str):
    code, out, err = run(name)
    assert (code, out) == (2, "") and len(err.strip().splitlines()) == 1


def test_a_damaged_results_file_is_told_with_what_mends_it(run: Any, runs: Runs):
    path = next((runs.home / "runs" / runs.cancelled).glob("*/results_*.json"))
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    try:
        code, _, err = run(runs.cancelled)
    finally:
        path.write_bytes(whole)
    assert code == 2 and f"benchmark --resume {runs.cancelled}" in err


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
TASKS = st.lists(NAMES.map(lambda name: name.replace(",", "").strip()).filter(bool), min_size=1, max_size=3)


@settings(max_examples=200, deadline=None)
@given(
    model=NAMES, adapter=st.none() | NAMES, tasks=TASKS, shots=st.none() | st.integers(0, 50),
    limit=st.none() | st.integers(1, 10**6), seed=st.none() | st.integers(0, 2**31),
    flags=st.tuples(st.booleans(), st.booleans()),
)
def test_the_command_read_back_is_the_same_run(model, adapter, tasks, shots, limit, seed, flags):
    spec = {
        "model": {"name": model, "adapter_name": adapter, "precision": "nf4"}, "asked": tasks, "context": 2048,
        "options": {
            "n_shots": shots, "limit": limit, "seed": seed, "uses_chat_template": flags[0], "allows_code": flags[1],
        },
    }
    words = shlex.split(command_of(spec))
    assert words == ["python", "-m", "llm_app", *arguments_of(spec)]
    options = build_parser().parse_args(words[3:])
    assert read_flags(options, ModelConfig) == ModelConfig(model, adapter=adapter, precision="nf4", context_length=2048)
    asked = [name.strip() for name in options.tasks.split(",") if name.strip()]
    got = TaskOptions(options.shots, options.limit, options.seed, options.chat_template, options.allow_code_execution)
    assert (asked, got) == (tasks, TaskOptions(shots, limit, seed, *flags))


def test_the_command_of_a_real_run_gives_its_spec_again(runs: Runs):
    spec = json.loads((runs.home / "runs" / runs.whole / "spec.json").read_text())
    options = build_parser().parse_args(shlex.split(command_of(spec))[3:])
    assert options.tasks.split(",") == spec["asked"]
    assert (options.shots, options.limit) == (spec["options"]["n_shots"], spec["options"]["limit"])
    assert read_flags(options, ModelConfig).model == spec["model"]["name"]
