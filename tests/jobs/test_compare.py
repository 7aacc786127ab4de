"""Base against adapter on a real model and real tasks, read back from the run folders and from the harness's files."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from statsmodels.stats import contingency_tables

from eval.compare import Comparison
from eval.compare.harness_files import FEWSHOT_SEED
from eval.tasks.harness import SEEDS, TaskOptions
from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.jobs.benchmark import Benchmark, resume, start
from llm_app.jobs.compare import compare_runs, read_run
from llm_app.jobs.files import write_files
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.kept import ASKED
from tests import tiny

TASKS = ["sst2", "cola", "boolq", "lambada_openai"]
OPTIONS = TaskOptions(n_shots=0, limit=24)


@pytest.fixture(scope="module")
def home(hub_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), data=hub_data)


@pytest.fixture(scope="module")
def host(home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A tiny model with two adapters in it: `tuned`, which changes its answers, and `idle`, whose B is zero."""
    folder = tmp_path_factory.mktemp("models")
    model = tiny.make_model(folder / "tiny", n_context=1024)
    host = Host(home)
    for _ in host.load(ModelConfig(str(model), precision="fp32")):
        pass
    host.attach(str(tiny.make_adapter(model, folder / "tuned")))
    host.attach(str(tiny.make_adapter(model, folder / "idle", effect=False)))
    yield host
    host.unload()


def ran(host: Host, home: Settings, adapter: str | None, options: TaskOptions = OPTIONS) -> Benchmark:
    names = {Path(name).name: name for name in host.loaded.adapters.names}
    benchmark = start(host, TASKS, options, home, adapter=names[adapter] if adapter else None)
    list(benchmark.run())
    return benchmark


@pytest.fixture(scope="module")
def base(host: Host, home: Settings) -> Benchmark:
    return ran(host, home, None)


@pytest.fixture(scope="module")
def tuned(host: Host, home: Settings) -> Benchmark:
    return ran(host, home, "tuned")


@pytest.fixture(scope="module")
def comparison(base: Benchmark, tuned: Benchmark, home: Settings) -> Comparison:
    return compare_runs([base.folder.id, tuned.folder.id], home)[0]


def rows_of(output: Path, task: str) -> list[dict[str, Any]]:
    (path,) = output.rglob(f"samples_{task}_*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_verdict_on_accuracy_equals_statsmodels_on_the_harness_files(
    comparison: Comparison, base: Benchmark, tuned: Benchmark, tmp_path: Path
) -> None:
    for name, benchmark in (("base", base), ("tuned", tuned)):
        write_files(benchmark, tmp_path / name, n_bootstrap=0)
    before, after = rows_of(tmp_path / "base", "sst2"), rows_of(tmp_path / "tuned", "sst2")
    table = [[sum(a["acc"] == x and b["acc"] == y for a, b in zip(before, after, strict=True)) for y in (1, 0)]
             for x in (1, 0)]
    task = comparison.tasks[0]
    assert (task.task, task.losses, task.wins) == ("sst2", table[0][1], table[1][0])
    assert task.wins + task.losses > 0  # the adapter does change answers
    assert task.result.p == pytest.approx(contingency_tables.mcnemar(table, exact=True).pvalue)


def test_both_scores_equal_those_in_the_harness_files(
    comparison: Comparison, base: Benchmark, tuned: Benchmark, tmp_path: Path
) -> None:
    made = [write_files(run, tmp_path / str(i), n_bootstrap=0)[0] for i, run in enumerate((base, tuned))]
    reports = [report.data["results"] for report in made]
    for task in comparison.tasks:
        assert task.result.first == pytest.approx(reports[0][task.task][task.metric], rel=1e-9)
        assert task.result.second == pytest.approx(reports[1][task.task][task.metric], rel=1e-9)
    assert [task.metric for task in comparison.tasks] == ["acc,none", "mcc,none", "acc,none", "perplexity,none"]


def test_the_harness_files_are_compared_as_the_run_folders_are(
    comparison: Comparison, base: Benchmark, tuned: Benchmark, home: Settings, tmp_path: Path
) -> None:
    paths = [write_files(run, tmp_path / str(i), n_bootstrap=0)[1] for i, run in enumerate((base, tuned))]
    (from_files,) = compare_runs([str(paths[0]), str(paths[1].parent)], home)
    shared = {task.task: task for task in comparison.tasks}
    assert {task.task for task in from_files.tasks} == shared.keys()
    for task in from_files.tasks:
        ours = shared[task.task]
        assert task.result.p == pytest.approx(ours.result.p) and task.metric == ours.metric
        assert [change.answers for change in task.changes] == [change.answers for change in ours.changes]


def test_every_sample_has_its_answers_and_its_target_in_words(comparison: Comparison) -> None:
    task = comparison.tasks[0]
    assert len(task.changes) == 24
    said = {answer for change in task.changes for answer in (*change.answers, change.target)}
    assert said == {"positive", "negative"}
    fixed = next(change for change in task.changes if change.kind == "fixed")
    assert fixed.answers[1] == fixed.target != fixed.answers[0]


def test_an_adapter_whose_b_is_zero_rings_the_alarm(host: Host, home: Settings, base: Benchmark) -> None:
    idle = ran(host, home, "idle")
    (comparison,) = compare_runs([base.folder.id, idle.folder.id], home)
    assert comparison.alarms[0][0].startswith("The adapter changes nothing: all 96 outputs are equal")


def test_an_adapter_with_an_effect_rings_none(comparison: Comparison) -> None:
    assert comparison.alarms == ()


def test_a_run_that_was_stopped_is_compared_over_what_it_has(host: Host, home: Settings, tuned: Benchmark) -> None:
    stopped = start(host, TASKS, OPTIONS, home)
    steps = stopped.run()
    for _ in range(30):
        next(steps)
    steps.close()
    (comparison,) = compare_runs([stopped.folder.id, tuned.folder.id], home)
    assert [(task.task, task.result.n) for task in comparison.tasks] == [("sst2", 24), ("cola", 6)]
    assert comparison.tasks[1].n_one_sided == 18
    assert {refusal.task for refusal in comparison.refused} == {"boolq", "lambada_openai"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (TaskOptions(n_shots=1, limit=24), "the number of examples (shots) differs: 0 and 1"),
        (TaskOptions(n_shots=0, limit=12), "the limit differs: 24 and 12 samples"),
        (TaskOptions(n_shots=0, limit=24, seed=7), "the seed of the examples differs: 1234 and 7"),
        (
            TaskOptions(n_shots=0, limit=24, uses_chat_template=True),
            "the use of the chat template (--chat-template) differs: no and yes",
        ),
    ],
    ids=["shots", "limit", "seed", "template"],
)
def test_runs_that_were_asked_otherwise_are_refused_with_the_reason(
    options: TaskOptions, reason: str, host: Host, home: Settings, base: Benchmark
) -> None:
    other = start(host, ["sst2"], options, home)
    steps = other.run()
    next(steps)
    steps.close()
    with pytest.raises(UserError) as error:
        compare_runs([base.folder.id, other.folder.id], home)
    assert "are not comparable because:" in error.value.message and reason in error.value.message


def test_the_seed_that_the_harness_takes_by_itself_is_known() -> None:
    assert SEEDS[2] == FEWSHOT_SEED


def test_runs_without_a_task_in_common_are_refused(host: Host, home: Settings, base: Benchmark) -> None:
    other = start(host, ["wnli"], OPTIONS, home)
    with pytest.raises(UserError, match="have no task in common"):
        compare_runs([base.folder.id, other.folder.id], home)


def test_a_run_is_read_without_its_data_sets(base: Benchmark, tuned: Benchmark, home: Settings, tmp_path: Path) -> None:
    folders = [shutil.copytree(run.folder.path, tmp_path / run.folder.id) for run in (base, tuned)]
    (comparison,) = compare_runs([str(folder) for folder in folders], Settings(home=tmp_path / "elsewhere"))
    assert len(comparison.tasks) == 4


def test_a_score_that_only_its_task_can_make_is_made_by_the_task(host: Host, home: Settings) -> None:
    runs = []
    for adapter in (None, host.loaded.adapters.names[0]):
        benchmark = start(host, ["stsb"], TaskOptions(n_shots=0, limit=20), home, adapter=adapter)
        list(benchmark.run())
        runs.append(benchmark)
    (comparison,) = compare_runs([run.folder.id for run in runs], home, metric="spearman")
    made = [write_files(run, run.folder.path, n_bootstrap=0)[0].data["results"]["stsb"] for run in runs]
    assert comparison.tasks[0].result.first == pytest.approx(made[0]["spearman,none"])
    assert comparison.tasks[0].result.second == pytest.approx(made[1]["spearman,none"])


def test_a_resumed_run_gets_its_questions_back(host: Host, home: Settings, base: Benchmark) -> None:
    kept = (base.folder.path / ASKED).read_bytes()
    (base.folder.path / ASKED).unlink()
    with pytest.raises(UserError, match="has no readable asked.jsonl"):
        read_run(base.folder.id, home)
    resume(host, RunFolder(base.folder.path), home)
    assert (base.folder.path / ASKED).read_bytes() == kept


@pytest.mark.parametrize("name", ["abcdefghijkl", "no/such/folder", "../../no/such"])
def test_a_run_that_is_not_there_is_one_sentence(name: str, home: Settings) -> None:
    with pytest.raises(UserError, match="There is no run"):
        read_run(name, home)


def test_a_folder_that_holds_no_run_says_so(home: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        read_run(str(tmp_path), home)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not valid JSON"), ("[]", "not as the harness writes it"), ('{"configs": {}}', "no samples_")],
)
def test_damaged_files_of_the_harness_are_one_sentence(text: str, message: str, home: Settings, tmp_path: Path) -> None:
    (tmp_path / "results_1.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_run(str(tmp_path), home)


@pytest.mark.parametrize(
    "spec", ['{"kind": "benchmark"}', '{"kind": "train"}', "[]", "{", '{"kind": "benchmark", "model": 3}']
)
def test_a_damaged_run_folder_is_one_sentence(spec: str, base: Benchmark, home: Settings, tmp_path: Path) -> None:
    folder = shutil.copytree(base.folder.path, tmp_path / "run")
    (folder / "spec.json").write_text(spec)
    with pytest.raises(UserError, match="Run run"):
        read_run(str(folder), home)
