"""What the template doctor found, as HTML: pure functions."""

from collections.abc import Sequence

from eval.report.markup import Markup, element
from llm_app.jobs.doctor import BothWays, Diagnosis, Finding, FirstPrompt
from llm_app.web.benchmark.results_markup import block, passage, said, told, written

SHOWN_TOKENS = 60  # at either end of a prompt
SIGNS = {"warning": "▲", "note": "○"}
MAX_PROMPTS = 12  # of a group of tasks


def diagnosis(found: Diagnosis) -> str:
    """Findings, warnings first; then the first prompt of each task with its tokens."""
    if not found.prompts:
        return block(element("p", said("tool_no_prompt"), class_="quiet"))
    findings = element("ul", *map(_finding, found.findings), class_="findings") if found.findings else (
        element("p", "● ", said("tool_nothing_wrong"), class_="finding note")
    )
    return block(findings, *map(_prompt, found.prompts[:MAX_PROMPTS]))


def both_ways(scores: Sequence[BothWays]) -> str:
    """The same samples without the chat template and with it."""
    if not scores:
        return block(element("p", said("tool_no_scores"), class_="quiet"))
    lines = [
        element("li", element("b", written(one.task)), " ", said(
            "tool_both_scores", metric=one.metric, n=one.n_samples, plain=f"{one.plain:.3f}",
            templated=f"{one.templated:.3f}",
        ))
        for one in scores
    ]  # fmt: skip
    return block(element("ul", *lines, class_="findings"), element("p", said("tool_both_about"), class_="quiet below"))


def _finding(finding: Finding) -> Markup:
    tasks = element("span", " · ", ", ".join(finding.tasks), class_="quiet")
    return element("li", SIGNS[finding.severity], " ", told(finding.text), tasks, class_=f"finding {finding.severity}")


def _prompt(prompt: FirstPrompt) -> Markup:
    title = element("h5", written(prompt.task), " · ", said("tool_first_prompt", n=len(prompt.tokens)))
    scored = None
    if prompt.scored_tokens:
        label = element("span", said("tool_scored_tokens"), class_="quiet")
        scored = element("p", label, " ", *_tokens(prompt.scored_tokens))
    tokens = element(
        "details", element("summary", said("tool_tokens_of_prompt")), element("p", *_tokens(prompt.tokens)),
        class_="fold-line",
    )  # fmt: skip
    return element("div", title, passage(prompt.text, shows_spaces=True), scored, tokens, class_="part")


def _tokens(tokens: Sequence[tuple[int, str]]) -> list[Markup]:
    shown = [
        element("code", written(word, shows_spaces=True), title=f"{token}", class_="token") for token, word in tokens
    ]
    if len(shown) <= 2 * SHOWN_TOKENS:
        return shown
    left_out = element("span", said("tool_more_tokens", n=len(shown) - 2 * SHOWN_TOKENS), class_="quiet")
    return [*shown[:SHOWN_TOKENS], left_out, *shown[-SHOWN_TOKENS:]]
