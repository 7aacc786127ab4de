"""Runs made of numbers and texts, for the tests of reports."""

from collections.abc import Mapping, Sequence
from typing import Any

from eval.compare import Answered, Metric, Run, TaskRun
from eval.report import Reported
from tests.eval.made_runs import run_of

ACCURACY = Metric("acc", "mean", True)
# What a model or a data set may hold.
HOSTILE = (
    "<script>window.__pwned=1</script>", "<img src=x onerror='window.__pwned=1'>", "</pre></details><b>out</b>",
    "\"'><svg onload='window.__pwned=1'>", "=HYPERLINK(\"http://198.51.100.7\")", "\x00\x1b[2J\u202e", "\ud800",
    "| pipe ` tick\n# head", "[click](javascript:1)", "&lt;b&gt;",
)


def chosen(number: int, logprobs: Sequence[float], target: int, **fields: Any) -> Answered:
    """A multiple-choice sample; acc says whether the most likely choice is the target."""
    best = max(range(len(logprobs)), key=lambda i: logprobs[i])
    given: dict[str, Any] = {
        "digest": f"digest {number}", "doc": {}, "target": str(target),
        "requests": tuple((f"Question {number}\nAnswer:", f" choice {i}") for i in range(len(logprobs))),
        "answers": tuple((value, False) for value in logprobs), "scores": {"acc,none": float(best == target)},
    }
    return Answered(sample=number, **(given | fields))


def choice_task(n_right: int, n: int, *, n_choices: int = 4, n_asked: int | None = None, name: str = "quiz") -> TaskRun:
    """`n` samples of `n_choices` choices, the first of which is the most likely."""
    logprobs = [-1.0 - i for i in range(n_choices)]
    samples = {i: chosen(i, logprobs, 0 if i < n_right else 1) for i in range(n)}
    return TaskRun(name, "1.0", 0, n_asked or n, (ACCURACY,), samples)


def written_task(text: str, *, name: str = "writing") -> TaskRun:
    """One sample whose every text is this one, another that could not be scored for this reason."""
    sample = Answered(0, "d", {"text": text}, text, ((text, ""),), (text,), {"exact_match,none": 1.0})
    wrong = Answered(1, "d", {"text": text}, text, ((text, ""),), (), {}, text)
    return TaskRun(name, "1.0", 0, 2, (Metric("exact_match", "mean", True),), {0: sample, 1: wrong})


def reported(*tasks: TaskRun, run: Run | None = None, label: str = "model (fp32)", **fields: Any) -> Reported:
    """A run of these tasks, with its identity."""
    given: dict[str, Any] = {
        "created": "2026-01-02T03:04:05.000006",
        "model": {"name": "model", "adapter": "", "precision": "fp32", "weights": "a" * 64},
        "settings": {"shots": "0", "limit": "", "seed": "", "context": "2048", "chat_template": ""},
        "versions": {"proofbench": "0.1.0", "lm-eval": "0.4.13"},
        "command": "python -m llm_app benchmark --model=model --tasks=quiz",
    }
    return Reported(run or run_of(*tasks), label, **(given | fields))


def with_configs(*tasks: TaskRun, **configs: Mapping[str, Any]) -> Reported:
    """A run whose results file holds definitions of tasks."""
    return reported(*tasks, results={"configs": configs})
