"""What a table probably is: its kind, and which column is what. Guesses only; the person decides."""

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from eval.tasks.own_file import Kind
from eval.tasks.own_rows import Row

# What each kind needs, in the order in which a form asks for it.
ROLES: Mapping[Kind, tuple[str, ...]] = {
    "exact_match": ("question", "answer"),
    "multiple_choice": ("question", "choices", "answer"),
    "classification": ("text", "label"),
    "generation": ("source", "target"),
    "perplexity": ("text",),
}
NAMES: Mapping[str, tuple[str, ...]] = {
    "question": (
        "question", "query", "prompt", "instruction", "problem", "input", "text", "问题", "题目", "题干", "输入",
    ),
    "answer": (
        "answer", "answers", "gold", "solution", "correct", "target", "output", "label", "答案", "回答", "正确答案",
    ),
    "choices": ("choices", "options", "candidates", "选项", "候选"),
    "text": (
        "text", "sentence", "review", "content", "comment", "document", "body", "文本", "句子", "内容", "评论", "正文",
    ),
    "label": ("label", "class", "category", "sentiment", "intent", "topic", "target", "标签", "类别", "分类", "情感"),
    "source": (
        "source", "src", "input", "document", "article", "text", "question", "prompt", "原文", "源文", "输入", "文章",
    ),
    "target": (
        "target", "reference", "references", "translation", "summary", "output", "completion", "response", "tgt",
        "译文", "参考", "摘要", "输出", "目标",
    ),
}  # fmt: skip
MAX_LABELS = 20
SHORT_ANSWER_CHARACTERS = 40
_LETTER_COLUMN = re.compile(r"((?:choice|option|ending|选项)?[_ ]?)([A-Za-z]|\d{1,2})", re.IGNORECASE)
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


def guess_kind(columns: Sequence[str], rows: Sequence[Row]) -> Kind:
    """The kind that names and values of the columns speak for."""
    lower = {column.lower() for column in columns}

    def has(role: str, n_names: int = 99) -> bool:
        return bool(lower & set(NAMES[role][:n_names]))

    if choice_columns(columns, rows):
        return "multiple_choice"
    if lower & (set(NAMES["label"]) - {"target"}):
        return "classification"
    if lower & (set(NAMES["answer"]) - {"target", "output", "label"}):
        return "exact_match"
    if has("target"):
        return "generation"
    if len(columns) == 1:
        return "perplexity"
    values = [str(row.cells.get(columns[-1], "")) for row in rows]
    if 2 <= len(set(values)) <= min(MAX_LABELS, max(len(values) // 2, 2)):
        return "classification"
    is_short = sum(len(value) <= SHORT_ANSWER_CHARACTERS for value in values) > len(values) / 2
    return "exact_match" if is_short else "generation"


def guess_columns(kind: Kind, columns: Sequence[str], rows: Sequence[Row]) -> dict[str, str | list[str] | None]:
    """Column by role, several for the choices of a table; each is used once. None where nothing is left."""
    found: dict[str, str | list[str] | None] = {}
    left = list(columns)
    if kind == "multiple_choice":
        found["choices"] = choices = choice_columns(columns, rows)
        left = [column for column in left if column not in (choices or ())]
    roles = [role for role in ROLES[kind] if role != "choices"]
    for role in roles:
        named = [column for name in NAMES[role] for column in left if column.lower() == name]
        if named:
            found[role] = named[0]
            left.remove(named[0])
    for role in roles:
        if role not in found:
            found[role] = _longest(left, rows) if role == roles[0] else left[-1] if left else None
            left = [column for column in left if column != found[role]]
    return {role: found.get(role) for role in ROLES[kind]}


def choice_columns(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """The column with a list of choices, or the columns that hold one each: A, B, C… or choice_1, choice_2…"""
    for column in columns:
        if column.lower() in NAMES["choices"] and any(isinstance(row.cells.get(column), list) for row in rows):
            return [column]
    groups: dict[str, dict[str, str]] = {}
    for column in columns:
        if match := _LETTER_COLUMN.fullmatch(column.strip()):
            groups.setdefault(match[1].lower(), {})[match[2].upper()] = column
    for group in sorted(groups.values(), key=len, reverse=True):
        signs = sorted(group, key=lambda sign: (len(sign), sign))
        counts = ([*string.ascii_uppercase[: len(signs)]], [*map(str, range(len(signs)))],
                  [*map(str, range(1, len(signs) + 1))])  # fmt: skip
        if len(signs) >= 2 and signs in counts:
            return [group[sign] for sign in signs]
    return []


def guess_language(rows: Sequence[Row]) -> str:
    """zh where a good part of the first rows is Chinese, else en."""
    words = "".join(str(value) for row in rows for value in row.cells.values())
    return "zh" if len(_CHINESE.findall(words)) > len(words) / 5 else "en"


def _longest(columns: Sequence[str], rows: Sequence[Row]) -> str | None:
    def length(column: str) -> int:
        value: Any
        return sum(len(value) for row in rows if isinstance(value := row.cells.get(column), str))

    return max(columns, key=length) if columns else None
