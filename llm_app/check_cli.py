"""What `benchmark` says before it starts: how prompts look, what is wrong with them, how long it will take."""

import argparse
import textwrap
from collections.abc import Iterator
from typing import Any

from llm_app.config import Settings
from llm_app.errors import UserError

SHOWN_TOKENS = 40  # at either end of a prompt


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that concern what is looked at, and allowed, beforehand."""
    parser.add_argument(
        "--check", action="store_true",
        help="Show the first prompts as sent, what is wrong with them, requests, tokens, time and memory; then stop.",
    )
    parser.add_argument(
        "--allow-code-execution", action="store_true",
        help="Let tasks such as humaneval and mbpp run code that the model writes, in a limited child process.",
    )


def refuse_code(options: argparse.Namespace, settings: Settings) -> None:
    """Raises: UserError where strangers could have code run."""
    if options.allow_code_execution and settings.is_public:
        raise UserError("A public demo never runs code that a model writes.", param="allow_code_execution")


def check(host: Any, names: list[str], asked: Any, settings: Settings) -> Iterator[str]:
    """Lines of the whole check; `asked` are TaskOptions."""
    from llm_app.jobs.answers import EngineModel
    from llm_app.jobs.benchmark import answering, load_suite
    from llm_app.jobs.doctor import examine, score_both_ways
    from llm_app.jobs.estimate import estimate, sentences

    if host.remote is not None:
        suite = load_suite(names, asked, settings, answering(host, None))
        yield from remote_lines(host, suite)
        return
    model = EngineModel(host, adapter=host.adapter)
    suite = load_suite(names, asked, settings, model)
    diagnosis = examine(model, host.loaded, suite.tasks, uses_chat_template=asked.uses_chat_template)
    for prompt in diagnosis.prompts:
        yield f"{prompt.task}: the first prompt, {len(prompt.tokens):,} tokens"
        yield textwrap.indent(prompt.text, "  | ", lambda line: True)
        yield f"  tokens: {_spelled(prompt.tokens)}"
        if prompt.scored_tokens:
            yield f"  scored: {_spelled(prompt.scored_tokens)}"
    yield from (_line(finding) for finding in diagnosis.findings)
    if not diagnosis.findings:
        yield "Nothing wrong was found with the prompts."
    yield from (english for english, _ in sentences(estimate(host, model, suite.tasks, adapter=host.adapter)))
    for both in score_both_ways(host, names, asked, adapter=host.adapter):
        yield (
            f"{both.task} {both.metric} on {both.n_samples} samples:"
            f" {both.plain:.4f} without the chat template, {both.templated:.4f} with it"
        )


def before_run(host: Any, suite: Any, *, uses_chat_template: bool) -> Iterator[str]:
    """The warnings, and a line on what is asked; measured where the run is long enough to be worth it."""
    from llm_app.jobs.answers import EngineModel
    from llm_app.jobs.doctor import examine
    from llm_app.jobs.estimate import count, estimate, is_short, sentences

    if host.remote is not None:
        yield from remote_lines(host, suite)
        return
    model = EngineModel(host, adapter=host.adapter)
    diagnosis = examine(model, host.loaded, suite.tasks, uses_chat_template=uses_chat_template)
    yield from (_line(finding) for finding in diagnosis.findings if finding.severity == "warning")
    work = count(host.loaded, model, suite.tasks)
    if is_short(work):
        yield f"{work.n_samples:,} samples, {work.n_requests:,} requests, {work.n_prompt_tokens:,} prompt tokens"
    else:
        made = estimate(host, model, suite.tasks, work=work, adapter=host.adapter)
        yield "; ".join(english for english, _ in sentences(made))


def remote_lines(host: Any, suite: Any) -> Iterator[str]:
    """What is known before another server is asked: it alone has the tokenizer, and nobody here knows its speed."""
    samples = [sample for task in suite.tasks.values() for sample in task.samples]
    n_requests = sum(len(sample.requests) for sample in samples)
    yield f"{len(samples):,} samples, {n_requests:,} requests to {host.remote.name}"


def _line(finding: Any) -> str:
    return f"{finding.severity}: {', '.join(finding.tasks)}: {finding.text[0]}"


def _spelled(tokens: tuple[tuple[int, str], ...]) -> str:
    shown = [f"{text!r}:{token}" for token, text in tokens]
    if len(shown) > 2 * SHOWN_TOKENS:
        left_out = len(shown) - 2 * SHOWN_TOKENS
        shown = [*shown[:SHOWN_TOKENS], f"... {left_out:,} more ...", *shown[-SHOWN_TOKENS:]]
    return " ".join(shown)
