"""What to show: pure functions from what happened to HTML and chat messages.

Text of people and models goes into the Chatbot only, which cleans it in the browser; HTML made here holds our own
words and escaped names. So nothing that a model writes can become markup in this file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradio.components.chatbot import Message as ShownMessage
from gradio.components.chatbot import TextMessage

from llm_app.errors import UserError
from llm_app.messages import Message, Role, Usage
from llm_app.options import Text
from llm_app.web.markup import without_markup
from llm_app.web.text import ERRORS_ZH, both, filled, inert, pair

GIGA = 10**9
SEPARATOR = " · "
NOTE_TITLE = "Speed, time to the first token, length, seed · 速度、首个词元的等待时间、长度、随机种子"

# The names of the languages are written in themselves.
SWITCHES = (
    '<div class="switches"><button id="switch-language" type="button">'
    '<span class="en" lang="zh">中文</span><span class="zh" lang="en">English</span></button>'
    '<button id="switch-theme" type="button" title="Light or dark · 浅色 / 深色"'
    ' aria-label="Light or dark · 浅色 / 深色">◐</button></div>'
)


@dataclass(frozen=True)
class Turn:
    """One message of a conversation as the page keeps it; `note` is the small line under a reply."""

    role: Role
    content: str
    note: Text = ("", "")


class SentenceError(UserError):
    """A mistake that the page itself finds, said in both languages."""

    def __init__(self, name: str, **values: object) -> None:
        self.text = filled(name, **values)
        super().__init__(self.text[0])


def chat_messages(turns: Sequence[Turn]) -> list[ShownMessage]:
    """The conversation for the Chatbot.

    Content is always a TextMessage: a plain dictionary with a "path" would be served as a file, and a plain string
    would lose its indentation.
    """
    return [_shown(turn) for turn in turns]


def _shown(turn: Turn) -> ShownMessage:
    parts: list[Any] = [TextMessage(text=without_markup(turn.content))]
    if turn.note != ("", ""):
        parts.append(TextMessage(text=f'<small class="note" title="{NOTE_TITLE}">{pair(turn.note)}</small>'))
    return ShownMessage(role=turn.role, content=parts)


def model_messages(turns: Sequence[Turn], system_prompt: str) -> list[Message]:
    """The conversation for the model: the system prompt first, replies that came to nothing left out."""
    messages = [Message("system", system_prompt)] if system_prompt.strip() else []
    return messages + [Message(turn.role, turn.content) for turn in turns if turn.content]


def with_reply(turns: Sequence[Turn], content: str, note: Text) -> list[Turn]:
    """The conversation with its last turn, the reply, brought up to date."""
    return [*turns[:-1], replace(turns[-1], content=content, note=note)]


def live_note(n_tokens: int) -> Text:
    """The line under a reply that is being written. It stands from the start, so that the end moves nothing."""
    if n_tokens == 0:
        return filled("waiting")
    return _joined(filled("writing"), _tokens(n_tokens))


def final_note(usage: Usage, reason: str | None) -> Text:
    """Speed, time to first token, length and seed; and how it ended, if not by itself."""
    parts = [_ending(reason)] if _ending(reason) else []
    if usage.tokens_per_second:
        parts.append(filled("tokens_per_second", n=usage.tokens_per_second))
    if usage.n_output_tokens:
        parts.append(filled("first_token", ms=usage.seconds_to_first_token * 1000))
    parts += [_tokens(usage.n_output_tokens), filled("seed", seed=usage.seed)]
    return _joined(*parts)


def failed_note(request_id: str) -> Text:
    """The line under a reply that the model could not finish."""
    return _joined(filled("failed"), filled("request", id=request_id))


def _ending(reason: str | None) -> Text:
    names = {"cancelled": "stopped", "length": "cut_at_length", "time": "cut_at_time"}
    return filled(names[reason]) if reason in names else ("", "")


def _tokens(n: int) -> Text:
    return filled("token") if n == 1 else filled("tokens", n=n)


def _joined(*parts: Text) -> Text:
    shown = [part for part in parts if part != ("", "")]
    return SEPARATOR.join(part[0] for part in shown), SEPARATOR.join(part[1] for part in shown)


def notice(html: str, kind: str = "info") -> str:
    """A quiet line where something happened; `kind` is info, warning or error."""
    role = "alert" if kind == "error" else "status"
    return f'<div class="notice {kind}" role="{role}">{html}</div>'


def error_notice(error: Exception, request_id: str) -> str:
    """What went wrong, what to do, and a number to ask about; never a trace, a path or a class name."""
    return notice(f"{error_html(error)} {request_html(request_id)}", "error")


def error_html(error: Exception) -> str:
    """The sentence for one error, in both languages."""
    if not isinstance(error, UserError):
        return both("internal_error")
    if isinstance(error, SentenceError):
        return pair(error.text)
    meaning = ERRORS_ZH.get(error.code)
    chinese = f"{meaning}：{error.message}" if meaning else error.message
    return pair((error.message, chinese))


def request_html(request_id: str) -> str:
    """The request number, set apart."""
    return f'<span class="request">{both("request", id=request_id)}</span>'


def context_bar(n_used: int, n_context: int) -> str:
    """How full the context is; nothing before the first reply."""
    if not n_context:
        return ""
    share = min(1.0, n_used / n_context)
    level = "full" if share >= 0.9 else "high" if share >= 0.7 else "low"
    return (
        f'<div class="context" title="{inert(filled("context_help")[0])}">'
        f'<div class="context-head"><span>{both("context")}</span><span>{percent(share)}</span></div>'
        f'<div class="bar {level}" role="meter" aria-valuemin="0" aria-valuemax="{n_context}" aria-valuenow="{n_used}"'
        f' aria-label="{inert(filled("context")[0])}"><i style="width:{share:.1%}"></i></div>'
        f'<div class="context-foot">{both("context_used", used=n_used, total=n_context)}</div></div>'
    )


def percent(share: float) -> str:
    """0.4 %, 12 %: a tenth where it matters."""
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def memory_meter(n_used_bytes: int, n_available_bytes: int) -> str:
    """Memory of the model out of what it could have, as in "0.4 / 21 GB"."""
    return (
        f'<div class="memory" title="{inert(filled("memory_help")[0])}"><span class="caption">{both("memory")}</span>'
        f"<b>{gigabytes(n_used_bytes)} / {gigabytes(n_available_bytes)} GB</b></div>"
    )


def gigabytes(n_bytes: int) -> str:
    """Two figures that matter: 0.11, 0.4, 21."""
    value = n_bytes / GIGA
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.95 or value == 0 else f"{value:.2f}"


def progress(model: str, phase: str | None, fraction: float) -> str:
    """The line and the bar of a model on its way in."""
    name = both("loading", model=model)
    phase_html = both(phase if phase in {"checking", "reading", "placing", "testing"} else "starting")
    return (
        f'<div class="notice info" role="status"><span>{name}{SEPARATOR}{phase_html}</span>'
        f'<span class="bar low"><i style="width:{min(max(fraction, 0.0), 1.0):.1%}"></i></span></div>'
    )


def model_facts(title: str, precision: str, adapter: str | None, n_context: int) -> str:
    """One line on the model that answers now."""
    facts = [inert(title), inert(precision), *([inert(adapter)] if adapter else []), both("context_of", n=n_context)]
    return f'<span class="dot" aria-hidden="true">●</span> {SEPARATOR.join(facts)}{SEPARATOR}{both("ready")}'
