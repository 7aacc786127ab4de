"""What the Chat tab shows of a conversation: pure functions from what happened to HTML and chat messages.

Text of people and models goes into the Chatbot only, which cleans it in the browser; HTML made here holds our own
words and escaped names. So nothing that a model writes can become markup in this file.
"""

import time
from collections.abc import Sequence
from typing import Any

from gradio.components.chatbot import Message as ShownMessage
from gradio.components.chatbot import TextMessage

from llm_app.config import SamplingConfig
from llm_app.conversations.tree import Conversation, Details, Turn
from llm_app.options import Text, options_of
from llm_app.remote.address import REMOTE
from llm_app.web.chat.markup import without_markup
from llm_app.web.chat.reply import Reply
from llm_app.web.text import both, filled, inert, pair
from llm_app.web.views import joined, notice, percent

NOTE_TITLE = "Speed, time to the first token, length, seed · 速度、首个词元的等待时间、长度、随机种子"
MAX_SHOWN = 80  # messages at once: a browser takes seconds to draw many hundred; the rest is a press away
EXCERPT = 40  # characters of a message by which it is named
ACTS = {"again": "act_again", "continue": "act_continue", "branch": "act_branch", "learn": "act_learn"}
ENDINGS = {
    "cancelled": "stopped", "length": "cut_at_length", "time": "cut_at_time", "failed": "failed", "edited": "edited",
}  # fmt: skip


def first_shown(conversation: Conversation) -> int:
    """How many messages of a long conversation are not drawn at first."""
    return max(0, len(conversation.path) - MAX_SHOWN)


def chat_messages(conversation: Conversation, first: int = 0) -> list[ShownMessage]:
    """The conversation for the Chatbot from the message `first` on: each message, and a line under it with what can be
    done about it.

    Content is always a TextMessage: a plain dictionary with a "path" would be served as a file, and a plain string
    would lose its indentation.
    """
    shown = conversation.path[first:]
    lines = [line(conversation, turn, n_before=first if turn is shown[0] else 0) for turn in shown]
    return [_shown(turn.role, turn.content, below) for turn, below in zip(shown, lines, strict=True)]


def writing_message(reply: Reply) -> ShownMessage:
    """A reply that is being written."""
    # Another server's tokens are counted at the end only.
    is_uncounted = bool(reply.content) and not reply.n_output_tokens
    note = _note(filled("writing") if is_uncounted else live_note(reply.n_output_tokens, reply.details))
    return _shown("assistant", reply.content, f'<div class="line">{note}</div>')


def _shown(role: str, content: str, below: str) -> ShownMessage:
    parts: list[Any] = [TextMessage(text=without_markup(content)), TextMessage(text=below)]
    return ShownMessage(role=role, content=parts)


def line(conversation: Conversation, turn: Turn, n_before: int = 0) -> str:
    """The line under a message: what it cost, its versions, and what can be done. One line of HTML without a break.

    `n_before` messages stand before it that are not drawn.
    """
    is_last = turn.id == conversation.tip
    acts = [_versions(conversation, turn)]
    if n_before:
        to = max(0, n_before - MAX_SHOWN)
        words = both("act_earlier", n=n_before)
        acts.append(f'<button type="button" class="act earlier" name="earlier" value="{to}">{words}</button>')
    if turn.role == "assistant" or is_last:
        acts.append(_button("again", turn.id))
    if turn.role == "assistant" and is_last and turn.content:
        acts.append(_button("continue", turn.id))
    acts.append(_button("branch", turn.id))
    if turn.role == "assistant" and turn.content:
        acts.append(_button("learn", turn.id, "act_learn_help"))
    note = _note(final_note(turn.details)) if turn.role == "assistant" else ""
    how = _how(turn) if turn.details is not None else ""
    return f'<div class="line {turn.role}">{note}<span class="acts">{"".join(acts)}</span>{how}</div>'


def _note(note: Text) -> str:
    return f'<small class="note" title="{NOTE_TITLE}">{pair(note)}</small>'


def _button(name: str, value: str, help_name: str = "") -> str:
    title = f' title="{inert(" · ".join(filled(help_name)))}"' if help_name else ""
    return f'<button type="button" class="act" name="{name}" value="{inert(value)}"{title}>{both(ACTS[name])}</button>'


def _versions(conversation: Conversation, turn: Turn) -> str:
    versions = conversation.versions(turn)
    if len(versions) == 1:
        return ""
    at = versions.index(turn)

    def arrow(sign: str, name: str, to: int) -> str:
        title = " · ".join(filled(name))
        if not 0 <= to < len(versions):
            return f'<span class="arrow">{sign}</span>'
        shown = f'name="show" value="{inert(versions[to].id)}" title="{title}"'
        return f'<button type="button" class="act arrow" {shown}>{sign}</button>'

    count = f'<span class="count">{at + 1} / {len(versions)}</span>'
    return f'<span class="versions">{arrow("◀", "older", at - 1)}{count}{arrow("▶", "newer", at + 1)}</span>'


def _how(turn: Turn) -> str:
    rows = "".join(
        f"<tr><th>{both(name)}</th><td>{value}</td></tr>" for name, value in details_rows(turn)
    )
    return f'<details class="how"><summary>{both("details")}</summary><table>{rows}</table></details>'


def details_rows(turn: Turn) -> list[tuple[str, str]]:
    """Names of labels and HTML of values: how a reply came about."""
    details = turn.details or Details()
    rows = [
        ("used_model", inert(details.model)),
        ("used_precision", inert(details.precision)),
        ("used_adapter", inert(details.adapter or "")),
        ("n_prompt_tokens", f"{details.n_prompt_tokens:,}" if details.n_prompt_tokens else ""),
        ("output_tokens", f"{details.n_output_tokens:,}" if details.model and _is_counted(details) else ""),
        ("time_to_first", f"{details.seconds_to_first_token * 1000:,.0f} ms" if details.n_output_tokens else ""),
        ("speed", f"{details.tokens_per_second:,.1f} tok/s" if details.tokens_per_second else ""),
        ("seed_used", "" if details.seed is None else str(details.seed)),
        ("left_out", both("message_count", n=details.n_cut) if details.n_cut else ""),
        ("sampling", _settings(details)),
        ("written_at", time.strftime("%Y-%m-%d %H:%M", time.localtime(turn.created)) if turn.created else ""),
    ]
    return [(name, value) for name, value in rows if value]


def _settings(details: Details) -> str:
    """The options that were not at their default, in the order of the form; a fresh reply with none says so."""
    if not details.model:
        return ""
    named = [
        (info.label, details.settings[item.name])
        for item, info in options_of(SamplingConfig) if item.name in details.settings
    ]
    return ", ".join(f"{pair(label)} {inert(_value(value))}" for label, value in named) or both("all_default")


def _value(value: object) -> str:
    return " | ".join(map(repr, value)) if isinstance(value, list) else " ".join(str(value).split())


def live_note(n_tokens: int, details: Details | None = None) -> Text:
    """The line under a reply that is being written. It stands from the start, so that the end moves nothing.

    Without `details` it says nothing of the speed, which would tell a 4-bit model from another.
    """
    if n_tokens == 0:
        return filled("waiting")
    return joined(filled("writing"), *(_pace(details) if details else ()), _tokens(n_tokens))


def final_note(details: Details | None) -> Text:
    """Speed, time to first token, length and seed; and how it ended, if not by itself."""
    if details is None:
        return filled("imported")
    ending = filled(ENDINGS[details.ending]) if details.ending in ENDINGS else ("", "")
    if details.ending == "failed":
        return joined(ending, filled("request", id=details.request))
    if details.ending == "edited":
        return ending
    parts = [ending, *_pace(details), *([_tokens(details.n_output_tokens)] if _is_counted(details) else [])]
    if details.seed is not None:
        parts.append(filled("seed", seed=details.seed))
    return joined(*parts)


def _is_counted(details: Details) -> bool:
    """Whether the tokens are known: of a reply that was stopped, another server does not say."""
    return details.n_output_tokens > 0 or details.precision != REMOTE


def _pace(details: Details) -> list[Text]:
    """Tokens a second and the time to the first one, as far as there are any."""
    parts = []
    if details.tokens_per_second:
        parts.append(filled("tokens_per_second", n=details.tokens_per_second))
    if details.n_output_tokens:
        parts.append(filled("first_token", ms=details.seconds_to_first_token * 1000))
    return parts


def _tokens(n: int) -> Text:
    return filled("token") if n == 1 else filled("tokens", n=n)


def cut_notice(details: Details) -> str:
    """What should be known before the reply is read: that the model did not see the whole conversation."""
    return notice(both("messages_cut", n=details.n_cut), "warning") if details.n_cut else ""


def context_of(conversation: Conversation) -> str:
    """How full the context was at the last reply in sight, and which messages it could not hold."""
    replied = [turn.details for turn in conversation.path if turn.details is not None and turn.details.n_context]
    if not replied:
        return ""
    last = replied[-1]
    sent = [turn for turn in conversation.path if turn.content]
    return context_bar(last.n_prompt_tokens + last.n_output_tokens, last.n_context, sent[: last.n_cut])


def context_bar(n_used: int, n_context: int, cut: Sequence[Turn] = ()) -> str:
    """How full the context is, and what was cut from its front; nothing before the first reply."""
    if not n_context:
        return ""
    share = min(1.0, n_used / n_context)
    level = "full" if share >= 0.9 else "high" if share >= 0.7 else "low"
    left_out = ""
    if cut:
        words = both("context_cut", n=len(cut), first=_excerpt(cut[0]), last=_excerpt(cut[-1]))
        left_out = f'<div class="context-cut">{words}</div>'
    return (
        f'<div class="context" title="{inert(filled("context_help")[0])}">'
        f'<div class="context-head"><span>{both("context")}</span><span>{percent(share)}</span></div>'
        f'<div class="bar {level}" role="meter" aria-valuemin="0" aria-valuemax="{n_context}" aria-valuenow="{n_used}"'
        f' aria-label="{inert(filled("context")[0])}"><i style="width:{share:.1%}"></i></div>'
        f'<div class="context-foot">{both("context_used", used=n_used, total=n_context)}</div>{left_out}</div>'
    )


def _excerpt(turn: Turn) -> str:
    words = " ".join(turn.content[: EXCERPT * 4].split())
    return words if len(words) <= EXCERPT else words[: EXCERPT - 1].rstrip() + "…"
