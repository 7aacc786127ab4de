"""Conversations of any file as turns: many names of roles, contents in parts, tool calls; and their order checked."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llm_app.data import formats
from llm_app.data.types import RowRefused, Turn

# "call": an assistant that calls a tool, its content being the call.
ROLES: Mapping[str, str] = {
    **dict.fromkeys(("system", "developer", "系统"), "system"),
    **dict.fromkeys(("user", "human", "prompter", "用户", "问"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "claude", "bard", "bing", "model", "bot", "ai", "助手", "答"),
                    "assistant"),
    **dict.fromkeys(("function_call", "tool_call", "tool_calls"), "call"),
    **dict.fromkeys(("tool", "observation", "function", "function_response", "tool_response", "ipython"), "tool"),
}  # fmt: skip
WEIGHT_KEYS = ("loss_weight", "weight", "train")
KEPT_KEYS = ("name", "tool_call_id", "reasoning_content")  # templates know them


def text_of(value: Any, what: str, what_zh: str) -> str:
    """A cell as text, as it is.

    Raises: RowRefused if it is missing, empty, or a list or object.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | dict):
        kind = "a list" if isinstance(value, list) else "an object"
        raise RowRefused(f"{what} is {kind}, not text", f"{what_zh}不是文本")
    if value is None or not value.strip():
        raise RowRefused(f"{what} is empty", f"{what_zh}为空")
    return str(value)


def list_of(value: Any, what: str, what_zh: str) -> list[Any]:
    """A cell as a list; tables hold it as text in JSON. A missing or empty cell is an empty list.

    Raises: RowRefused if it is neither.
    """
    if isinstance(value, str) and value.strip():
        value = json_of(value, what, what_zh)
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise RowRefused(f"{what} is no list", f"{what_zh}不是列表")
    return value


def json_of(text: str, what: str, what_zh: str) -> Any:
    """Raises: RowRefused if the text is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RowRefused(f"{what} is not JSON: {text[:60]!r}", f"{what_zh}不是 JSON：{text[:60]!r}") from None


def turns_of(value: Any, mapping: "formats.Mapping") -> list[Turn]:
    """The turns of a list of messages, of a single one, or of that in JSON; their order is not checked here.

    Raises: RowRefused naming the turn.
    """
    messages = [value] if isinstance(value, dict) else list_of(value, "the conversation", "对话")
    turns: list[Turn] = []
    for number, message in enumerate(messages, start=1):
        turn = _turn(message, number, mapping)
        if turn is None:
            continue
        calls = turn.extra.get("tool_calls")
        last = turns[-1] if turns else None
        if calls and last is not None and last.role == "assistant" and not turn.content:
            # A file that writes each call as a turn of its own: for a template they are one.
            extra = {**last.extra, "tool_calls": [*last.extra.get("tool_calls", []), *calls]}
            turns[-1] = Turn("assistant", last.content, last.is_trained or turn.is_trained, extra)
        else:
            turns.append(turn)
    return turns


def check_order(turns: Sequence[Turn], *, ends_with_answer: bool = True) -> None:
    """Raises: RowRefused unless a system prompt comes first, users and assistants alternate, and tools are called."""
    before = "start"
    allowed = {
        "start": {"system", "user"}, "system": {"user"}, "user": {"assistant"}, "assistant": {"user"},
        "call": {"tool"}, "tool": {"tool", "assistant"},
    }  # fmt: skip
    for number, turn in enumerate(turns, start=1):
        if turn.role not in allowed[before]:
            after = {"start": "at the start", "call": "after a tool call"}.get(before, f"after a turn of {before}")
            raise RowRefused(f"turn {number} is of {turn.role} {after}", f"第 {number} 轮的角色 {turn.role} 次序不对")
        before = "call" if turn.extra.get("tool_calls") else turn.role
    if not turns:
        raise RowRefused("the conversation is empty", "对话为空")
    if ends_with_answer and turns[-1].role != "assistant":
        raise RowRefused(f"it ends with a turn of {turns[-1].role}: no answer to learn", "对话没有以回答结束，无可学习")
    if ends_with_answer and not any(turn.is_trained for turn in turns):
        raise RowRefused("no turn is to be learned: the file gives all of them weight 0", "没有要学习的轮次：权重皆 0")


def tools_of(value: Any) -> tuple[Mapping[str, Any], ...]:
    """What the model may call, each as `{"type": "function", "function": {...}}`.

    Raises: RowRefused for what is no list of objects.
    """
    tools = list_of(value, "tools", "工具")
    for tool in tools:
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RowRefused("a tool is no object with a name", "某个工具不是带名称的对象")
    return tuple(tool if "function" in tool else {"type": "function", "function": tool} for tool in tools)


def _turn(message: Any, number: int, mapping: "formats.Mapping") -> Turn | None:
    """A message as turn; None for an empty system prompt."""
    if not isinstance(message, dict):
        raise RowRefused(f"turn {number} is no object with role and content", f"第 {number} 轮不是带角色和内容的对象")
    role = _role(message, number, mapping)
    extra: dict[str, Any] = {key: message[key] for key in KEPT_KEYS if message.get(key)}
    content = _content(message, number, mapping, extra)
    calls = message.get("tool_calls") or message.get("function_call")
    if role == "call":
        calls, content, role = json_of(content, f"turn {number}", f"第 {number} 轮"), "", "assistant"
    if calls:
        if role != "assistant":
            raise RowRefused(f"turn {number} is of {role} and calls a tool", f"第 {number} 轮不是助手却调用了工具")
        calls = [calls] if isinstance(calls, dict) else calls
        extra["tool_calls"] = [*extra.get("tool_calls", []), *(_call(call, number) for call in calls)]
    if not content.strip() and role != "tool" and "tool_calls" not in extra:
        if role == "system":
            return None
        raise RowRefused(f"turn {number} ({role}) is empty", f"第 {number} 轮（{role}）为空")
    return Turn(role, content, role == "assistant" and _weight(message, number) > 0, extra)


def _role(message: Mapping[str, Any], number: int, mapping: "formats.Mapping") -> str:
    keys = [mapping.role_key] if mapping.role_key else formats.ROLE_KEYS
    name = next((message[key] for key in keys if key in message), None)
    role = mapping.roles.get(str(name)) or ROLES.get(str(name).strip().lower())
    if name is None:
        raise RowRefused(f"turn {number} has no role", f"第 {number} 轮没有角色")
    if role is None:
        shown = repr(str(name)[:40])
        raise RowRefused(f"turn {number} has the unknown role {shown}", f"第 {number} 轮的角色 {shown} 未知")
    return role


def _content(message: Mapping[str, Any], number: int, mapping: "formats.Mapping", extra: dict[str, Any]) -> str:
    keys = [mapping.content_key] if mapping.content_key else formats.CONTENT_KEYS
    value = next((message[key] for key in keys if key in message), None)
    if value is None:
        return ""
    if isinstance(value, list):
        return "".join(_part(part, number, extra) for part in value)
    if isinstance(value, str):
        return value
    if isinstance(value, dict):  # what a tool gave back, or a call
        return json.dumps(value, ensure_ascii=False)
    return text_of(value, f"turn {number}", f"第 {number} 轮")


def _part(part: Any, number: int, extra: dict[str, Any]) -> str:
    kind = part.get("type", "text") if isinstance(part, dict) else "text"
    value = part.get("text", part.get("value", "")) if isinstance(part, dict) else part
    if kind == "tool_call":
        call = json_of(value, f"turn {number}", f"第 {number} 轮") if isinstance(value, str) else value
        extra["tool_calls"] = [*extra.get("tool_calls", []), _call(call, number)]
        return ""
    if kind == "reasoning" and isinstance(value, str):
        extra["reasoning_content"] = extra.get("reasoning_content", "") + value
        return ""
    if kind not in ("text", "input_text", "output_text") or not isinstance(value, str):
        shown = repr(str(kind)[:40])
        raise RowRefused(f"turn {number} holds {shown}; only text is learned", f"第 {number} 轮含有非文本内容 {shown}")
    return value


def _call(call: Any, number: int) -> dict[str, Any]:
    """A call as templates take it: arguments as an object."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowRefused(f"turn {number} calls a tool without a name", f"第 {number} 轮调用的工具没有名称")
    arguments = function.get("arguments", function.get("parameters")) or {}
    if isinstance(arguments, str):
        arguments = json_of(arguments, f"turn {number}", f"第 {number} 轮")
    if not isinstance(arguments, dict):
        raise RowRefused(f"turn {number}: the arguments of a call are no object", f"第 {number} 轮的工具参数不是对象")
    found: dict[str, Any] = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    return {"id": call["id"], **found} if call.get("id") else found


def _weight(message: Mapping[str, Any], number: int) -> float:
    value = next((message[key] for key in WEIGHT_KEYS if message.get(key) is not None), 1.0)
    if not isinstance(value, int | float) or value < 0:
        shown = repr(str(value)[:20])
        raise RowRefused(f"turn {number} has the weight {shown}", f"第 {number} 轮的权重 {shown} 无效")
    return float(value)
