"""The sample browser of the report: what was sent, what came back, what it scored."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.compare.changes import options_of
from eval.compare.run import Answered, TaskRun
from eval.report.markup import Child, Markup, element, joined
from eval.report.numbers import score_text
from eval.report.plots import colour_class
from eval.report.rows import n_choices
from eval.report.run import Reported
from eval.report.text import Language, text
from eval.types import Answer

N_SAMPLES = 20
MAX_TEXT = 50_000  # characters of one prompt; a whole book would make the page useless
MAX_HEAD = 110


@dataclass(frozen=True)
class Choice:
    """A continuation that the model could choose. `share`: its probability among the choices alone."""

    text: str
    logprob: float
    share: float
    is_most_likely: bool
    is_target: bool


@dataclass(frozen=True)
class _Side:
    """One run's part of a task; `colour` numbers the run."""

    colour: int
    run: Reported
    task: TaskRun


def choices_of(sample: Answered) -> list[Choice]:
    """The choices of a multiple-choice sample; empty for samples of other kinds."""
    n = n_choices(sample)
    if n < 2:
        return []
    texts = options_of(sample.requests[:n])
    logprobs = [_number(answer) for answer in sample.answers[:n]]
    most = max(logprobs)
    weights = [math.exp(value - most) if math.isfinite(value) else 0.0 for value in logprobs]
    best = logprobs.index(most)
    target = _target(sample, texts, best)
    return [
        Choice(word, logprob, weight / (sum(weights) or 1), number == best, number == target)
        for number, (word, logprob, weight) in enumerate(zip(texts, logprobs, weights, strict=True))
    ]


def is_right(sample: Answered, key: str | None) -> bool | None:
    """Whether the sample was answered correctly by this score; None where it is not a matter of right or wrong."""
    score = sample.scores.get(key) if key and sample.error is None else None
    if isinstance(score, list | tuple) and len(score) == 2 and all(isinstance(label, int) for label in score):
        return bool(score[0] == score[1])  # the right label and the model's, as MCC and F1 have them
    return bool(score) if isinstance(score, int | float) and score in (0, 1) else None


def browser(
    reported: Sequence[Reported], keys: Mapping[str, str], language: Language, *, n_samples: int = N_SAMPLES
) -> Markup:
    """The first samples of every task, folded. `keys`: task -> the score that says right or wrong."""
    names = dict.fromkeys(name for run in reported for name in run.run.tasks)
    return joined(*(_task(name, reported, keys.get(name), language, n_samples) for name in names))


def _task(name: str, reported: Sequence[Reported], key: str | None, language: Language, n_samples: int) -> Markup:
    sides = [_Side(colour, run, run.run.tasks[name]) for colour, run in enumerate(reported) if name in run.run.tasks]
    ids = sorted({sample for side in sides for sample in side.task.samples})[:n_samples]
    counts = [_counts(side.task, key, language) for side in sides]
    folded = [_sample(number, sides, key, language, has_labels=len(reported) > 1) for number in ids]
    summary = element("summary", element("b", name), " ", element("span", " / ".join(counts), class_="quiet"))
    return element("details", summary, *folded, class_="task")


def _counts(task: TaskRun, key: str | None, language: Language) -> str:
    scored = [is_right(sample, key) for sample in task.samples.values() if sample.error is None]
    if not scored or None in scored:
        return text("n_samples", language, n=len(task.samples))
    return text("counts", language, right=scored.count(True), wrong=scored.count(False))


def _sample(
    number: int, sides: Sequence[_Side], key: str | None, language: Language, *, has_labels: bool
) -> Markup:
    answered = [side.task.samples.get(number) for side in sides]
    first = next(sample for sample in answered if sample is not None)
    marks = [_mark(sample, key, language) for sample in answered]
    head = element("summary", *marks, " ", element("span", f"#{number}", class_="quiet"), " ", _head(first))
    parts: list[Child] = [_asked(first, language)]
    for side, sample in zip(sides, answered, strict=True):
        if has_labels:
            parts.append(element("h4", side.run.label, class_=colour_class(side.colour)))
        if sample is None:
            parts.append(element("p", text("not_asked", language), class_="quiet"))
            continue
        if sample.requests != first.requests:
            parts.append(_asked(sample, language))
        parts += _answer(sample, side.run.extracted.get(side.task.name, {}).get(number, {}), language)
    return element("details", head, element("div", *parts), class_="sample")


def _mark(sample: Answered | None, key: str | None, language: Language) -> Markup:
    if sample is None:
        return element("span", "·", class_="mark", title=text("not_asked", language))
    if sample.error is not None:
        return element("span", "!", class_="mark", title=text("not_scored", language))
    right = is_right(sample, key)
    if right is None:
        return element("span", "○", class_="mark")
    word = text("right" if right else "wrong", language)
    return element("span", "✓ " if right else "✗ ", word, class_=f"mark {'right' if right else 'wrong'}")


def _head(sample: Answered) -> str:
    """The end of the question: before it stand examples that all samples share."""
    words = " ".join((sample.requests[0][0] or sample.requests[0][1]).split()) if sample.requests else ""
    return words if len(words) <= MAX_HEAD else "…" + words[-MAX_HEAD:]


def _asked(sample: Answered, language: Language) -> Markup:
    prompts = list(dict.fromkeys(prompt for prompt, _ in sample.requests))
    is_rolling = bool(sample.answers) and isinstance(sample.answers[0], float)
    title = "scored_text" if is_rolling else "prompt" if len(prompts) < 2 else "prompts"
    parts = [_block(text(title, language), *(_written(prompt, language) for prompt in prompts))]
    if sample.target and not any(choice.is_target for choice in choices_of(sample)):
        parts.append(_block(text("target", language), _written(sample.target, language)))
    return joined(*parts)


def _answer(sample: Answered, extracted: Mapping[str, Any], language: Language) -> list[Child]:
    if sample.error is not None:
        return [_block(text("not_scored", language), _written(sample.error, language))]
    parts: list[Child] = []
    choices = choices_of(sample)
    if choices:
        parts.append(_block(text("choices", language), _choices(choices, language)))
    else:
        given = [_given(answer, sample.requests, n, language) for n, answer in enumerate(sample.answers)]
        parts.append(_block(text("output", language), *given))
        for name, answer in extracted.items():
            label = text("extracted", language) + ("" if name == "none" else f" ({name})")
            parts.append(_block(label, _written(_plain(answer), language)))
    scores = ", ".join(f"{key.removesuffix(',none')} {_score(value)}" for key, value in sample.scores.items())
    return [*parts, _block(text("scores", language), element("p", scores, class_="num"))]


def _choices(choices: Sequence[Choice], language: Language) -> Markup:
    head = element("tr", *(
        element("th", text(key, language), class_=class_)
        for key, class_ in (("choice", None), ("logprob", "num"), ("share", "num"), ("notes", None))
    ))
    lines = []
    for choice in choices:
        logprob = score_text(choice.logprob if math.isfinite(choice.logprob) else None, "hundred")
        notes = [text("chosen", language)] if choice.is_most_likely else []
        notes += [text("is_target", language)] if choice.is_target else []
        lines.append(element(
            "tr", element("td", choice.text, class_="said"),
            element("td", logprob, class_="num"),
            element("td", score_text(choice.share, "percent"), class_="num"),
            element("td", ("、" if language == "zh" else ", ").join(notes)),
            class_="chosen" if choice.is_most_likely else None,
        ))
    table = element("table", element("thead", head), element("tbody", *lines))
    return element("div", table, element("p", text("logprob_help", language), class_="quiet"), class_="wide")


def _given(answer: Answer, requests: Sequence[tuple[str, str]], number: int, language: Language) -> Markup:
    if isinstance(answer, str):
        return _written(answer, language)
    is_greedy = isinstance(answer, tuple) and answer[1]
    words = f"{text('logprob', language)} {_number(answer):.2f}".replace("-", "\u2212")
    words += f" ({text('greedy', language)})" if is_greedy else ""
    continuation = requests[number][1] if number < len(requests) else ""
    return joined(_written(continuation, language) if continuation else None, element("p", words, class_="num"))


def _block(title: str, *children: Child) -> Markup:
    return element("div", element("h5", title), *children, class_="block")


def _written(words: str, language: Language) -> Markup:
    if len(words) <= MAX_TEXT:
        return element("pre", words)
    left_out = text("cut", language, n=len(words) - MAX_TEXT)
    return element("pre", words[:MAX_TEXT], element("span", left_out, class_="quiet"))


def _target(sample: Answered, options: Sequence[str], best: int) -> int | None:
    """Place of the right choice. A task gives its text or its number, which may both fit; the accuracy decides."""
    found = [number for number, option in enumerate(options) if option == sample.target.strip()]
    if sample.target.isdecimal() and int(sample.target) < len(options):
        found.append(int(sample.target))
    right = is_right(sample, "acc,none")
    return next((number for number in found if right is None or (number == best) == right), None)


def _number(answer: Answer) -> float:
    value = answer[0] if isinstance(answer, tuple) else answer
    assert not isinstance(value, str)
    return value


def _plain(answer: Any) -> str:
    return str(answer[0]) if isinstance(answer, list) and len(answer) == 1 else str(answer)


def _score(value: Any) -> str:
    if isinstance(value, bool | str) or value is None:
        return str(value)
    if isinstance(value, int | float):
        return f"{value:.4g}".replace("-", "\u2212")
    if isinstance(value, list | tuple) and len(value) <= 4:
        return f"({', '.join(_score(item) for item in value)})"
    return "…"
