"""Which layout a table has, and which column is what: found out, shown to the person, and correctable."""

import dataclasses
import json
import re
from collections import abc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_app.data.table import Table
from llm_app.errors import UserError

LAYOUTS = ("alpaca", "sharegpt", "messages", "prompt_completion", "preference", "text", "none")
COLUMNS = (
    "prompt", "input", "response", "system", "history", "messages", "tools", "instances", "chosen", "rejected", "label",
    "text",
)  # fmt: skip
# What each layout cannot do without; of names in one string any.
NEEDS: abc.Mapping[str, tuple[str, ...]] = {
    "alpaca": ("prompt", "response instances"), "sharegpt": ("messages",), "messages": ("messages",),
    "prompt_completion": ("prompt", "response"), "preference": ("chosen", "rejected"), "text": ("text",), "none": (),
}  # fmt: skip
# Usual names in lower case, the most telling first.
NAMES: abc.Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "query", "instruction", "problem", "user", "human", "input", "source", "article",
               "document", "问题", "提问", "指令", "题目", "输入", "问", "用户", "原文", "文章"),
    "response": ("completion", "response", "output", "answer", "reply", "assistant", "gpt", "solution", "target",
                 "summary", "highlights", "回答", "答案", "回复", "输出", "答", "助手", "目标", "摘要"),
    "input": ("input", "context", "输入", "上下文"),
    "system": ("system", "system_prompt", "系统", "系统提示"),
    "history": ("history", "历史", "历史对话"),
    "messages": ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "对话", "消息"),
    "tools": ("tools", "functions", "工具"),
    "chosen": ("chosen", "preferred", "选中", "优选"),
    "rejected": ("rejected", "dispreferred", "拒绝"),
    "label": ("label", "kto_tag", "标签"),
    "text": ("text", "content", "document", "body", "raw_content", "sentence", "文本", "内容", "正文"),
}  # fmt: skip
ROLE_KEYS, CONTENT_KEYS = ("role", "from", "speaker"), ("content", "value", "text")
# Where many files of plain text put the answer, if it is in every row.
SPLITS = ("### Response:\n", "### Answer:\n", "\nAssistant: ", "\nAnswer: ", "\nA: ", "\n回答：", "\n答案：", "\n答：")
NOT_RAW = ("system", "history", "tools")  # what raw text has no place for
SAMPLE_ROWS = 200
_TEMPLATED = re.compile(
    r"(### ?\w+:?|\[/INST\]|<\|im_start\|>\s*assistant|<\|assistant\|>|<start_of_turn>model"
    r"|\b(Assistant|Answer|Response|Output|A):|(回答|答案|答|输出)[:：]|->)\s*$"
)


@dataclass(frozen=True)
class Mapping:
    """How rows become examples: the layout, and the column of each thing it needs; None where there is none.

    `is_chat`: question and answer go through the chat template; else they are raw text, one right after the other,
    without system prompt, history or tools. Conversations always go through it.
    `split_at`: a text up to and with its last such separator is the prompt, the rest the completion.
    `role_key`, `content_key` of a turn are found by themselves where None; `roles` adds to the usual names of roles.
    `label`: rows where it is false are bad answers and no examples.
    """

    layout: str
    prompt: str | None = None
    input: str | None = None
    response: str | None = None
    system: str | None = None
    history: str | None = None
    messages: str | None = None
    tools: str | None = None
    instances: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    label: str | None = None
    text: str | None = None
    is_chat: bool = True
    split_at: str | None = None
    role_key: str | None = None
    content_key: str | None = None
    # Name in the file -> system, user, assistant, tool, or call (an assistant whose words are a tool call).
    # name in the file -> system, user, assistant, tool or call; a dict has no hash, and the rest is enough for one
    roles: abc.Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise UserError(f"layout must be one of {', '.join(LAYOUTS)}, not {self.layout!r}.", param="layout")

    def to_json(self) -> dict[str, Any]:
        """What is not the default, as JSON has it."""
        defaults = Mapping(self.layout)
        changed = {name: value for name, value in dataclasses.asdict(self).items() if value != getattr(defaults, name)}
        return {"layout": self.layout, **changed}

    @classmethod
    def from_json(cls, values: abc.Mapping[str, Any]) -> "Mapping":
        """Raises: UserError naming what is unknown or of the wrong type."""
        names = {item.name for item in dataclasses.fields(cls)}
        for name, value in values.items():
            wanted: Any = bool if name == "is_chat" else abc.Mapping if name == "roles" else (str, type(None))
            if name not in names or not isinstance(value, wanted):
                raise UserError(f"A mapping has no {name!r} of this kind: {str(value)[:60]!r}.", param=name)
        if not isinstance(values.get("layout"), str):
            raise UserError("A mapping needs a layout.", param="layout")
        return cls(**values)


def detect(table: Table) -> Mapping:
    """What the names and the first values of the columns speak for; layout none where that is nothing."""
    columns = _Columns(table)
    for guess in (_preference, _conversation, _seed_tasks, _alpaca, _prompt_completion, _plain):
        mapping = guess(columns)
        if mapping is not None:
            return mapping
    return Mapping("none")


class _Columns:
    """Columns found by their usual names, and the first values of each."""

    def __init__(self, table: Table) -> None:
        self.names = table.columns
        self._lower = {name.strip().lower(): name for name in reversed(table.columns)}
        self._rows = table.rows[:SAMPLE_ROWS]

    def find(self, *whats: str) -> dict[str, Any]:
        """For each thing the first of its usual names that is there; a column stands for one thing only."""
        found: dict[str, Any] = {}
        for what in whats:
            found[what] = next(
                (self._lower[name] for name in NAMES[what]
                 if name in self._lower and self._lower[name] not in found.values()),
                None,
            )  # fmt: skip
        return found

    def values(self, column: str) -> list[Any]:
        """The first values that are not missing."""
        return [row.cells[column] for row in self._rows if row.cells.get(column) not in (None, "")]

    def all(self, column: str, kind: type | tuple[type, ...]) -> bool:
        """Whether there are values, all of this type."""
        values = self.values(column)
        return bool(values) and all(isinstance(value, kind) for value in values)

    def has(self, name: str) -> bool:
        """Whether a column has just this name."""
        return name in self.names

    def label(self) -> str | None:
        """A column of true and false, as KTO has it."""
        name = self.find("label")["label"]
        if name is None:
            return None
        return name if {str(value).lower() for value in self.values(name)} <= {"true", "false"} else None


def _preference(columns: _Columns) -> Mapping | None:
    found = columns.find("chosen", "rejected", "messages", "prompt", "input", "system", "tools")
    if not found["chosen"] or not found["rejected"]:
        return None
    if found["messages"] and not _are_turns(columns.values(found["messages"])):
        found["messages"] = None
    if found["messages"]:
        return Mapping("preference", **_without(found, "prompt", "input"))
    return Mapping("preference", **found, is_chat=_is_chat(columns, found))


def _conversation(columns: _Columns) -> Mapping | None:
    named = columns.find("messages")["messages"]
    for name in [named, *columns.names] if named else columns.names:
        turns = _first_turns(columns.values(name))
        if turns is None:
            continue
        rest = columns.find("system", "tools")
        layout = "messages" if "role" in turns[0] else "sharegpt"
        rest = {what: column for what, column in rest.items() if column != name}
        if columns.find("prompt")["prompt"] == name:  # prompt and completion, both as messages
            return None
        return Mapping(layout, messages=name, label=columns.label(), **rest)
    return None


def _seed_tasks(columns: _Columns) -> Mapping | None:
    prompt = columns.find("prompt")["prompt"]
    if prompt and columns.has("instances") and columns.all("instances", list):
        return Mapping("alpaca", prompt=prompt, instances="instances")
    return None


def _alpaca(columns: _Columns) -> Mapping | None:
    names = {name.strip().lower(): name for name in columns.names}
    prompt = names.get("instruction") or names.get("指令")
    found = columns.find("response", "input", "system", "history", "tools")
    if prompt is None or found["response"] is None:
        return None
    # Among several answers the one that Alpaca's files have.
    found["response"] = names.get("output") or names.get("输出") or found["response"]
    return Mapping("alpaca", prompt=prompt, **found, label=columns.label())


def _prompt_completion(columns: _Columns) -> Mapping | None:
    found = columns.find("prompt", "response", "system", "history", "tools")
    prompt = found["prompt"]
    label = columns.label()
    if prompt is None:
        found["prompt"] = prompt = columns.find("text")["text"]
    if found["response"] is None and label is None:  # text and its class in words
        name = columns.find("label")["label"]
        is_words = name is not None and columns.all(name, str) and not any(map(_is_number, columns.values(name)))
        found["response"] = name if is_words else None
    if prompt is None or found["response"] is None:
        return None
    return Mapping("prompt_completion", **found, label=label, is_chat=_is_chat(columns, found))


def _plain(columns: _Columns) -> Mapping | None:
    name = columns.find("text")["text"] or (columns.names[0] if len(columns.names) == 1 else None)
    if name is None or not columns.all(name, str):
        return None
    texts = columns.values(name)
    splits = [split for split in SPLITS if all(_is_split(text, split) for text in texts)]
    return Mapping("text", text=name, split_at=splits[0] if splits else None, is_chat=False)


def _is_split(text: str, separator: str) -> bool:
    before, _, after = text.rpartition(separator)
    return bool(before.strip() and after.strip())


def _is_chat(columns: _Columns, found: abc.Mapping[str, Any]) -> bool:
    """Not if most prompts end in words that ask for the answer: they have a template of their own."""
    if any(found.get(what) for what in NOT_RAW):
        return True
    prompt = found["prompt"]
    texts = [value for value in columns.values(prompt) if isinstance(value, str)] if prompt else []
    return sum(bool(_TEMPLATED.search(text)) for text in texts) <= len(texts) / 2


def _first_turns(values: Sequence[Any]) -> list[dict[str, Any]] | None:
    for value in values[:10]:
        if isinstance(value, str) and value.lstrip().startswith("["):  # a table holds lists as text
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                continue
        if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
            keys = set(value[0])
            if keys & set(ROLE_KEYS) and keys & {*CONTENT_KEYS, "tool_calls"}:
                return value
    return None


def _are_turns(values: Sequence[Any]) -> bool:
    return _first_turns(values) is not None


def _is_number(value: object) -> bool:
    return bool(re.fullmatch(r"\s*[+-]?[\d.]+\s*", str(value)))


def _without(found: abc.Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {what: column for what, column in found.items() if what not in names}
