"""What the Chat tab shows: pure functions from what happened to HTML and chat messages.

Text of people and models goes into the Chatbot only, which cleans it in the browser; HTML made here holds our own
words and escaped names. So nothing that a model writes can become markup in this file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradio.components.chatbot import Message as ShownMessage
from gradio.components.chatbot import TextMessage

from llm_app.messages import Message, Role, Usage
from llm_app.options import Text
from llm_app.web.chat.markup import without_markup
from llm_app.web.text import both, filled, inert, pair
from llm_app.web.views import joined, percent

NOTE_TITLE = "Speed, time to the first token, length, seed · 速度、首个词元的等待时间、长度、随机种子"


@dataclass(frozen=True)
class Turn:
    """One message of a conversation as the page keeps it; `note` is the small line under a reply."""

    role: Role
    content: str
    note: Text = ("", "")


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
    return joined(filled("writing"), _tokens(n_tokens))


def final_note(usage: Usage, reason: str | None) -> Text:
    """Speed, time to first token, length and seed; and how it ended, if not by itself."""
    parts = [_ending(reason)] if _ending(reason) else []
    if usage.tokens_per_second:
        parts.append(filled("tokens_per_second", n=usage.tokens_per_second))
    if usage.n_output_tokens:
        parts.append(filled("first_token", ms=usage.seconds_to_first_token * 1000))
    parts += [_tokens(usage.n_output_tokens), filled("seed", seed=usage.seed)]
    return joined(*parts)


def failed_note(request_id: str) -> Text:
    """The line under a reply that the model could not finish."""
    return joined(filled("failed"), filled("request", id=request_id))


def _ending(reason: str | None) -> Text:
    names = {"cancelled": "stopped", "length": "cut_at_length", "time": "cut_at_time"}
    return filled(names[reason]) if reason in names else ("", "")


def _tokens(n: int) -> Text:
    return filled("token") if n == 1 else filled("tokens", n=n)


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
