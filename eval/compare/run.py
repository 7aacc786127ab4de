"""A run as a comparison sees it: who answered, under which conditions, and every sample with its answers and scores."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval.types import Answer, GroupMetric, TaskGroup

Aggregate = Callable[[Sequence[Any]], float]
Text = tuple[str, str]  # one thing said in English and in Chinese

# Words for what may differ, must not differ, and may matter, with their Chinese.
WORDS = {
    "weights": "权重", "adapter": "适配器", "precision": "精度", "tokenizer": "分词器",
    "model configuration": "模型配置", "model": "模型", "arguments": "模型参数",
    "seed of the examples": "示例的随机种子",
    "use of the chat template (--chat-template)": "是否使用对话模板（--chat-template）",
    "chat template": "对话模板", "context length": "上下文长度", "version of this program": "本程序的版本",
}
# The parts of a model's identity as Proofbench writes them, in words.
IDENTITY = {
    "weights": "weights", "adapter": "adapter", "quantization": "precision", "tokenizer": "tokenizer",
    "config": "model configuration",
}


def in_chinese(word: str) -> str:
    """One of WORDS, or a name that stays as it is."""
    return WORDS.get(word, word)


@dataclass(frozen=True)
class Metric:
    """How a task is scored. `aggregation`: what makes one score of many, by the harness's name or as a function.

    `name` is without the filter: scores are kept by "metric,filter".
    """

    name: str
    aggregation: str | Aggregate
    is_higher_better: bool


@dataclass(frozen=True)
class Answered:
    """One sample: what was asked (text and continuation of each request), the answers, and the scores.

    `is_cut`: its prompt lost its beginning, since it was longer than the context.
    """

    sample: int
    digest: str  # of data, prompt and target; empty where it is not known
    doc: Mapping[str, Any]
    target: str
    requests: tuple[tuple[str, str], ...]
    answers: tuple[Answer, ...]
    scores: Mapping[str, Any]  # by "metric,filter"
    error: str | None = None
    is_cut: bool = False


@dataclass(frozen=True)
class TaskRun:
    """One task of a run. `digest` is of the whole task, data and definition; None where it is not known."""

    name: str
    version: str
    n_shots: int
    n_asked: int  # samples of a whole run; fewer have an answer in one that was stopped
    metrics: tuple[Metric, ...]
    samples: Mapping[int, Answered]
    digest: str | None = None


@dataclass(frozen=True)
class Run:
    """One model's answers. What may differ: `identity`; what may not: `conditions`; what may matter: `setting`.

    The keys are among WORDS, or names of packages. `groups`: what was asked for by one name and is several tasks;
    `asked`: every name that was typed, as far as it is known.
    """

    id: str
    label: str
    identity: Mapping[str, str]
    conditions: Mapping[str, Any]
    tasks: Mapping[str, TaskRun]
    setting: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, TaskGroup] = field(default_factory=dict)
    asked: tuple[str, ...] = ()


def read_group(data: Mapping[str, Any]) -> TaskGroup:
    """A group from the plain values that `dataclasses.asdict` makes of it."""
    metrics = tuple(GroupMetric(one["name"], tuple(one["filters"]), one["weights"]) for one in data["metrics"])
    return TaskGroup(data["name"], data["version"], tuple(data["tasks"]), metrics)


def digest_of(doc_hash: str, prompt_hash: str, target_hash: str) -> str:
    """One SHA-256 of the three that the harness keeps for a sample."""
    return hashlib.sha256(json.dumps([doc_hash, prompt_hash, target_hash]).encode()).hexdigest()
