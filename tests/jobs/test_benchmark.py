"""Benchmark runs on the command line and by themselves: cancelled, resumed, refused."""

import json
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
from tests.running import benchmark_command


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


def small(host: Host, settings: Settings, tasks: str = "arc_easy", limit: int = 8) -> Benchmark:
    return start(host, tasks.split(","), TaskOptions(n_shots=0, limit=limit), settings)


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
    arguments = ("--resume", benchmark.folder.id, "--limit", "3", "--precision", "bf16")
    process = benchmark_command(settings_with_data, *arguments)
    _, log = process.communicate(timeout=60)
    assert "keeps its own options; leave out --limit, --precision" in log
