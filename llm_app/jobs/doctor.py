"""The template doctor: looks at prompts as they will be sent, and says what would spoil a score.

Prompts are wrong in ways that no score shows: a first token written twice, an instruct model asked without its
template, a space that splits a word in two. Each finding names the tasks it was seen in.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from eval.results import report
from eval.runner import evaluate
from eval.tasks.harness import HarnessTask, Suite, TaskOptions
from eval.types import EvaluationError, Request, Task
from llm_app.engine.host import Host
from llm_app.engine.loading import LoadedModel
from llm_app.jobs.answers import EngineModel
from llm_app.jobs.benchmark import load_suite
from llm_app.messages import Message
from llm_app.options import Text

LOOKED_AT = 8  # samples of each task
REPLIES_LOOKED_AT = 2  # where a sample is a reply, which takes long
BASE_NAME = re.compile(r"(?<![a-z])(base|pt|pretrain(ed)?)(?![a-z])", re.IGNORECASE)
Severity = Literal["warning", "note"]


@dataclass(frozen=True)
class Finding:
    """What is wrong with prompts of these tasks, in English and Chinese, with what to do."""

    severity: Severity
    name: str
    text: Text
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class FirstPrompt:
    """The first request of a task as it is sent: its text, its tokens as (id, text), what is scored after it."""

    task: str
    text: str
    tokens: tuple[tuple[int, str], ...]
    continuation: str
    scored_tokens: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Diagnosis:
    """Prompts and findings, warnings first."""

    prompts: tuple[FirstPrompt, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class BothWays:
    """A task's score on its first `n_samples` samples, without the chat template and with it."""

    task: str
    metric: str
    n_samples: int
    plain: float
    templated: float


# Name -> severity and text. Each is a rule of `_seen_in` or `_of_the_model` below.
FINDINGS: Mapping[str, tuple[Severity, Text]] = {
    "instruct-without-template": ("warning", (
        "The model was tuned to its chat template and is asked without it. Add --chat-template, unless the scores are"
        " to be compared with others taken without it.",
        "该模型按对话模板训练，现在却不用模板提问。请加 --chat-template；若要与同样不用模板的分数比较，可不加。",
    )),
    "base-with-template": ("warning", (
        "By its name this is a base model, and it is asked through a chat template that it was not trained with."
        " Leave out --chat-template.",
        "从名称看这是基础模型，未按对话模板训练，却通过模板提问。请去掉 --chat-template。",
    )),
    "doubled-first-token": ("warning", (
        "Prompts begin with the first token (BOS) twice: the template writes it and so does something else.",
        "提示开头出现了两个起始词元（BOS）：模板写了一个，别处又加了一个。",
    )),
    "missing-first-token": ("warning", (
        "Prompts lack the first token (BOS) that this model's texts begin with.",
        "提示缺少该模型文本应有的起始词元（BOS）。",
    )),
    "end-in-prompt": ("warning", (
        "The tokenizer ends prompts with the end token (EOS): the model reads that the text is over before it is to"
        " go on. Switch off add_eos_token.",
        "分词器在提示末尾加了结束词元（EOS）：模型还没作答，就读到文本已结束。请关闭 add_eos_token。",
    )),
    "doubled-end-token": ("warning", (
        "The end token (EOS) stands twice in a row within prompts.",
        "提示中连续出现两个结束词元（EOS）。",
    )),
    "replies-do-not-end": ("warning", (
        "The token with which the template ends a turn is not one at which this model stops: replies run on to their"
        " greatest length.",
        "模板用来结束一轮对话的词元不在该模型的停止词元之列：回复会一直写到长度上限。",
    )),
    "trailing-space": ("warning", (
        "Prompts end in a space, which belongs to the next word's token: replies begin in an unusual way.",
        "提示以空格结尾，而空格本应属于下一个词的词元：回复的开头会不自然。",
    )),
    "merged-tokens": ("warning", (
        "The last token of the prompt and the first of the answer become one token, or are split in another way, when"
        " they are written together: what is scored is not what the model would write.",
        "提示的末尾与答案的开头合写时会并成一个词元，或以别的方式切分：计分的内容并非模型会写出的内容。",
    )),
    "cut-prompt": ("warning", (
        "Prompts are longer than the context and lose their beginning. Ask with fewer shots.",
        "提示超出上下文长度，开头被截去。请减少示例数。",
    )),
    "moved-space": ("note", (
        "A space at the end of prompts is scored with the answer, as lm-evaluation-harness does.",
        "提示末尾的空格随答案一起计分，与 lm-evaluation-harness 的做法相同。",
    )),
}


def examine(
    model: EngineModel, loaded: LoadedModel, tasks: Mapping[str, Task], *, uses_chat_template: bool
) -> Diagnosis:
    """Look at the first prompts of every task. Asks the model nothing."""
    seen: dict[str, list[str]] = {}
    prompts = []
    for name, task in tasks.items():
        requests = [r for sample in task.samples[:LOOKED_AT] if sample.problem is None for r in sample.requests]
        if not requests:
            continue
        prompts.append(_first(model, loaded, name, requests[0]))
        for found in [*_seen_in(model, loaded, requests, uses_chat_template=uses_chat_template),
                      *_of_the_model(loaded, requests, uses_chat_template=uses_chat_template)]:
            seen.setdefault(found, []).append(name)
    findings = [
        Finding(severity, name, text, tuple(seen[name])) for name, (severity, text) in FINDINGS.items() if name in seen
    ]
    return Diagnosis(tuple(prompts), tuple(findings))


def _first(model: EngineModel, loaded: LoadedModel, task: str, request: Request) -> FirstPrompt:
    ((context, continuation),) = model.ids_of([request])
    context = context[-(loaded.n_context + 1 - min(len(continuation), loaded.n_context)) :]

    def spelled(ids: Sequence[int]) -> tuple[tuple[int, str], ...]:
        return tuple((token, str(loaded.tokenizer.decode([token]))) for token in ids)

    return FirstPrompt(task, request.text, spelled(context), request.continuation, spelled(continuation))


def _of_the_model(loaded: LoadedModel, requests: Sequence[Request], *, uses_chat_template: bool) -> Iterator[str]:
    if all(request.kind == "rolling" for request in requests) or loaded.template is None:
        return  # running text has no turns
    is_base = is_base_model(loaded)
    if uses_chat_template and is_base:
        yield "base-with-template"
    if not uses_chat_template and not is_base:
        yield "instruct-without-template"
    if uses_chat_template and any(request.kind == "generate" for request in requests) and not _ends_turns(loaded):
        yield "replies-do-not-end"


def is_base_model(loaded: LoadedModel) -> bool:
    """Whether its name says that it was only pre-trained, and knows no turns of a conversation."""
    return any(BASE_NAME.search(name) for name in (Path(loaded.entry.name).name, loaded.entry.title))


def _ends_turns(loaded: LoadedModel) -> bool:
    """Whether what the template writes after a reply holds a token that ends replies."""
    assert loaded.template is not None
    answer = "Proofbench"
    turns = [Message("user", "Hello"), Message("assistant", answer)]
    text = loaded.template.render(turns, add_generation_prompt=False)
    tail = text[text.rindex(answer) + len(answer) :]
    ids = loaded.tokenizer.encode(tail, add_special_tokens=False)
    return not tail.strip() or not loaded.eos_ids.isdisjoint(ids)


def _seen_in(
    model: EngineModel, loaded: LoadedModel, requests: Sequence[Request], *, uses_chat_template: bool
) -> Iterator[str]:
    """Names of findings in these requests, each once."""
    first = loaded.tokenizer.bos_token_id
    has_first = first is not None and _begins_with_first(model, loaded, uses_chat_template=uses_chat_template)
    found = set()
    for request, (context, continuation) in zip(requests, model.ids_of(requests), strict=True):
        if request.kind == "rolling":
            continue
        room = loaded.n_context - request.generation.max_new_tokens if request.generation else (
            loaded.n_context + 1 - len(continuation)
        )
        if len(context) > max(room, 0):
            found.add("cut-prompt")
        if first is not None and context[:2] == [first, first]:
            found.add("doubled-first-token")
        elif has_first and context[:1] != [first]:
            found.add("missing-first-token")
        ends = loaded.eos_ids - {first}
        is_ended = len(context) > 1 and context[-1] in ends and not _ends_with(loaded, request.text, context[-1])
        if is_ended:
            found.add("end-in-prompt")
        if any(a == b and a in ends for a, b in zip(context, context[1:], strict=False)):
            found.add("doubled-end-token")
        if request.text != request.text.rstrip(" \t"):
            found.add("trailing-space" if request.kind == "generate" else "moved-space")
        if request.kind == "loglikelihood" and request.text and not is_ended and _merges(model, request, context):
            found.add("merged-tokens")
    yield from found


def _begins_with_first(model: EngineModel, loaded: LoadedModel, *, uses_chat_template: bool) -> bool:
    """Whether the tokenizer, or the template where it is used, puts the first token before a text."""
    text = "Hello"
    if uses_chat_template and loaded.template is not None:
        text = loaded.template.render([Message("user", text)])
    plain = loaded.tokenizer("Hello")["input_ids"]
    first = loaded.tokenizer.bos_token_id
    return list(plain[:1]) == [first] or loaded.tokenizer.encode(text, add_special_tokens=False)[:1] == [first]


def _ends_with(loaded: LoadedModel, text: str, token: int) -> bool:
    return text.rstrip().endswith(str(loaded.tokenizer.decode([token])).strip())


def _merges(model: EngineModel, request: Request, context: Sequence[int]) -> bool:
    (whole,) = model.text_ids([request.text + request.continuation])
    return whole[: len(context)] != list(context)


def score_both_ways(
    host: Host, asked: list[str], options: TaskOptions, *, adapter: str | None = None
) -> tuple[BothWays, ...]:
    """The first score of each task on a few samples, without the chat template and with it; nothing without one.

    So few samples show whether a template is badly wrong, not which way is better.
    """
    if host.loaded.template is None:
        return ()
    model = EngineModel(host, adapter=adapter)
    found: list[dict[str, tuple[str, float, int]]] = []
    for is_templated in (False, True):
        few = replace(options, limit=min(LOOKED_AT, options.limit or LOOKED_AT), uses_chat_template=is_templated)
        suite = load_suite(asked, few, host.settings, model)
        found.append({name: score for name, task in suite.tasks.items() if (score := _score(suite, task, model))})
    plain, templated = found
    return tuple(
        BothWays(name, metric, n, value, templated[name][1])
        for name, (metric, value, n) in plain.items() if name in templated
    )


def _score(suite: Suite, task: HarnessTask, model: EngineModel) -> tuple[str, float, int] | None:
    kinds = {request.kind for sample in task.samples for request in sample.requests}
    if kinds <= {"rolling"}:
        return None  # no template touches running text
    if "generate" in kinds:
        task.samples = task.samples[:REPLIES_LOOKED_AT]
    try:
        results = list(evaluate(task, model))
    except EvaluationError:
        return None
    made = report(suite, {task.name: results}, n_bootstrap=0).data["results"].get(task.name, {})
    metric = next((key for key in made if "," in key and "_stderr" not in key), None)
    return None if metric is None else (metric.split(",")[0], float(made[metric]), len(results))
