"""A page of samples as HTML: prompt exactly as sent, target, output, extracted answer, log-probabilities, score."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from eval.compare import Answered, word_diff
from eval.compare.changes import answer_text, target_text
from eval.report.markup import Child, Markup, element, joined
from eval.report.numbers import MINUS, score_text
from eval.report.samples import Choice, choices_of
from eval.types import Answer
from llm_app.web.benchmark.results_markup import MAX_TEXT, block, passage, said, written
from llm_app.web.benchmark.samples_line import difference, questions

MARKS = {
    "right": ("✓", "kind_right"), "wrong": ("✗", "kind_wrong"), "scored": ("○", "kind_scored"),
    "unscored": ("!", "kind_unscored"), "fixed": ("●", "kind_fixed"), "broken": ("▲", "kind_broken"),
    "better": ("●", "kind_better"), "worse": ("▲", "kind_worse"), "changed": ("○", "kind_changed"),
    "equal": ("○", "kind_equal"), "both right": ("✓", "kind_both_right"), "both wrong": ("✗", "kind_both_wrong"),
}  # fmt: skip
GOOD, BAD = ("right", "fixed", "better"), ("wrong", "broken", "worse", "unscored")
# Right or wrong <- what became of the sample: before, after. Colours tell these, not which answer is the newer one.
TURNS = {"fixed": (False, True), "broken": (True, False), "both right": (True, True), "both wrong": (False, False)}
TAGS = {"same": "span", "removed": "del", "added": "ins"}


def sample_list(
    samples: Sequence[tuple[Answered, str]], extracted: Mapping[int, Mapping[str, Any]], *, shows_spaces: bool
) -> str:
    """Samples with their kinds, folded; a line opens to the whole."""
    return block(*(
        element(
            "details", _head(sample, kind, question),
            element(
                "div", _asked(sample, shows_spaces),
                *_answer(sample, extracted.get(sample.sample, {}), shows_spaces), class_="inside",
            ), class_="sample",
        )
        for (sample, kind), question in zip(samples, questions([sample for sample, _ in samples]), strict=True)
    ))  # fmt: skip


def change_list(
    changes: Sequence[tuple[Answered, Answered, str]], key: str, labels: tuple[str, str], *, shows_spaces: bool
) -> str:
    """Samples as two runs answered them, baseline first, with the words that changed. `key`: the score compared by."""
    parts = []
    asked = questions([before for before, _, _ in changes])
    for (before, after, kind), question in zip(changes, asked, strict=True):
        answers = answer_text(before, key)[:MAX_TEXT], answer_text(after, key)[:MAX_TEXT]
        sides = [
            _block(written(label), passage(answer, shows_spaces=shows_spaces), outcome)
            for label, answer, outcome in zip(labels, answers, _outcomes(before, after, kind, key), strict=True)
        ]
        pieces = word_diff(*answers)
        changed = element("pre", *(element(TAGS[tag], written(words)) for tag, words in pieces), class_=_turn(kind))
        has_shared = any(tag == "same" and words.strip() for tag, words in pieces)  # else both stand above as they are
        expected = target_text(before)
        inside = element(
            "div", _prompts(before, shows_spaces),
            _block(said("result_sample_expected"), passage(expected, shows_spaces=shows_spaces)) if expected else None,
            element("div", *sides, class_="sides"),
            _block(said("result_what_changed"), changed) if answers[0] != answers[1] and has_shared else None,
            *(_both_choices(before, after)), class_="inside",
        )  # fmt: skip
        parts.append(element("details", _head(before, kind, question, difference(*answers)), inside, class_="sample"))
    return block(*parts)


def _head(sample: Answered, kind: str, question: str, changed: tuple[str, str] | None = None) -> Markup:
    sign, name = MARKS[kind]
    tone = "good" if kind in GOOD else "bad" if kind in BAD else "plain"
    mark = element("span", f"{sign} ", said(name), class_=f"mark {tone}")
    answers = () if changed is None else (
        element("span", element("del", written(changed[0])), " → ", element("ins", written(changed[1])),
                class_=_turn(kind)), " · ",
    )  # fmt: skip
    return element(
        "summary", mark, element("span", f"#{sample.sample}", class_="number"),
        element("span", *answers, written(question), class_="line"),
    )  # fmt: skip


def _turn(kind: str) -> str:
    """The class of two answers, by which of them is the right or the better one."""
    return f"turn {'gained' if kind in ('fixed', 'better') else 'lost' if kind in ('broken', 'worse') else 'even'}"


def _outcomes(before: Answered, after: Answered, kind: str, key: str) -> tuple[Markup, Markup]:
    """Below each answer right or wrong, in words; where there is more between the two, the score."""
    if kind not in TURNS:
        return _scores(before, key), _scores(after, key)
    first, second = (MARKS["right" if is_right else "wrong"] for is_right in TURNS[kind])
    return _mark(*first, "good" if TURNS[kind][0] else "bad"), _mark(*second, "good" if TURNS[kind][1] else "bad")


def _mark(sign: str, name: str, tone: str) -> Markup:
    return element("p", f"{sign} ", said(name), class_=f"mark {tone}")


def _asked(sample: Answered, shows_spaces: bool) -> Markup:
    """Prompts and target, unless that stands among the choices."""
    parts = [_prompts(sample, shows_spaces)]
    if sample.target and not any(choice.is_target for choice in choices_of(sample)):
        parts.append(_block(said("result_sample_target"), passage(sample.target, shows_spaces=shows_spaces)))
    return joined(*parts)


def _prompts(sample: Answered, shows_spaces: bool) -> Markup:
    prompts = list(dict.fromkeys(prompt for prompt, _ in sample.requests))
    is_rolling = bool(sample.answers) and isinstance(sample.answers[0], float)
    title = "result_prompt_as_sent" if len(prompts) < 2 else "result_prompts_as_sent"
    title = "result_scored_text" if is_rolling else title
    return _block(said(title), *(passage(prompt, shows_spaces=shows_spaces) for prompt in prompts))


def _answer(sample: Answered, extracted: Mapping[str, Any], shows_spaces: bool) -> list[Child]:
    if sample.error is not None:
        return [_block(said("result_why_unscored"), passage(sample.error))]
    parts: list[Child] = []
    choices = choices_of(sample)
    if choices:
        parts.append(_block(said("result_sample_choices"), _choices(choices)))
    else:
        given = [_given(answer, sample.requests, n, shows_spaces) for n, answer in enumerate(sample.answers)]
        parts.append(_block(said("result_sample_output"), *given))
        for name, answer in extracted.items():
            label = joined(said("result_sample_extracted"), "" if name == "none" else f" ({name})")
            parts.append(_block(label, passage(_plain(answer), shows_spaces=shows_spaces)))
    return [*parts, _scores(sample, None)]


def _choices(choices: Sequence[Choice]) -> Markup:
    heads = [("col_choice", None), ("col_logprob", "num"), ("col_share", "num"), ("col_remarks", None)]
    head = element("tr", *(element("th", said(key), scope="col", class_=class_) for key, class_ in heads))
    lines = []
    for choice in choices:
        remarks = [said("result_most_likely")] if choice.is_most_likely else []
        remarks += [said("result_is_target")] if choice.is_target else []
        lines.append(element(
            "tr", element("td", written(choice.text[:MAX_TEXT]), class_="words"),
            element("td", _nats(choice.logprob), class_="num"),
            element("td", score_text(choice.share, "percent"), class_="num"),
            element("td", *(element("span", remark, class_="note") for remark in remarks)),
            class_="chosen" if choice.is_most_likely else None,
        ))  # fmt: skip
    table = element("table", element("thead", head), element("tbody", *lines), class_="choices")
    return joined(table, element("p", said("result_logprob_help"), class_="quiet"))


def _both_choices(before: Answered, after: Answered) -> list[Child]:
    """Log-probabilities of the choices side by side."""
    columns = choices_of(before), choices_of(after)
    if not columns[0] or len(columns[0]) != len(columns[1]):
        return []
    heads = [("col_choice", None), ("col_baseline", "num"), ("col_candidate", "num"), ("col_remarks", None)]
    head = element("tr", *(element("th", said(key), scope="col", class_=class_) for key, class_ in heads))
    lines = [
        element(
            "tr", element("td", written(first.text[:MAX_TEXT]), class_="words"),
            element("td", _nats(first.logprob), " ✓" if first.is_most_likely else "", class_="num"),
            element("td", _nats(second.logprob), " ✓" if second.is_most_likely else "", class_="num"),
            element("td", said("result_is_target") if first.is_target else None),
        )
        for first, second in zip(*columns, strict=True)
    ]  # fmt: skip
    table = element("table", element("thead", head), element("tbody", *lines), class_="choices")
    return [_block(said("result_logprobs_both"), table)]


def _given(answer: Answer, requests: Sequence[tuple[str, str]], number: int, shows_spaces: bool) -> Markup:
    if isinstance(answer, str):
        return passage(answer, shows_spaces=shows_spaces)
    value = answer[0] if isinstance(answer, tuple) else answer
    is_greedy = isinstance(answer, tuple) and answer[1]
    continuation = requests[number][1] if number < len(requests) else ""
    greedy = said("result_is_greedy") if is_greedy else None
    return joined(
        passage(continuation, shows_spaces=shows_spaces) if continuation else None,
        element("p", said("col_logprob"), f" {_nats(value)} ", greedy, class_="num"),
    )


def _scores(sample: Answered, key: str | None) -> Markup:
    """All of them, or the one that a comparison is by."""
    scores = sample.scores.items() if key is None else [(key, sample.scores.get(key))]
    # A task may keep a text where a score of its own is made of all texts together.
    numbers = [(name, value) for name, value in scores if not isinstance(value, str)]
    shown = ", ".join(f"{name.removesuffix(',none')} {_score(value)}" for name, value in numbers)
    return _block(said("result_sample_scores"), element("p", written(shown), class_="num")) if key is None else (
        element("p", written(shown), class_="quiet num")
    )


def _block(title: Markup, *children: Child) -> Markup:
    return element("div", element("h5", title), *children, class_="part")


def _nats(value: float) -> str:
    return score_text(value, "hundred").replace("−0.0", "0.0") if math.isfinite(value) else "–"


def _plain(answer: Any) -> str:
    return str(answer[0]) if isinstance(answer, list) and len(answer) == 1 else str(answer)


def _score(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "–" if value is None else str(value)
    if isinstance(value, int | float):
        return f"{value:.4g}".replace("-", MINUS)
    if isinstance(value, list | tuple) and len(value) <= 4:
        return f"({', '.join(_score(item) for item in value)})"
    return "…"
