"""Conversations from other programs, and ours as Markdown.

Read: our own JSON; lists of messages as OpenAI's API has them; ShareGPT; the `conversations.json` that ChatGPT exports.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llm_app.conversations.form import (
    MAX_BYTES,
    MAX_CONTENT,
    MAX_TITLE,
    MAX_TURNS,
    ConversationRefused,
    from_json,
    parsed,
    words,
)
from llm_app.conversations.tree import Conversation, new_id
from llm_app.messages import Message, Role

MAX_IMPORTED = 200  # conversations of one file
ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "bot": "assistant",
}  # fmt: skip


def read_conversations(data: bytes) -> list[Conversation]:
    """The conversations of a file, each under an id of its own, so that nothing that is kept is overwritten.

    Raises: ConversationRefused with the reason.
    """
    if len(data) > MAX_BYTES:
        raise ConversationRefused(f"The file has {len(data):,} bytes; {MAX_BYTES:,} are the limit.")
    value = parsed(data)
    rows = value if isinstance(value, list) and not _is_messages(value) else [value]
    if not rows:
        raise ConversationRefused("The file holds no conversation.")
    if len(rows) > MAX_IMPORTED:
        raise ConversationRefused(f"The file holds {len(rows):,} conversations; {MAX_IMPORTED} are the limit.")
    return [_conversation(row) for row in rows]


def as_markdown(conversation: Conversation) -> str:
    """The messages in sight, each under a heading, what they are made of unchanged."""
    parts = [f"# {' '.join(conversation.name.split()) or 'Conversation'}"]
    if conversation.system_prompt.strip():
        parts += ["## System", conversation.system_prompt]
    for turn in conversation.path:
        parts += ["## You" if turn.role == "user" else "## Model", turn.content]
        if turn.details is not None and turn.details.model:
            seed = "" if turn.details.seed is None else f", seed {turn.details.seed}"
            parts.append(f"*{turn.details.model}, {turn.details.n_output_tokens} tokens{seed}*")
    return "\n\n".join(parts) + "\n"


def _conversation(row: Any) -> Conversation:
    if isinstance(row, Mapping) and "proofbench" in row:
        return replace(from_json(row), id=new_id())
    if isinstance(row, Mapping) and isinstance(row.get("mapping"), Mapping):
        return Conversation.of(_mapped(row), _title(row))
    rows = _messages_of(row)
    if len(rows) > MAX_TURNS:
        raise ConversationRefused(f"A conversation in it has {len(rows):,} messages; {MAX_TURNS:,} are the limit.")
    return _made([_message(message) for message in rows], _title(row))


def _made(messages: list[Message], title: str) -> Conversation:
    if not any(message.role != "system" for message in messages):
        raise ConversationRefused("A conversation in it has no message.")
    return Conversation.of(messages, title)


def _is_messages(rows: list[Any]) -> bool:
    return bool(rows) and isinstance(rows[0], Mapping) and bool({"role", "from"} & rows[0].keys())


def _messages_of(row: Any) -> list[Any]:
    if isinstance(row, Mapping):
        row = next((row[key] for key in ("messages", "conversations", "conversation") if key in row), None)
    if not isinstance(row, list):
        raise ConversationRefused(
            "No messages were found. Import this program's JSON, a list of {role, content}, or ShareGPT."
        )
    return row


def _message(row: Any) -> Message:
    if not isinstance(row, Mapping):
        raise ConversationRefused("A message in it is not an object with a role and a content.")
    name = row.get("role", row.get("from"))
    role = ROLES.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        raise ConversationRefused(
            f"A message in it is by {str(name)[:40]!r}; only system, user and assistant can be read."
        )
    return Message(role, words(_text(row.get("content", row.get("value"))), "message", MAX_CONTENT))


def _text(content: Any) -> Any:
    """Text, also where it is given in parts."""
    if isinstance(content, Mapping):
        content = content.get("parts", content)
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
    if not all(isinstance(text, str) for text in texts):
        raise ConversationRefused("A message in it holds pictures or files; only text can be read.")
    return "\n\n".join(map(str, texts))


def _mapped(row: Mapping[str, Any]) -> Sequence[Message]:
    """The messages in sight of a tree that ChatGPT exported."""
    nodes, at, found, n_steps = row["mapping"], row.get("current_node"), [], 0
    while isinstance(at, str) and isinstance(nodes.get(at), Mapping) and n_steps <= MAX_TURNS:
        node, n_steps = nodes[at], n_steps + 1
        message = node.get("message")
        author = message.get("author") if isinstance(message, Mapping) else None
        role = ROLES.get(str(author.get("role"))) if isinstance(author, Mapping) else None
        content = _text(message.get("content")) if role is not None else None
        if role is not None and isinstance(content, str) and content.strip():  # tools and empty notes are left out
            found.append(Message(role, words(content, "message", MAX_CONTENT)))
        at = node.get("parent")
    if n_steps > MAX_TURNS or not any(message.role != "system" for message in found):
        raise ConversationRefused("A conversation in it has no message, or its messages run in a circle.")
    return list(reversed(found))


def _title(row: Any) -> str:
    title = row.get("title") if isinstance(row, Mapping) else None
    return words(title[:MAX_TITLE], "title", MAX_TITLE) if isinstance(title, str) else ""
