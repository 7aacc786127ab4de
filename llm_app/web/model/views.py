"""What the strip above all tabs and its fold show: pure functions."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gradio.i18n import I18nData

from llm_app.engine.fit import Fit, MemoryUse
from llm_app.web.text import STRINGS, both, filled, inert, label, pair
from llm_app.web.views import SEPARATOR, gigabytes, notice

# The names of the languages are written in themselves.
SWITCHES = (
    '<div class="switches"><button id="switch-language" type="button">'
    '<span class="en" lang="zh">中文</span><span class="zh" lang="en">English</span></button>'
    '<button id="switch-theme" type="button" title="Light or dark · 浅色 / 深色"'
    ' aria-label="Light or dark · 浅色 / 深色">◐</button></div>'
)
# What a template writes that others do not: the name that people know it by.
FAMILIES = (
    ("<|im_start|>", "ChatML"), ("<|start_header_id|>", "Llama 3"), ("<start_of_turn>", "Gemma"),
    ("[INST]", "Mistral / Llama 2"), ("<|assistant|>", "Zephyr / Phi"), ("<|start|>", "Harmony"),
)  # fmt: skip
# Written out, so that a test finds sentences that nothing shows.
PRECISION_NAMES = {
    "auto": "precision_auto", "fp32": "precision_fp32", "bf16": "precision_bf16", "int8": "precision_int8",
    "nf4": "precision_nf4", "fp4": "precision_fp4", "gguf": "precision_gguf",
}  # fmt: skip
DEVICE_NAMES = {"auto": "device_auto", "cpu": "device_cpu", "cuda": "device_cuda"}
Verdict = Literal["answers", "ready", "fits", "perhaps", "misfit", "unknown"]


@dataclass(frozen=True)
class AdapterLine:
    """An adapter of this machine; `why` explains `perhaps` and `misfit`."""

    name: str
    base: str
    verdict: Verdict
    why: str = ""


def choices(names: Mapping[str, str], values: Iterable[str]) -> list[tuple[I18nData, str]]:
    """Precisions or devices by the names that people know, each with its value."""
    return [(label(names[value]), value) for value in values]


def precision_html(name: str) -> str:
    """The name of a precision."""
    return both(PRECISION_NAMES[name]) if name in PRECISION_NAMES else inert(name)


def memory_meter(uses: Sequence[MemoryUse]) -> str:
    """Memory of the model out of what it could have, as in "0.4 / 21 GB", for each kind that there is."""
    meters = "".join(
        f'<div class="meter"><span class="caption">{both("memory_gpu" if use.is_gpu else "memory")}</span>'
        f"<b>{gigabytes(use.model_bytes)} / {gigabytes(use.limit_bytes)} GB</b></div>"
        for use in uses
    )
    return f'<div class="memory" title="{inert(SEPARATOR.join(filled("memory_help")))}">{meters}</div>'


def fit_line(fit: Fit) -> str:
    """Will it fit? And if it does not, what would."""
    needs, free = gigabytes(fit.needs_bytes), gigabytes(fit.free_bytes)
    if fit.fits:
        return notice(both("needs", needs=needs, free=free))
    if fit.suggestion is None:
        return notice(both("needs_too_much", needs=needs, free=free), "warning")
    values = {"needs": needs, "free": free, "lower": gigabytes(fit.suggestion_bytes)}
    names = STRINGS[PRECISION_NAMES[fit.suggestion]]
    english, chinese = (filled("needs_less", **values, precision=name)[n] for n, name in enumerate(names))
    use = f'<button type="button" class="act" name="precision" value="{fit.suggestion}">{both("use_it")}</button>'
    return notice(f"{pair((english, chinese))} {use}", "warning")


def progress(words: str, detail: str, fraction: float) -> str:
    """A line and a bar: what is under way, and how far. Takes HTML."""
    return (
        f'<div class="notice info" role="status"><span>{words}{SEPARATOR}{detail}</span>'
        f'<span class="bar low"><i style="width:{min(max(fraction, 0.0), 1.0):.1%}"></i></span></div>'
    )


def loading(model: str, phase: str | None, fraction: float) -> str:
    """The line of a model on its way in."""
    known = phase if phase in {"checking", "reading", "placing", "testing"} else "starting"
    return progress(both("loading", model=model), both(known), fraction)


def fetching(model: str, n_bytes: int, fraction: float) -> str:
    """The line of a model that is being downloaded."""
    detail = both("fetched_of", done=gigabytes(int(n_bytes * fraction)), size=gigabytes(n_bytes))
    return progress(both("fetching", model=model), detail, fraction)


def model_facts(title: str, precision: str, adapter: str | None, n_context: int) -> str:
    """One line on the model that answers now."""
    facts = [
        inert(title), precision_html(precision), *([inert(adapter)] if adapter else []),
        both("context_of", n=n_context),
    ]  # fmt: skip
    return f'<span class="dot" aria-hidden="true">●</span> {SEPARATOR.join(facts)}{SEPARATOR}{both("ready")}'


def remote_facts(name: str) -> str:
    """One line on a model of another server."""
    facts = SEPARATOR.join([inert(name), both("remote_answers"), both("ready")])
    return f'<span class="dot" aria-hidden="true">●</span> {facts}'


def adapter_table(lines: Sequence[AdapterLine]) -> str:
    """The adapters of this machine and whether they fit the loaded model."""
    caption = f'<h2 class="fold-title">{both("adapters_here")}</h2>'
    if not lines:
        return f'{caption}<p class="hint">{both("adapters_none")}</p>'
    head = "".join(f'<th scope="col">{both(name)}</th>' for name in ("adapter_name", "adapter_base", "adapter_fit"))
    rows = "".join(
        f'<tr><th scope="row">{inert(line.name)}</th><td>{inert(line.base)}</td>'
        f"<td>{_verdict(line)}{_act(line)}</td></tr>"
        for line in lines
    )
    return f'{caption}<table class="plain"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _verdict(line: AdapterLine) -> str:
    name = {
        "answers": "adapter_answers", "ready": "adapter_ready", "fits": "adapter_fits", "perhaps": "adapter_perhaps",
        "misfit": "adapter_misfit", "unknown": "adapter_unknown",
    }[line.verdict]  # fmt: skip
    return both(name, why=line.why)


def _act(line: AdapterLine) -> str:
    """The button that has it at hand, or takes it out."""
    is_in = line.verdict in ("answers", "ready")
    if not is_in and line.verdict not in ("fits", "perhaps"):
        return ""
    act, words = ("detach", "adapter_take_out") if is_in else ("attach", "adapter_have")
    return f'<button type="button" class="act" name="{act}" value="{inert(line.name)}">{both(words)}</button>'


def template_card(source: str | None, *, is_loaded: bool = True) -> str:
    """Which chat template was found, with its source a click away."""
    title = f'<h2 class="fold-title">{both("template")}</h2>'
    if not is_loaded:
        return f'{title}<p class="hint">{both("template_waits")}</p>'
    if source is None:
        return f'{title}<p class="hint">{both("template_missing")}</p>'
    family = next((name for sign, name in FAMILIES if sign in source), None)
    names = (family, family) if family else STRINGS["template_other"]
    english, chinese = (filled("template_found", family=name, n=len(source))[n] for n, name in enumerate(names))
    return (
        f'{title}<p class="hint">{pair((english, chinese))}</p><details><summary>{both("template_source")}</summary>'
        f'<pre class="prompt" tabindex="0">{inert(source)}</pre></details>'
    )


def prompt_card(prompt: str, n_tokens: int, specials: Iterable[str]) -> str:
    """A prompt as the model gets it: special tokens marked, line ends as they are."""
    signs = sorted({sign for sign in specials if sign}, key=len, reverse=True)
    parts = re.split(f"({'|'.join(map(re.escape, signs))})", prompt) if signs else [prompt]
    body = "".join(f"<mark>{inert(part)}</mark>" if n % 2 else inert(part) for n, part in enumerate(parts))
    return f'<pre class="prompt" tabindex="0">{body}</pre><p class="hint">{both("prompt_tokens", n=n_tokens)}</p>'
