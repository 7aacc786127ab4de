"""Rows of a data file as samples: prompt filled in, right answer found, and for each row that cannot be used, why."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.files.strict_json import Refused
from eval.tasks.own_file import MAX_LABELS, PLACEHOLDER, Kind, TaskFile, data_file
from eval.tasks.own_rows import Row, read_rows
from eval.types import EvaluationError

MAX_CHOICES = 26  # letters
Doc = dict[str, Any]
# Prompts of kinds, in English and in Chinese, where the task file has none.
PROMPTS: Mapping[Kind, tuple[str, str]] = {
    "perplexity": ("", ""),
    "generation": ("Input: {{source}}\nOutput:", "输入：{{source}}\n输出："),
    "exact_match": ("Question: {{question}}\nAnswer:", "问题：{{question}}\n答案："),
    "multiple_choice": ("Question: {{question}}\nAnswer:", "问题：{{question}}\n答案："),
    "classification": ("Text: {{text}}\nLabel:", "文本：{{text}}\n类别："),
    **dict.fromkeys(("reply", "reply_perplexity"), ("{{prompt}}", "{{prompt}}")),
}
# What the score needs of a row, besides what the prompt names.
NEEDS: Mapping[Kind, tuple[str, ...]] = {
    "perplexity": ("text",), "generation": ("target",), "exact_match": ("answer",),
    "multiple_choice": ("choices", "answer"), "classification": ("label",),
    "reply": ("answer",), "reply_perplexity": ("answer",),
}


class BadRow(Refused):
    """This row cannot be used, for a reason in English and in Chinese; the others can."""


@dataclass(frozen=True)
class Dropped:
    """A row that is left out, and why."""

    line: int
    reason: str
    reason_zh: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


class NoUsableRow(EvaluationError):
    """No row of a file can be used. `dropped`: as in `Docs`."""

    def __init__(self, message: str, dropped: Sequence[Dropped]) -> None:
        super().__init__(message)
        self.dropped = tuple(dropped)


@dataclass(frozen=True)
class Docs:
    """What a task asks about. `target` of a doc: a text, texts, or the number of a choice or label."""

    prompt: str
    samples: list[Doc]
    examples: list[Doc]
    dropped: list[Dropped]  # by line
    labels: tuple[str, ...] = ()
    are_letters: bool = False  # the prompt lists the choices, so that a letter is the answer


def prompt_of(file: TaskFile) -> str:
    """The file's prompt, or its kind's."""
    return file.prompt or PROMPTS[file.kind][file.language.split("-")[0] == "zh"]


def read_docs(path: Path, file: TaskFile) -> Docs:
    """Samples and examples of a task file at `path`.

    Raises: EvaluationError for a missing column, and for rows that cannot be used unless the file has them skipped.
    """
    prompt = prompt_of(file)
    names = [name for name in dict.fromkeys(PLACEHOLDER.findall(prompt)) if name != "choices"]
    idle = sorted(set(file.columns) - {*names, *NEEDS[file.kind]})
    if idle:
        raise EvaluationError(
            f"{path.name}: columns names {idle[0]!r}, which neither the prompt nor kind {file.kind} uses; they use"
            f" {', '.join(dict.fromkeys([*names, *NEEDS[file.kind]]))}."
        )
    rows = _rows(path, file, file.data, names)
    examples = _rows(path, file, file.examples, names) if file.examples else []
    target, labels = _target_reader(file, [*rows, *examples])

    def doc(row: Row) -> Doc:
        cells = {name: _text(_called(file, name), _cell(file, row, name)) for name in names}
        found = target(row)
        if "choices" in found:
            cells["choices"] = "\n".join(f"{_letter(n)}. {choice}" for n, choice in enumerate(found["choices"]))
        return {"prompt": PLACEHOLDER.sub(lambda match: cells[match[1]], prompt), **found}

    samples, dropped = _usable(f"{path.name}: {file.data}", rows, doc, may_skip=file.skip_bad_rows)
    shown, _ = _usable(f"{path.name}: {file.examples}", examples, doc, may_skip=False) if file.examples else ([], [])
    are_letters = "choices" in PLACEHOLDER.findall(prompt)
    return Docs(prompt, samples, shown, dropped, labels, are_letters)


def _rows(path: Path, file: TaskFile, name: str, names: Sequence[str]) -> list[Row]:
    rows = read_rows(data_file(path, name))
    if not rows:
        raise EvaluationError(f"{path.name}: no usable examples: {name} has no rows.")
    there = dict.fromkeys(column for row in rows for column in row.cells)
    for wanted in dict.fromkeys([*names, *NEEDS[file.kind]]):
        columns = file.columns.get(wanted, wanted)
        for column in [columns] if isinstance(columns, str) else columns:
            if column not in there:
                raise EvaluationError(
                    f"{path.name}: {name} has no column {column!r}; it has {', '.join(map(str, list(there)[:20]))}."
                    f" Say which is meant: `columns: {{{wanted}: ...}}`."
                )
    return rows


def _usable(
    where: str, rows: Sequence[Row], doc: Callable[[Row], Doc], *, may_skip: bool
) -> tuple[list[Doc], list[Dropped]]:
    docs: list[Doc] = []
    reasons: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        try:
            if row.problem:
                raise row.problem
            docs.append(doc(row))
        except Refused as error:
            reasons.setdefault((error.reason, error.reason_zh), []).append(row.line)
    n_bad = len(rows) - len(docs)
    said = "; ".join(
        f"{reason} ({'line' if len(lines) == 1 else f'{len(lines)} rows, first in line'} {lines[0]})"
        for (reason, _), lines in list(reasons.items())[:3]
    ) + (f"; and {len(reasons) - 3} more reasons" if len(reasons) > 3 else "")
    found = [Dropped(line, *reason) for reason, lines in reasons.items() for line in lines]
    dropped = sorted(found, key=lambda row: row.line)
    if not docs:
        raise NoUsableRow(f"{where}: no usable examples: {n_bad} dropped because {said}.", dropped)
    if n_bad and not may_skip:
        raise EvaluationError(
            f"{where}: {n_bad} of {len(rows)} rows cannot be used because {said}. Correct them, or have them left out:"
            " `skip_bad_rows: true`."
        )
    return docs, dropped


def _target_reader(file: TaskFile, rows: Sequence[Row]) -> tuple[Callable[[Row], Doc], tuple[str, ...]]:
    """What makes the scored part of a doc, and the labels of a classification."""
    if file.kind == "perplexity":
        return lambda row: {"target": _text(_called(file, "text"), _cell(file, row, "text"))}, ()
    if file.kind == "multiple_choice":
        form = file.answers or _form(file, rows)
        return lambda row: _choice(file, row, form), ()
    if file.kind == "classification":
        words = file.labels or {name: name for name in _labels(file, rows)}
        labels = tuple(words.values())
        return lambda row: {"target": labels.index(_label(file, row, words))}, labels
    (name,) = NEEDS[file.kind]
    called = _called(file, name)
    if file.kind in ("reply", "reply_perplexity"):
        # What a chat template puts after an answer: a model is trained to write that too.
        return lambda row: {"target": _texts(called, _cell(file, row, name)), "end": row.cells.get("end") or ""}, ()
    return lambda row: {"target": _texts(called, _cell(file, row, name))}, ()


def _called(file: TaskFile, name: str) -> str:
    """A column as an error names it: by what it stands for, and by its own name where that is another."""
    column = file.columns.get(name, name)
    return f"{name} (column {column})" if isinstance(column, str) and column != name else name


def _cell(file: TaskFile, row: Row, name: str) -> Any:
    """The value of a column; of several columns a list."""
    columns = file.columns.get(name, name)
    return row.cells.get(columns) if isinstance(columns, str) else [row.cells.get(column) for column in columns]


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | dict):
        raise BadRow(f"{name} is a {type(value).__name__}, not text", f"{name} 是 {type(value).__name__}，不是文本")
    if value is None or not value.strip():
        raise BadRow(f"{name} is empty", f"{name} 为空")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRow(f"{name} holds half a character", f"{name} 含有半个字符") from None
    return str(value)


def _texts(name: str, value: Any) -> list[str]:
    """One text or several, without empty ones."""
    values = value if isinstance(value, list) else [value]
    texts = [_text(name, item) for item in values if item is not None and item != ""]
    if not texts:
        raise BadRow(f"{name} is empty", f"{name} 为空")
    return texts


def _labels(file: TaskFile, rows: Sequence[Row]) -> list[str]:
    found = set()
    for row in rows:
        try:
            found.add(_text("label", _cell(file, row, "label")).strip())
        except BadRow:
            continue
    if not 2 <= len(found) <= MAX_LABELS:
        raise EvaluationError(f"{file.data} has {len(found):,} different labels; give it 2 to {MAX_LABELS:,}.")
    return sorted(found)


def _label(file: TaskFile, row: Row, words: Mapping[str, str]) -> str:
    label = _text(_called(file, "label"), _cell(file, row, "label")).strip()
    if label not in words:
        known = ", ".join(list(words)[:10])
        raise BadRow(f"label {label[:40]!r} is none of {known}", f"标签 {label[:40]!r} 不在 {known} 之中")
    return words[label]


def _letter(number: int) -> str:
    return chr(ord("A") + number)


def _choices(file: TaskFile, row: Row) -> list[str]:
    value = _cell(file, row, "choices")
    if not isinstance(value, list):
        raise BadRow(
            "choices is no list; in a table name its columns: `columns: {choices: [A, B, C, D]}`",
            "choices 不是列表；表格须写明各列：`columns: {choices: [A, B, C, D]}`",
        )
    while value and value[-1] in (None, ""):
        value = value[:-1]  # a table has as many columns as its longest row needs
    choices = [_text("a choice", item).strip() for item in value]
    if not 2 <= len(choices) <= MAX_CHOICES or len(set(choices)) < len(choices):
        raise BadRow(
            f"choices must be 2 to {MAX_CHOICES}, all different", f"选项须为 2 至 {MAX_CHOICES} 个，且互不相同"
        )
    return choices


def _position(answer: Any, choices: Sequence[str], form: str) -> int | None:
    """Number of the choice that is meant, counted from 0."""
    text = _text("answer", answer).strip()
    if form == "text":
        return choices.index(text) if text in choices else None
    if form == "letter":
        found = ord(text.upper()) - ord("A") if re.fullmatch("[A-Za-z]", text) else -1
    else:
        found = int(text) - (form == "from_1") if re.fullmatch("[0-9]{1,3}", text) else -1
    return found if 0 <= found < len(choices) else None


def _form(file: TaskFile, rows: Sequence[Row]) -> str:
    """How answers are written: the way that fits most rows, text before letter before number."""
    n_fit = dict.fromkeys(("text", "letter", "from_0", "from_1"), 0)
    for row in rows:
        try:
            choices = _choices(file, row)
            for form in n_fit:
                n_fit[form] += _position(_cell(file, row, "answer"), choices, form) is not None
        except BadRow:
            continue
    best = max(n_fit, key=lambda form: n_fit[form])
    if best == "from_0" and n_fit["from_0"] == n_fit["from_1"] > 0:
        raise EvaluationError(
            f"{file.data}: the answers are numbers that could count from 0 or from 1; write `answers: from_0` or"
            " `answers: from_1`."
        )
    return best


def _choice(file: TaskFile, row: Row, form: str) -> Doc:
    choices = _choices(file, row)
    answer = _cell(file, row, "answer")
    number = _position(answer, choices, form)
    if number is None:
        told, told_zh = {
            "text": ("is none of the choices", "不是选项之一"),
            "letter": ("is no letter of a choice", "不是选项的字母"),
            "from_0": ("is no number of a choice, counted from 0", "不是选项的序号（从 0 起）"),
            "from_1": ("is no number of a choice, counted from 1", "不是选项的序号（从 1 起）"),
        }[form]  # fmt: skip
        text = repr(_text("answer", answer)[:40])
        raise BadRow(f"answer {text} {told}", f"答案 {text} {told_zh}")
    return {"choices": choices, "target": number}
