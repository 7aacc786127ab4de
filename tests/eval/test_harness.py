"""Our scores against lm_eval.simple_evaluate with its transformers backend, on the same weights, data and seeds."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from lm_eval.models.huggingface import HFLM

from eval.runner import evaluate
from eval.tasks.book import LocalTasks, named
from eval.tasks.harness import TaskOptions, load_tasks
from eval.types import EvaluationError
from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.jobs.answers import EngineModel
from tests import tiny

N_BOOTSTRAP = 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("models") / "tiny", n_context=1024)


@pytest.fixture(scope="module")
def host(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig(str(folder), precision="fp32")):
        pass
    yield host
    host.unload()


@pytest.fixture(scope="module")
def reference(folder: Path) -> HFLM:
    return HFLM(pretrained=str(folder), dtype="float32", batch_size=4, device="cpu")


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")  # the harness would fork a pool for its bootstrap


def difference(ours: Any, theirs: Any) -> float:
    """Of two answers: log-likelihoods differ by a number, flags and texts by nothing or infinitely much."""
    if isinstance(theirs, tuple):
        return abs(ours[0] - theirs[0]) if ours[1] == theirs[1] else math.inf
    if isinstance(theirs, str):
        return 0.0 if ours == theirs else math.inf
    # The harness adds up thousands of tokens in float32, which carries seven digits.
    return abs(ours - theirs) * min(1.0, 1e4 / abs(theirs))


def compare(
    names: list[str], n_shots: int, limit: int, host: Host, reference: HFLM, data: Path, *, chat: bool = False
) -> None:
    model = EngineModel(host)
    options = TaskOptions(n_shots=n_shots, limit=limit, uses_chat_template=chat)
    suite = load_tasks(names, options, data=data, model=model)
    want = lm_eval.simple_evaluate(
        reference, tasks=names, task_manager=LocalTasks(names, data), num_fewshot=n_shots, limit=limit,
        bootstrap_iters=N_BOOTSTRAP, apply_chat_template=chat,
    )
    assert want is not None
    for name, task in suite.tasks.items():
        results = list(evaluate(task, model))
        assert [result.error for result in results] == [None] * limit
        got = task.aggregate(results, n_bootstrap=N_BOOTSTRAP)
        rows, want_rows = task.logged(results), want["samples"][name]
        assert [row["doc_id"] for row in rows] == [row["doc_id"] for row in want_rows]
        for row, want_row in zip(rows, want_rows, strict=True):
            assert row["arguments"] == want_row["arguments"]
            for key in ("doc_hash", "prompt_hash", "target_hash", "filter", "metrics"):
                assert row[key] == want_row[key], key
            pairs = [(a, b) for x, y in zip(row["resps"], want_row["resps"], strict=True)
                     for a, b in zip(x, y, strict=True)]
            assert max(difference(ours, theirs) for ours, theirs in pairs) < 1e-3
        want_scores = want["results"][name]
        assert got.keys() == want_scores.keys()
        for key, value in want_scores.items():
            assert got[key] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value), key
        config = task.config()
        assert config.keys() | {"dataset_kwargs"} == want["configs"][name].keys() | {"dataset_kwargs"}
        local = {"dataset_path", "dataset_kwargs", "metadata"}
        # Functions are written by their names: as they are, they would show an address.
        assert all(config[key] == named(want["configs"][name][key]) for key in config.keys() - local)


OFTEN = [("sst2", 2), *((name, n) for name in ("arc_easy", "hellaswag", "lambada_openai", "boolq") for n in (0, 2))]
RARE = ("cola", "mrpc", "piqa", "mmlu_abstract_algebra", "cmmlu_agronomy")
SELDOM = [("sst2", 0), *((name, n) for name in RARE for n in (0, 2))]


@pytest.mark.parametrize(
    ("name", "n_shots"), [*OFTEN, *(pytest.param(*case, marks=pytest.mark.verify) for case in SELDOM)]
)
def test_likelihood_scores_equal_the_reference_harness(
    name: str, n_shots: int, host: Host, reference: HFLM, hub_data: Path
) -> None:
    compare([name], n_shots, 6, host, reference, hub_data)


def test_wikitext_perplexities_equal_the_reference_harness(host: Host, reference: HFLM, hub_data: Path) -> None:
    compare(["wikitext"], 0, 3, host, reference, hub_data)


@pytest.mark.parametrize("n_shots", [1, 2])
def test_generated_answers_equal_the_reference_harness(
    n_shots: int, host: Host, reference: HFLM, hub_data: Path
) -> None:
    compare(["gsm8k"], n_shots, 4, host, reference, hub_data)


@pytest.mark.parametrize("name", ["arc_easy", "gsm8k"])
def test_the_chat_template_is_applied_as_the_reference_harness_does(
    name: str, host: Host, reference: HFLM, hub_data: Path
) -> None:
    compare([name], 1, 3, host, reference, hub_data, chat=True)


def test_an_unknown_task_is_refused_with_names_that_are_close() -> None:
    with pytest.raises(EvaluationError, match=r"There is no task arc_esy\. Did you mean .*arc_easy"):
        load_tasks(["arc_esy"], TaskOptions(), data=None)


def test_E19_a_task_whose_data_is_not_here_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="data set of rte is not on this machine.*PROOFBENCH_DATA"):
        load_tasks(["rte"], TaskOptions(limit=1), data=tmp_path)
