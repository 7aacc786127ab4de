"""lm-evaluation-harness measures through /v1/completions what it measures on the same folder by itself."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.openai_completions import LocalCompletionsAPI
from lm_eval.tasks import TaskManager

from tests import tiny
from tests.live import MODEL, Live, running


@pytest.fixture(scope="module")
def live(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("home"), tiny_llama) as server:
        yield server


@pytest.fixture(scope="module")
def reference(tiny_llama: Path) -> HFLM:
    return HFLM(pretrained=str(tiny_llama), dtype="float32", device="cpu", batch_size=1, max_length=512)


def through_the_api(live: Live, folder: Path, **options: Any) -> LocalCompletionsAPI:
    """The harness's own client, as a person would configure it."""
    return LocalCompletionsAPI(
        base_url=f"{live.url}/v1/completions", model=MODEL, tokenizer=str(folder), tokenizer_backend="huggingface",
        max_length=512, max_retries=1, **options,
    )


def requests(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [Instance(kind, {}, each, index) for index, each in enumerate(arguments)]


PAIRS = [
    ("the quick brown fox", " jumps over the lazy dog"), ("what is the answer", " positive"), ("", "hello world"),
    ("what is the answer", " negative"), ("世界", "你好"), ("one two", " three four five six"), ("a " * 300, "b " * 20),
    ("long " * 400, "end"),
]


@pytest.mark.parametrize("options", [{}, {"batch_size": 4}, {"num_concurrent": 4}])
def test_log_likelihoods_and_greediness_equal_those_of_the_reference_backend(
    live: Live, reference: HFLM, tiny_llama: Path, options: dict[str, Any]
) -> None:
    asked = requests("loglikelihood", PAIRS)
    found = through_the_api(live, tiny_llama, **options).loglikelihood(asked)
    fitting = [i for i, pair in enumerate(PAIRS) if len(tiny.make_tokenizer()("".join(pair))["input_ids"]) < 511]
    expected = reference.loglikelihood(asked)
    assert len(fitting) >= 6
    for i in fitting:
        assert found[i][0] == pytest.approx(expected[i][0], abs=2e-3)
        assert found[i][1] == expected[i][1]


def test_the_greedy_continuation_is_reported_as_greedy(live: Live, reference: HFLM, tiny_llama: Path) -> None:
    tokenizer = tiny.make_tokenizer()
    pairs = []
    for context in ("the quick", "hello", "one two three", "what is", "positive"):
        ids = tokenizer(context)["input_ids"]
        with torch.inference_mode():
            best = int(reference.model(torch.tensor([ids])).logits[0, -1].argmax())
        if tokenizer.decode([best]).isascii():
            pairs.append((context, tokenizer.decode([best])))
    found = through_the_api(live, tiny_llama).loglikelihood(requests("loglikelihood", pairs))
    expected = reference.loglikelihood(requests("loglikelihood", pairs))
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert any(greedy for _, greedy in found)


def test_rolling_log_likelihoods_equal_those_of_the_reference_backend(
    live: Live, reference: HFLM, tiny_llama: Path
) -> None:
    asked = requests("loglikelihood_rolling", [("the quick brown fox jumps over the lazy dog",), ("hello world",)])
    found = through_the_api(live, tiny_llama).loglikelihood_rolling(asked)
    assert found == pytest.approx(reference.loglikelihood_rolling(asked), abs=2e-3)


@pytest.mark.parametrize("tokenized", [True, False])
def test_generated_text_equals_that_of_the_reference_backend(
    live: Live, reference: HFLM, tiny_llama: Path, tokenized: bool
) -> None:
    contexts = ["the quick brown", "hello world, how are you", "one two three"]
    asked = requests("generate_until", [(text, {"until": ["the", "\n"], "max_gen_toks": 12}) for text in contexts])
    found = through_the_api(live, tiny_llama, tokenized_requests=tokenized).generate_until(asked)
    expected = reference.generate_until(asked)
    # The bytes of a character that the length cuts are shown by the harness and dropped by this server.
    assert found == [text.rstrip("\ufffd") for text in expected]


def test_sst2_through_the_api_scores_as_the_reference_backend_does(
    live: Live, reference: HFLM, tiny_llama: Path, hub_data: Path
) -> None:
    definition = files("lm_eval") / "tasks" / "glue" / "sst2" / "default.yaml"
    task = yaml.safe_load(definition.read_text()) | {"dataset_path": str(hub_data / "nyu-mll" / "glue")}
    tasks = TaskManager(include_defaults=False)  # reading all of them takes ten seconds

    def evaluate(model: Any) -> tuple[float, list[list[float]]]:
        result = simple_evaluate(model=model, tasks=[task], limit=20, bootstrap_iters=0, task_manager=tasks)
        assert result is not None
        samples = [[float(value[0][0]) for value in sample["resps"]] for sample in result["samples"]["sst2"]]
        return result["results"]["sst2"]["acc,none"], samples

    accuracy, samples = evaluate(through_the_api(live, tiny_llama, num_concurrent=4))
    expected_accuracy, expected = evaluate(reference)
    assert accuracy == expected_accuracy
    for found, wanted in zip(samples, expected, strict=True):
        assert found == pytest.approx(wanted, abs=2e-3)
