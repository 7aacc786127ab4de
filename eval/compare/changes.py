"""Sample by sample: what was fixed, what was broken, and which words changed."""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from eval.compare.run import Answered

# Right or wrong: fixed, broken, both right, both wrong. Other scores: better, worse, equal. No score of its own:
# changed or equal, by the answer.
Kind = Literal["fixed", "broken", "both right", "both wrong", "better", "worse", "equal", "changed"]
Piece = tuple[Literal["same", "removed", "added"], str]

# A word, or a single character of a script that writes without spaces (Chinese, Japanese), or the space between.
_CJK = "\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_CJK}]|[^\s{_CJK}]+|\s+")
MAX_WORDS = 2_000  # beyond, the two texts are shown whole: the time to compare grows with the square


@dataclass(frozen=True)
class SampleChange:
    """One sample as both runs answered it: baseline first. `diff` leads from the first answer to the second.

    `logprobs`: of each request, in nats, where the task asks for them; None for one that is not finite.
    """

    sample: int
    kind: Kind
    prompt: str
    target: str
    answers: tuple[str, str]
    scores: tuple[float | None, float | None]
    logprobs: tuple[tuple[float | None, ...], tuple[float | None, ...]]
    diff: tuple[Piece, ...]


def change(
    first: Answered, second: Answered, metric: str, each: tuple[float, float] | None, *, is_binary: bool
) -> SampleChange:
    """What became of a sample. `each`: how good it is on either side, the higher the better; None where unknown."""
    answers = answer_text(first, metric), answer_text(second, metric)
    return SampleChange(
        first.sample,
        _kind(each, is_binary, is_same_answer=first.answers == second.answers),
        first.requests[0][0] if first.requests else "",
        target_text(first),
        answers,
        (each[0], each[1]) if each is not None else (None, None),
        (_logprobs(first), _logprobs(second)),
        word_diff(*answers),
    )


def word_diff(first: str, second: str) -> tuple[Piece, ...]:
    """The way from one text to the other, by words; by characters in Chinese and Japanese."""
    if first == second:
        return (("same", first),) if first else ()
    before, after = _WORD.findall(first), _WORD.findall(second)
    if max(len(before), len(after)) > MAX_WORDS:
        return (("removed", first), ("added", second))
    pieces: list[Piece] = []
    for tag, start, end, start_after, end_after in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(("same", "".join(before[start:end])))
            continue
        if end > start:
            pieces.append(("removed", "".join(before[start:end])))
        if end_after > start_after:
            pieces.append(("added", "".join(after[start_after:end_after])))
    return tuple(pieces)


def answer_text(answered: Answered, metric: str) -> str:
    """What the model said: its text, the choice it found most likely, or how likely it found the one text."""
    answers = answered.answers
    if not answers:
        return ""
    if isinstance(answers[0], str):
        return "\n\n".join(str(answer) for answer in answers)
    values = _values(answered)
    if len(values) == 1:
        greedy = answers[0][1] if isinstance(answers[0], tuple) else False
        return f"log-probability {values[0]:.2f}" + (", the model's own choice" if greedy else "")
    options = options_of(answered.requests)
    lengths = [1] * len(values)
    if metric.startswith("acc_norm"):
        lengths = [len(option) for option in options]
    elif metric.startswith("acc_bytes"):
        lengths = [len(option.encode()) for option in options]
    best = max(range(len(values)), key=lambda i: values[i] / max(1, lengths[i]))
    return options[best]


def options_of(requests: Sequence[tuple[str, str]]) -> list[str]:
    """The choices are what the requests do not share: their continuations, or what stands in their prompts."""
    prompts, continuations = zip(*requests, strict=True)
    if len(set(continuations)) > 1:
        return [continuation.strip() for continuation in continuations]
    n_shared = len(os.path.commonprefix(prompts))
    return [prompt[n_shared:] for prompt in prompts]


def target_text(answered: Answered) -> str:
    """The right answer; a number that means one of the choices becomes that choice."""
    if len(answered.requests) > 1 and answered.target.isdecimal() and not isinstance(answered.answers[0], str):
        options = options_of(answered.requests)
        if int(answered.target) < len(options):
            return options[int(answered.target)]
    return answered.target


def _values(answered: Answered) -> list[float]:
    return [a[0] if isinstance(a, tuple) else a for a in answered.answers if not isinstance(a, str)]


def _logprobs(answered: Answered) -> tuple[float | None, ...]:
    return tuple(value if math.isfinite(value) else None for value in _values(answered))


def _kind(each: Sequence[float] | None, is_binary: bool, *, is_same_answer: bool) -> Kind:
    if each is None:
        return "equal" if is_same_answer else "changed"
    before, after = each
    if is_binary:
        if before == after:
            return "both right" if before > 0 else "both wrong"
        return "fixed" if after > before else "broken"
    if before == after:
        return "equal"
    return "better" if after > before else "worse"
