"""HumanEval and MBPP through the harness's own definitions, their programs run by us."""

import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pytest

from eval.runner import evaluate
from eval.sandbox import Outcome, SandboxUnavailable
from eval.tasks.code import CodeEval, pass_at_k
from eval.tasks.harness import HarnessTask, TaskOptions, load_tasks
from eval.types import Answer, EvaluationError, Result
from llm_app.config import Settings
from llm_app.jobs.answers import EngineModel
from tests import tiny
from tests.running import running

ALLOWED = TaskOptions(allows_code=True)

HUMANEVAL = [
    {
        "task_id": f"HumanEval/{number}",
        "prompt": f"def {name}(a, b):\n    \"\"\"{text}\"\"\"\n",
        "canonical_solution": f"    return a {sign} b\n",
        "test": f"def check(candidate):\n    assert candidate(6, 3) == {value}\n",
        "entry_point": name,
    }
    for number, (name, text, sign, value) in enumerate(
        [("add", "Sum of two numbers.", "+", 9), ("divide", "Whole quotient of two numbers.", "//", 2)]
    )
]
MBPP = [
    {
        "task_id": 11 + number,
        "text": f"Write a function to {text}.",
        "code": f"def f(a):\n    return {code}",
        "test_list": [f"assert f({value}) == {result}" for value, result in zip((1, 2, 5), results, strict=True)],
        "test_setup_code": "",
        "challenge_test_list": [],
    }
    for number, (text, code, results) in enumerate(
        [("double a number", "2 * a", (2, 4, 10)), ("square a number", "a * a", (1, 4, 25))]
    )
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The two data sets with a few rows of our own, laid out as on the hub."""
    for name, folder, rows in (
        ("openai/openai_humaneval", "openai_humaneval", HUMANEVAL), ("google-research-datasets/mbpp", "full", MBPP),
    ):
        root = tmp_path / "hub" / name
        (root / folder).mkdir(parents=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (root / folder / "test.jsonl").write_text(lines)
        config = {"config_name": folder, "data_files": [{"split": "test", "path": f"{folder}/test.jsonl"}],
                  "default": True}
        (root / "README.md").write_text(f"---\n{json.dumps({'configs': [config]})}\n---\n")
    return tmp_path / "hub"


def task_of(name: str, data: Path) -> HarnessTask:
    (task,) = load_tasks([name], ALLOWED, data=data).tasks.values()
    return task


def scores(task: HarnessTask, answers: Sequence[Answer]) -> list[float]:
    """The one score of each sample for these answers."""
    found = [task.score(sample, [answer]) for sample, answer in zip(task.samples, answers, strict=True)]
    assert all(len(one) == 1 for one in found)
    return [value for one in found for value in one.values()]


@pytest.mark.parametrize("name", ["humaneval", "humaneval_instruct", "mbpp", "mbpp_instruct", "cruxeval_input"])
def test_tasks_that_run_model_written_code_are_refused_unless_allowed(name: str, data: Path) -> None:
    with pytest.raises(EvaluationError, match="runs code that the model writes"):
        load_tasks([name], TaskOptions(), data=data)


@pytest.mark.parametrize("name", ["cruxeval_output", "longproc_pseudo_to_code_2k"])
def test_tasks_that_run_code_without_our_limits_are_refused_even_then(name: str, data: Path) -> None:
    with pytest.raises(EvaluationError, match="by means of its own, without limits"):
        load_tasks([name], ALLOWED, data=data)


def test_humaneval_prompts_and_scores_are_those_of_its_definition(data: Path) -> None:
    task = task_of("humaneval", data)
    assert [sample.requests[0].text for sample in task.samples] == [row["prompt"] for row in HUMANEVAL]
    assert scores(task, [str(row["canonical_solution"]) for row in HUMANEVAL]) == [1.0, 1.0]
    assert scores(task, ["    return a - b\n", "    return int(a / b)\n"]) == [0.0, 1.0]


def test_humaneval_with_instructions_reads_the_program_up_to_the_closing_fence(data: Path) -> None:
    task = task_of("humaneval_instruct", data)
    assert scores(task, ["    return a + b\n```\nThat is all.", "    return a\n```"]) == [1.0, 0.0]


def test_mbpp_programs_pass_only_if_every_test_holds(data: Path) -> None:
    right, half = "def f(a):\n    return 2 * a", "def f(a):\n    return 2 if a < 2 else 4"
    assert scores(task_of("mbpp", data), [right, half]) == [1.0, 0.0]
    assert scores(task_of("mbpp_instruct", data), [f"\n{right}\n```", f"\n{half}\n```"]) == [1.0, 0.0]


def test_scores_of_code_tasks_are_aggregated_and_logged_as_of_any_task(data: Path) -> None:
    task = task_of("humaneval", data)
    answer = "    return a + b\n"
    results = [Result(sample.id, (answer,), task.score(sample, [answer])) for sample in task.samples]
    assert task.aggregate(results, n_bootstrap=10)["pass@1,create_test"] == 0.5
    assert [row["pass@1"] for row in task.logged(results)] == [1.0, 0.0]


def test_programs_are_not_run_again_for_tables_and_files(data: Path) -> None:
    task = task_of("humaneval", data)
    # Scores that running the programs would not give: what is shown is what was stored.
    results = [
        Result(sample.id, ("    return a + b\n",), {"pass@1,create_test": float(sample.id)}) for sample in task.samples
    ]
    assert [row["pass@1"] for row in task.logged(results)] == [0.0, 1.0]
    assert task.aggregate(results[1:], n_bootstrap=10)["pass@1,create_test"] == 1.0


def test_a_model_writes_the_programs_that_are_run(data: Path, tmp_path: Path) -> None:
    # The tasks ask for 1024 new tokens.
    folder = tiny.make_model(tmp_path / "model", n_context=2048)
    with running(folder, Settings(home=tmp_path / "home")) as host:
        model = EngineModel(host)
        (task,) = load_tasks(["humaneval"], ALLOWED, data=data, model=model).tasks.values()
        results = list(evaluate(task, model))
    assert [(result.error, dict(result.scores)) for result in results] == [(None, {"pass@1,create_test": 0.0})] * 2


def test_the_identity_of_a_code_task_is_the_same_in_another_process(data: Path) -> None:
    command = (
        "import sys; from pathlib import Path; from eval.tasks.harness import TaskOptions, load_tasks\n"
        "suite = load_tasks(['humaneval'], TaskOptions(allows_code=True), data=Path(sys.argv[1]))\n"
        "print(suite.tasks['humaneval'].digest())"
    )
    found = subprocess.run(
        [sys.executable, "-c", command, str(data)], capture_output=True, text=True, check=True, timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert found.stdout.split()[-1] == task_of("humaneval", data).digest()


@pytest.mark.parametrize(("n", "n_right", "k"), [(1, 0, 1), (1, 1, 1), (5, 2, 1), (5, 2, 3), (5, 3, 4), (6, 0, 2)])
def test_pass_at_k_is_the_share_of_all_draws_that_hold_a_right_program(n: int, n_right: int, k: int) -> None:
    # Oracle: every draw of k programs, counted one by one.
    draws = list(combinations([i < n_right for i in range(n)], k))
    assert pass_at_k(n, n_right, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws), abs=1e-12)


def test_pass_at_k_of_large_numbers_equals_the_product_of_the_paper() -> None:
    product = 1.0
    for i in range(200 - 30 + 1, 200 + 1):
        product *= 1.0 - 10 / i
    assert pass_at_k(200, 30, 10) == pytest.approx(1.0 - product, abs=1e-12)


def test_a_k_larger_than_the_number_of_programs_is_left_out_and_programs_run_once() -> None:
    runs: list[str] = []

    def run(source: str) -> Outcome:
        runs.append(source)
        return Outcome("right" in source, "")

    metric = CodeEval(run)
    for _ in range(2):
        made, outcomes = metric.compute(references=["t", "u"], predictions=[["right", "no"], ["no", "no"]], k=[1, 2, 3])
    assert made == {"pass@1": 0.25, "pass@2": 0.5}
    assert [[outcome.passed for outcome in row] for row in outcomes] == [[True, False], [False, False]]
    assert len(runs) == 3


def test_where_programs_cannot_be_limited_none_is_run() -> None:
    def refuse(source: str) -> Outcome:
        raise SandboxUnavailable("not here")

    with pytest.raises(EvaluationError, match="not here"):
        CodeEval(refuse).compute(references=["t"], predictions=[["p"]], k=[1])
