"""Run folders made of numbers and texts, as the benchmark writes them, for the tests of what the page shows of runs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from eval.types import Answer, Result
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.kept import ASKED, event_of
from llm_app.jobs.store import RunStore

METRICS = [{"name": "acc", "aggregation": "mean", "higher_is_better": True}]
TEXT_METRICS = [{"name": "exact_match", "aggregation": "mean", "higher_is_better": True}]


def spec_of(tasks: Mapping[str, Mapping[str, Any]], *, created: str, **model: Any) -> dict[str, Any]:
    """What a benchmark says of itself."""
    identity = {
        "name": "tiny", "adapter_name": None, "precision": "fp32", "device": "cpu", "weights": "w" * 64,
        "config": "c", "adapter": "", "quantization": "", "tokenizer": "t", "template": None,
    }  # fmt: skip
    options = {
        "n_shots": None, "limit": None, "seed": None, "uses_chat_template": False, "allows_code": False,
        "n_bootstrap": 0,
    }  # fmt: skip
    return {
        "kind": "benchmark", "created": created, "asked": list(tasks), "model": identity | model, "tasks": tasks,
        "options": options, "context": 128, "program": "0.1.0", "groups": {},
        "packages": {"lm-eval": "0.4.13", "transformers": "5", "torch": "2"},
    }  # fmt: skip


def asked_line(task: str, sample: int, requests: Sequence[tuple[str, str]], target: str) -> str:
    """A question as asked.jsonl keeps it."""
    row = {
        "task": task, "sample": sample, "doc": {"n": sample}, "target": target, "requests": list(requests),
        "digest": f"{task} {sample}",
    }  # fmt: skip
    return json.dumps(row, ensure_ascii=False) + "\n"


def choice_run(
    store: RunStore, rights: Sequence[bool], *, n_asked: int | None = None, ends: bool = True,
    created: str = "2026-01-02T03:04:05.000006", prompt: str = "Question {n}\nAnswer:", **changed: Any,
) -> RunFolder:
    """A run of one task of two choices, "yes" always the target, so many of whose samples have an answer.

    `changed`: what the task, the options or the model say otherwise, or the names that were asked for.
    """
    n = n_asked or len(rights)
    task = {"version": "1.0", "n_shots": 0, "n_samples": n, "digest": "d", "metrics": METRICS}
    task = {key: changed.pop(key, value) for key, value in task.items()}
    asked, uses_template = changed.pop("asked", ["quiz"]), changed.pop("uses_chat_template", False)
    spec = spec_of({"quiz": task}, created=created, **changed)
    spec["options"]["uses_chat_template"] = uses_template
    folder = store.create(spec | {"asked": asked})
    lines = []
    for i in range(n):
        text = prompt.format(n=i)
        lines.append(asked_line("quiz", i, [(text, " yes"), (text, " no")], "0"))
    folder.write(ASKED, "".join(lines))
    with folder:
        folder.append([choice_event(i, is_right) | {"done": i + 1} for i, is_right in enumerate(rights)])
        if ends:
            folder.end("done", done=len(rights), scores={"quiz": ["acc", sum(rights) / max(1, len(rights))]})
    return folder


def choice_event(sample: int, is_right: bool) -> dict[str, Any]:
    """An answer of `choice_run`."""
    answers = ((-1.0, True), (-2.0, False)) if is_right else ((-2.0, False), (-1.0, True))
    return event_of("quiz", Result(sample, answers, {"acc,none": float(is_right)}))


def text_run(
    store: RunStore, texts: Sequence[str], answers: Sequence[Answer | None], *,
    created: str = "2026-01-02T03:04:05.000006", **model: Any,
) -> RunFolder:
    """A run of one task that wants text; the prompt is the target, and None could not be scored."""
    tasks = {
        "writing": {"version": "1.0", "n_shots": 0, "n_samples": len(texts), "digest": "d", "metrics": TEXT_METRICS}
    }  # fmt: skip
    folder = store.create(spec_of(tasks, created=created, **model))
    folder.write(ASKED, "".join(asked_line("writing", i, [(text, "")], text) for i, text in enumerate(texts)))
    with folder:
        for i, (text, answer) in enumerate(zip(texts, answers, strict=True)):
            result = Result(i, (), {}, error=text) if answer is None else (
                Result(i, (answer,), {"exact_match,none": float(answer == text)})
            )
            folder.append([event_of("writing", result) | {"done": i + 1}])
        folder.end("done", done=len(texts), scores={})
    return folder
