"""Benchmark runs on the command line and by themselves: killed, resumed, refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lm_eval.utils import make_table

from eval.tasks.harness import TaskOptions
from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.jobs.benchmark import Benchmark, resume, start
from llm_app.jobs.files import write_files
from llm_app.jobs.folder import RunFolder
from tests import tiny

COMMAND = """
import argparse, sys
from llm_app.config import quiet_environment
quiet_environment()
from llm_app import benchmark_cli
from llm_app.errors import UserError
parser = argparse.ArgumentParser()
benchmark_cli.add_parser(parser.add_subparsers())
try:
    sys.exit(benchmark_cli.run(parser.parse_args(sys.argv[1:])))
except UserError as error:
    sys.exit(error.message)
"""
TASKS = "arc_easy,arc_challenge"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("models") / "tiny", n_context=1024)


@pytest.fixture(scope="module")
def settings_with_data(hub_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), data=hub_data)


@pytest.fixture(scope="module")
def host(folder: Path, settings_with_data: Settings) -> Iterator[Host]:
    host = Host(settings_with_data)
    for _ in host.load(ModelConfig(str(folder), precision="fp32")):
        pass
    yield host
    host.unload()


def command(settings: Settings, *arguments: str) -> "subprocess.Popen[str]":
    environ = os.environ | {"PROOFBENCH_HOME": str(settings.home), "PROOFBENCH_DATA": str(settings.data)}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "benchmark", *arguments], env=environ, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2],
    )


def small(host: Host, settings: Settings, tasks: str = "arc_easy", limit: int = 8) -> Benchmark:
    return start(host, tasks.split(","), TaskOptions(n_shots=0, limit=limit), settings)


def contents(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.rglob("*.json*")}


def n_results(events: Path) -> int:
    """Whole lines with a result."""
    data = events.read_bytes() if events.exists() else b""
    return sum(b'"type": "result"' in line for line in data[: data.rfind(b"\n") + 1].split(b"\n"))


def kill_and_resume(settings: Settings, model: Path, limit: int, moments: list[float], tmp_path: Path) -> None:
    """An undisturbed run; the same one again, killed when these shares of its lines are written; equal files."""
    arguments = ("--model", str(model), "--precision", "fp32", "--bootstrap", "50")
    whole = command(
        settings, *arguments, "--tasks", TASKS, "--limit", str(limit), "--shots", "0", "--output", str(tmp_path / "a")
    )
    table, log = whole.communicate(timeout=300)
    assert whole.returncode == 0, log
    first = settings.home / "runs" / log.split("run ")[1].split(",")[0]
    n_lines = n_results(first / "events.jsonl")
    assert n_lines == 2 * limit
    again = first.parent / ("b" * 12)
    again.mkdir()
    shutil.copy(first / "spec.json", again)
    events = again / "events.jsonl"
    n_seen = 0
    for moment in sorted(moments):
        part = command(settings, "--resume", again.name, "--bootstrap", "50", "--output", str(tmp_path / "b"))
        while part.poll() is None and n_results(events) < moment * n_lines:
            time.sleep(0.0005)
        part.send_signal(signal.SIGKILL)
        part.communicate()
        n_seen = max(n_seen, n_results(events))
    assert n_seen > 0
    rest = command(settings, "--resume", again.name, "--bootstrap", "50", "--output", str(tmp_path / "b"))
    table_again, log = rest.communicate(timeout=300)
    assert rest.returncode == 0, log
    assert f"resumed at {n_seen}/{n_lines}" in log
    assert table_again == table
    assert contents(tmp_path / "a") == contents(tmp_path / "b") and len(contents(tmp_path / "a")) == 3
    shutil.rmtree(again)


@pytest.mark.timeout(300)
def test_E1_a_killed_run_is_resumed_to_byte_equal_files(
    folder: Path, settings_with_data: Settings, tmp_path: Path
) -> None:
    kill_and_resume(settings_with_data, folder, 120, [0.3], tmp_path)


@pytest.mark.verify
@pytest.mark.timeout(900)
def test_E1_ten_random_kills_in_a_row_leave_byte_equal_files(
    folder: Path, settings_with_data: Settings, tmp_path: Path
) -> None:
    rng = random.Random(0)
    kill_and_resume(settings_with_data, folder, 500, [rng.random() for _ in range(10)], tmp_path)


def test_E8_a_cancelled_run_shows_its_score_over_what_was_done_and_says_so(
    host: Host, settings_with_data: Settings, tmp_path: Path
) -> None:
    benchmark = small(host, settings_with_data, limit=30)
    steps = benchmark.run()
    for _ in range(5):
        next(steps)
    steps.close()
    made, path = write_files(benchmark, tmp_path, n_bootstrap=0)
    assert "arc_easy: partial, 5 of 30 samples" in made.table
    data = json.loads(path.read_text())
    assert data["partial"] == {"arc_easy": {"done": 5, "total": 30}}
    assert data["n-samples"]["arc_easy"]["effective"] == 5


def test_E7_a_second_run_of_the_same_folder_asks_the_model_nothing(host: Host, settings_with_data: Settings) -> None:
    benchmark = small(host, settings_with_data)
    list(benchmark.run())
    calls: list[Any] = []
    hook = host.loaded.model.get_decoder().register_forward_pre_hook(lambda *args: calls.append(args))
    try:
        again = resume(host, RunFolder(benchmark.folder.path), settings_with_data)
        assert again.is_complete and list(again.run()) == []
    finally:
        hook.remove()
    assert calls == []


def test_a_run_that_another_process_finished_meanwhile_is_not_asked_again(
    host: Host, settings_with_data: Settings
) -> None:
    first = small(host, settings_with_data)
    waiting = resume(host, RunFolder(first.folder.path), settings_with_data)
    list(first.run())
    assert list(waiting.run()) == [] and waiting.is_complete


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("model", "device"), "device"),
        (("model", "weights"), "model weights"),
        (("model", "quantization"), "precision"),
        (("model", "adapter"), "adapter"),
        (("tasks", "arc_easy", "digest"), "data or definition of arc_easy"),
        (("program",), "version of this program"),
    ],
)
def test_E5_resume_refuses_what_is_not_the_same(
    path: tuple[str, ...], name: str, host: Host, settings_with_data: Settings
) -> None:
    benchmark = small(host, settings_with_data)
    spec = benchmark.folder.spec()
    place = spec
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = "another"
    benchmark.folder.write("spec.json", json.dumps(spec))
    with pytest.raises(UserError, match=f"differs in: {name}"):
        resume(host, benchmark.folder, settings_with_data)


def test_E6_another_model_of_the_same_shape_does_not_take_a_runs_answers(
    host: Host, settings_with_data: Settings, tmp_path: Path
) -> None:
    benchmark = small(host, settings_with_data)
    list(benchmark.run())
    other = Host(settings_with_data)
    model = tiny.make_model(tmp_path / "other", seed=1, n_context=1024)
    for _ in other.load(ModelConfig(str(model), precision="fp32")):
        pass
    with pytest.raises(UserError, match="differs in: model weights"):
        resume(other, benchmark.folder, settings_with_data)
    fresh = small(other, settings_with_data)
    list(fresh.run())
    assert fresh.results["arc_easy"] != benchmark.results["arc_easy"]
    other.unload()


def test_results_have_the_shape_of_the_harness_and_every_line_is_valid_json(
    host: Host, settings_with_data: Settings, tmp_path: Path
) -> None:
    benchmark = small(host, settings_with_data, "wnli,cola,lambada_openai", 6)
    list(benchmark.run())
    made, path = write_files(benchmark, tmp_path, n_bootstrap=50)

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} in JSON")

    data = json.loads(path.read_text(), parse_constant=refuse)
    wanted = {"results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "config",
              "date", "task_hashes", "model_name", "model_name_sanitized"}
    assert wanted <= data.keys()
    assert data["configs"]["wnli"]["dataset_path"] == "nyu-mll/glue"
    assert make_table(data).splitlines()[0] in made.table
    for name in ("wnli", "cola", "lambada_openai"):
        (samples,) = path.parent.glob(f"samples_{name}_*.jsonl")
        rows = [json.loads(line, parse_constant=refuse) for line in samples.read_text().splitlines()]
        assert [row["doc_id"] for row in rows] == list(range(6))
        assert rows[0]["arguments"]["gen_args_0"].keys() == {"arg_0", "arg_1"}


def test_the_text_of_a_run_names_no_path_of_the_data(host: Host, settings_with_data: Settings, tmp_path: Path) -> None:
    benchmark = small(host, settings_with_data)
    list(benchmark.run())
    _, path = write_files(benchmark, tmp_path, n_bootstrap=0)
    assert str(settings_with_data.data) not in path.read_text()


def test_a_resumed_run_refuses_other_options(settings_with_data: Settings, host: Host) -> None:
    benchmark = small(host, settings_with_data)
    process = command(settings_with_data, "--resume", benchmark.folder.id, "--limit", "3", "--precision", "bf16")
    _, log = process.communicate(timeout=60)
    assert "keeps its own options; leave out --limit, --precision" in log
