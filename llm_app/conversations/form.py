"""A conversation as JSON: the messages in sight in OpenAI's layout, and beside them the whole tree with its details.

The same form is the file on disk, the export, and what a visitor's browser keeps. Whoever reads it back trusts
nothing in it: a file may be torn, a browser may send what it likes.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from llm_app.conversations.tree import Conversation, Details, Turn
from llm_app.errors import UserError

VERSION = 1
MAX_BYTES = 8_000_000  # of one conversation
MAX_TURNS = 5_000  # of a whole tree
MAX_CONTENT = 400_000  # characters of one turn
MAX_TITLE = 200
MAX_SETTINGS = 40
ROLES = ("user", "assistant")
ID = re.compile(r"[a-z0-9]{12}")


class ConversationRefused(UserError):
    """What was read is no conversation of ours, or of a kind that can be taken in."""

    code = "conversation_refused"


def as_json(conversation: Conversation) -> dict[str, Any]:
    """The conversation as plain JSON values."""
    return {
        "messages": [{"role": message.role, "content": message.content} for message in conversation.messages()],
        "proofbench": {
            "version": VERSION,
            "id": conversation.id,
            "title": conversation.title,
            "system_prompt": conversation.system_prompt,
            "created": conversation.created,
            "updated": conversation.updated,
            "tip": conversation.tip,
            "turns": [_turn_json(turn) for turn in conversation.turns],
        },
    }


def as_text(conversation: Conversation) -> str:
    """The file's text."""
    return json.dumps(as_json(conversation), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def parsed(data: bytes | str) -> Any:
    """JSON of any kind.

    Raises: ConversationRefused if it is none.
    """
    try:
        return json.loads(data.decode("utf-8-sig") if isinstance(data, bytes) else data)
    except UnicodeDecodeError:
        raise ConversationRefused("The file is not UTF-8 text. Save it as UTF-8 and import it again.") from None
    except (ValueError, RecursionError):
        raise ConversationRefused("The file is not valid JSON; it may be cut off.") from None


def from_json(value: Any) -> Conversation:
    """The conversation that `as_json` wrote, every part of it checked.

    Raises: ConversationRefused.
    """
    kept = value.get("proofbench") if isinstance(value, Mapping) else None
    if not isinstance(kept, Mapping) or kept.get("version") != VERSION:
        raise ConversationRefused("This is not a conversation of this program, or one of a newer version of it.")
    rows = kept.get("turns")
    if not isinstance(rows, list) or len(rows) > MAX_TURNS:
        raise ConversationRefused(f"Its turns are not a list of at most {MAX_TURNS:,}.")
    conversation = Conversation(
        id=_id(kept.get("id")),
        title=words(kept.get("title", ""), "title", MAX_TITLE),
        turns=tuple(_turn(row) for row in rows),
        tip=words(kept.get("tip", ""), "tip", 40),
        system_prompt=words(kept.get("system_prompt", ""), "system prompt", MAX_CONTENT),
        created=_number(kept.get("created", 0.0)),
        updated=_number(kept.get("updated", 0.0)),
    )
    check_tree(conversation)
    return conversation


def check_tree(conversation: Conversation) -> None:
    """That every turn leads back to the start, and the tip is one of them.

    Raises: ConversationRefused.
    """
    known = conversation.by_id
    if len(known) != len(conversation.turns) or "" in known:
        raise ConversationRefused("Two of its turns have the same id.")
    if (conversation.tip and conversation.tip not in known) or bool(conversation.tip) != bool(known):
        raise ConversationRefused("The last turn in sight is not among its turns.")
    reaches_start = {""}
    for turn in conversation.turns:
        at = turn.id
        trail: list[str] = []
        while at not in reaches_start:
            if at not in known or len(trail) > len(known):
                raise ConversationRefused("Its turns do not lead back to a first one.")
            trail.append(at)
            at = known[at].parent
        reaches_start.update(trail)


def words(value: Any, what: str, limit: int) -> str:
    """Text that can be stored and shown.

    Raises: ConversationRefused.
    """
    if not isinstance(value, str):
        raise ConversationRefused(f"A {what} in it is not text.")
    if len(value) > limit:
        raise ConversationRefused(f"A {what} in it has {len(value):,} characters; {limit:,} are the limit.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ConversationRefused(f"A {what} in it is not valid Unicode.")
    return value


def _turn_json(turn: Turn) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": turn.id, "parent": turn.parent, "role": turn.role, "content": turn.content, "created": turn.created,
    }
    if turn.details is not None:
        row["details"] = asdict(turn.details)
    return row


def _turn(row: Any) -> Turn:
    if not isinstance(row, Mapping) or row.get("role") not in ROLES:
        raise ConversationRefused("One of its turns is neither the person's nor the model's.")
    return Turn(
        id=words(row.get("id"), "turn's id", 40),
        parent=words(row.get("parent"), "turn's parent", 40),
        role=row["role"],
        content=words(row.get("content"), "message", MAX_CONTENT),
        created=_number(row.get("created", 0.0)),
        details=_details(row["details"]) if row.get("details") is not None else None,
    )


def _details(row: Any) -> Details:
    """What is known of a reply; what is not of the kind that it should be is left out."""
    if not isinstance(row, Mapping):
        return Details()
    plain = Details()
    kept: dict[str, Any] = {}
    for item in fields(Details):
        value, default = row.get(item.name), getattr(plain, item.name)
        if item.name == "settings":
            kept["settings"] = _settings(value)
        elif item.name == "seed":
            kept["seed"] = value if type(value) is int and 0 <= value < 2**63 else None
        elif item.name == "adapter":
            kept["adapter"] = _short(value)
        elif isinstance(default, str):
            kept[item.name] = _short(value) or default
        elif isinstance(default, float):
            kept[item.name] = _number(value)
        else:
            kept[item.name] = max(0, int(_number(value)))
    return Details(**kept)


def _settings(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {}
    found: dict[str, Any] = {}
    for name, setting in list(value.items())[:MAX_SETTINGS]:
        if _short(name) is None:
            continue
        if isinstance(setting, bool | int | float) and abs(setting) < 2**63:
            found[name] = setting
        elif isinstance(setting, list):
            found[name] = [item for item in setting[:16] if _short(item) is not None]
        elif _short(setting) is not None:
            found[name] = setting
    return found


def _short(value: Any) -> str | None:
    is_text = isinstance(value, str) and len(value) <= 2_000
    return value if is_text and not any("\ud800" <= character <= "\udfff" for character in value) else None


def _number(value: Any) -> float:
    """A number that can be shown; else 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53
    return float(value) if is_number and math.isfinite(value) else 0.0


def _id(value: Any) -> str:
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise ConversationRefused("It has no id of this program.")
    return value
