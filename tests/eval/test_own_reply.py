"""Tasks whose prompts are complete: asked to the letter, scored exactly, and as likely as the model itself says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from eval.metrics.rouge.score import rouge_scores
from eval.tasks.harness import HarnessTask, TaskOptions, load_tasks
from eval.types import Result
from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.jobs.answers import EngineModel
from tests import tiny

PROMPT = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
ROWS = [
    {"prompt": PROMPT, "answer": "one two", "end": "<|im_end|>"},
    {"prompt": PROMPT.replace("hello", "world"), "answer": "three", "end": "<|im_end|>"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineModel]:
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig(str(folder), precision="fp32")):
        pass
    yield EngineModel(host)
    host.unload()


def load(
    path: Path, kind: str, rows: list[dict[str, str]], model: EngineModel | None = None, **options: Any
) -> HarnessTask:
    (path / "data.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    (path / "t.yaml").write_text(f"name: t\nkind: {kind}\ndata: data.jsonl\n")
    return load_tasks([str(path / "t.yaml")], TaskOptions(**options), data=None, model=model).tasks["t"]


def test_a_prompt_is_asked_to_the_letter_whatever_is_asked_of_other_tasks(tmp_path: Path, model: EngineModel) -> None:
    task = load(tmp_path, "reply", ROWS, model, n_shots=1, uses_chat_template=True)
    assert [sample.requests[0].text for sample in task.samples] == [row["prompt"] for row in ROWS]


def test_an_answer_is_exact_if_it_equals_the_reference_but_for_space_at_its_ends(tmp_path: Path) -> None:
    task = load(tmp_path, "reply", ROWS)
    said = {" one two\n": 1.0, "one two\nand more": 1.0, "One two": 0.0, "one  two": 0.0, "one two.": 0.0, "": 0.0}
    for text, score in said.items():
        assert task.score(task.samples[0], [text])["exact_match,none"] == score, text


def test_where_a_reference_has_lines_the_whole_answer_must_equal_it(tmp_path: Path) -> None:
    task = load(tmp_path, "reply", [{"prompt": "a", "answer": "x\ny"}])
    assert task.score(task.samples[0], ["x\ny"])["exact_match,none"] == 1
    assert task.score(task.samples[0], ["x\ny\nz"])["exact_match,none"] == 0


def test_rouge_reads_chinese(tmp_path: Path) -> None:
    task = load(tmp_path, "reply", [{"prompt": "问", "answer": "今天天气很好"}])
    (expected,) = rouge_scores(["今天很好"], ["今天天气很好"])  # whose figures tests/eval/test_metrics_text.py proves
    assert task.score(task.samples[0], ["今天很好"])["rougeL,none"] == expected["rougeL"] > 0


def test_long_references_are_compared_by_rouge_and_short_ones_by_exact_match(tmp_path: Path) -> None:
    def first(answer: str) -> str:
        task = load(tmp_path, "reply", [{"prompt": "a", "answer": answer}])
        return next(iter(task.harness.aggregation()))

    assert first("a short answer") == "exact_match"
    assert first("今天天气很好。" * 6) == "rougeL"


def test_perplexity_of_a_reference_is_what_the_model_says_of_its_tokens(
    tmp_path: Path, folder: Path, model: EngineModel
) -> None:  # oracle: transformers' own loss
    task = load(tmp_path, "reply_perplexity", ROWS, model)
    tokenizer, reference = tiny.make_tokenizer(), AutoModelForCausalLM.from_pretrained(folder)
    total, n_tokens, results = 0.0, 0, []
    for sample, row in zip(task.samples, ROWS, strict=True):
        ((_, given),) = model.loglikelihoods([(sample.requests[0].text, sample.requests[0].continuation)], {0})
        results.append(Result(sample.id, (given,), task.score(sample, [given])))  # type: ignore[arg-type, list-item]
        # The line end before the answer is read together with it, as everywhere in the harness.
        ids = tokenizer(row["prompt"] + row["answer"] + row["end"])["input_ids"]
        start = len(tokenizer(row["prompt"].rstrip())["input_ids"])
        with torch.inference_mode():
            logprobs = reference(torch.tensor([ids])).logits[0].log_softmax(-1)
        total += sum(float(logprobs[at - 1, ids[at]]) for at in range(start, len(ids)))
        n_tokens += len(ids) - len(tokenizer(row["prompt"])["input_ids"])
    made = task.aggregate(results, n_bootstrap=0)
    assert made["token_perplexity,none"] == pytest.approx(float(torch.tensor(-total / n_tokens).exp()), rel=1e-4)
