"""A group of the harness, from the question to the verdict: MMLU's social sciences, of which some are cut short."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lm_eval
import numpy as np
import pytest
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.huggingface import HFLM
from statsmodels.stats import contingency_tables

from eval.compare import Comparison
from eval.results import report
from eval.tasks.book import LocalTasks
from eval.tasks.harness import TaskOptions
from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.jobs.benchmark import Benchmark, start
from llm_app.jobs.command import arguments_of
from llm_app.jobs.compare import compare_runs
from llm_app.jobs.files import write_files
from tests import tiny

GROUP = "mmlu_social_sciences"
OPTIONS = TaskOptions(n_shots=0, limit=8, n_bootstrap=20)


@pytest.fixture(scope="module")
def home(hub_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The subjects whose test questions are not there have their five examples in place of them."""
    folder = tmp_path_factory.mktemp("hub") / "cais" / "mmlu"
    folder.mkdir(parents=True)
    lines = ["---", "configs:"]
    for subject in sorted(path for path in (hub_data / "cais" / "mmlu").iterdir() if path.is_dir()):
        (folder / subject.name).symlink_to(subject)
        test = "test" if (subject / "test.parquet").exists() else "dev"
        lines += [
            f"- config_name: {subject.name}", "  data_files:",
            "  - split: test", f"    path: {subject.name}/{test}.parquet",
            "  - split: dev", f"    path: {subject.name}/dev.parquet",
        ]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return Settings(home=tmp_path_factory.mktemp("home"), data=folder.parents[1])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two tiny models of one tokenizer, so that they answer differently."""
    made = tmp_path_factory.mktemp("models")
    return tiny.make_model(made / "base", n_context=1024), tiny.make_model(made / "other", n_context=1024, seed=5)


@pytest.fixture(scope="module")
def benchmarks(folders: tuple[Path, Path], home: Settings) -> Iterator[list[Benchmark]]:
    made = []
    for folder in folders:
        host = Host(home)
        for _ in host.load(ModelConfig(str(folder), precision="fp32")):
            pass
        benchmark = start(host, [GROUP], OPTIONS, home)
        list(benchmark.run())
        write_files(benchmark, benchmark.folder.path)
        host.unload()
        made.append(benchmark)
    yield made


@pytest.fixture(scope="module")
def references(folders: tuple[Path, Path], home: Settings) -> list[dict[str, Any]]:
    """What lm_eval.simple_evaluate says of both, with its transformers backend."""
    return [
        lm_eval.simple_evaluate(
            HFLM(pretrained=str(folder), dtype="float32", batch_size=8, device="cpu"), tasks=[GROUP],
            task_manager=LocalTasks([GROUP], home.data), num_fewshot=0, limit=8, bootstrap_iters=20,
        )
        for folder in folders
    ]


@pytest.fixture(scope="module")
def comparison(benchmarks: list[Benchmark], home: Settings) -> Comparison:
    return compare_runs([run.folder.id for run in benchmarks], home)[0]


def test_the_results_hold_groups_as_the_harness_writes_them(
    benchmarks: list[Benchmark], references: list[dict[str, Any]]
) -> None:
    for benchmark, want in zip(benchmarks, references, strict=True):
        got = report(benchmark.suite, benchmark.results, n_bootstrap=20).data
        for key in ("groups", "group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples"):
            assert got[key] == want[key], key
        assert got["results"].keys() == want["results"].keys()
        (written,) = benchmark.folder.path.rglob("results_*.json")
        assert json.loads(written.read_text())["groups"] == json.loads(json.dumps(want["groups"], default=float))


def test_a_group_is_one_hypothesis_and_its_score_is_the_harness_s(
    comparison: Comparison, references: list[dict[str, Any]]
) -> None:
    (task,) = comparison.tasks
    assert (task.task, task.weighting, len(task.parts), comparison.n_tests) == (GROUP, "by size", 12, 1)
    for score, want in zip((task.result.first, task.result.second), references, strict=True):
        assert score == pytest.approx(want["groups"][GROUP]["acc,none"])
    assert len({part.result.n for part in task.parts}) > 1


def test_its_p_value_equals_statsmodels_on_the_answers_of_the_harness(
    comparison: Comparison, references: list[dict[str, Any]]
) -> None:
    first, second = (
        np.array([row["acc"] for name in sorted(want["samples"]) for row in want["samples"][name]])
        for want in references
    )
    table = [[np.sum((first == x) & (second == y)) for y in (1, 0)] for x in (1, 0)]
    assert table[0][1] + table[1][0] > 0
    assert comparison.tasks[0].result.p == pytest.approx(contingency_tables.mcnemar(table, exact=True).pvalue)


def test_a_run_of_an_earlier_version_is_compared_by_its_group_too(
    benchmarks: list[Benchmark], comparison: Comparison, home: Settings, tmp_path: Path
) -> None:
    old = [shutil.copytree(run.folder.path, tmp_path / run.folder.id) for run in benchmarks]
    for folder in old:
        spec = json.loads((folder / "spec.json").read_text())
        del spec["groups"], spec["options"]["n_bootstrap"]
        (folder / "spec.json").write_text(json.dumps(spec))
    (found,) = compare_runs([str(folder) for folder in old], home)
    assert [(task.task, task.result) for task in found.tasks] == [(GROUP, comparison.tasks[0].result)]


def test_the_files_of_a_run_are_compared_by_their_group(
    benchmarks: list[Benchmark], comparison: Comparison, home: Settings
) -> None:
    paths = [str(next(run.folder.path.rglob("results_*.json"))) for run in benchmarks]
    (found,) = compare_runs(paths, home)
    assert [(task.task, task.result) for task in found.tasks] == [(GROUP, comparison.tasks[0].result)]


def test_the_harness_s_own_files_are_compared_by_their_group(
    references: list[dict[str, Any]], comparison: Comparison, home: Settings, tmp_path: Path
) -> None:
    for number, want in enumerate(references):
        tracker = EvaluationTracker(output_path=str(tmp_path / str(number)))
        tracker.general_config_tracker.model_name = tracker.general_config_tracker.model_name_sanitized = f"m{number}"
        samples = want["samples"]
        tracker.save_results_aggregated({key: value for key, value in want.items() if key != "samples"}, samples)
        for name, rows in samples.items():
            tracker.save_results_samples(name, rows)
    (found,) = compare_runs([str(tmp_path / "0"), str(tmp_path / "1")], home)
    assert [task.task for task in found.tasks] == [GROUP]
    assert found.tasks[0].result == comparison.tasks[0].result


def test_the_number_of_resamples_is_part_of_a_run_and_of_the_command_that_repeats_it(
    benchmarks: list[Benchmark],
) -> None:
    spec = benchmarks[0].folder.spec()
    assert spec["options"]["n_bootstrap"] == 20 and "--bootstrap=20" in arguments_of(spec)
    plain = spec | {"options": spec["options"] | {"n_bootstrap": TaskOptions().n_bootstrap}}
    assert not any(argument.startswith("--bootstrap") for argument in arguments_of(plain))
    (written,) = benchmarks[0].folder.path.rglob("results_*.json")
    assert json.loads(written.read_text())["config"]["bootstrap_iters"] == 20
