"""Rows of JSON: one object a line, or a document with a list of objects.

Stricter than Python's reader: NaN, infinite numbers, a key that comes twice, half a character and deep nesting are
refused, since each would change or break later what the person sees here.
"""

import json
import math
import re
from collections.abc import Generator, Iterator
from typing import Any

from llm_app.data.table import FileRefused, Row
from llm_app.data.types import RowRefused

MAX_DEPTH = 64
_SPACE = re.compile(r"[ \t\r\n]*")
_SUSPICIOUS = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)

Read = Row | tuple[int, RowRefused]  # a row, or the line of one that cannot be read and why


def of_lines(text: str) -> Iterator[Read]:
    """A row a line; blank lines are none."""
    decoder = _Decoder()
    for number, line in enumerate(lines_of(text), start=1):
        line = line.strip(" \t\r\n")
        if not line:
            continue
        try:
            value, end = decoder.decode(line, 0)
            if end < len(line):
                at = end + 1
                raise RowRefused(f"more after the end of the JSON, at column {at}", f"第 {at} 列之后还有多余内容")
            yield Row(number, _object(value))
        except (json.JSONDecodeError, _TooMuch) as error:
            yield number, RowRefused(*_why(error, line))
        except RowRefused as error:
            yield number, error


def of_document(text: str) -> Iterator[Read]:
    """The elements of the document's list, each with the line it begins on.

    The list is the document itself or the only list of objects in its top object; any other object is one row.
    Raises: FileRefused naming the line where the document breaks: what comes after cannot be told apart.
    """
    try:
        start = _skip(text, 0)
        if text.startswith("[", start):
            _refuse_rest(text, (yield from _elements(text, start)))
            return
        cells, lists, end = _members(text, start)
        _refuse_rest(text, end)
        if len(lists) == 1:
            yield from _elements(text, lists[0])
        else:
            yield Row(text.count("\n", 0, start) + 1, cells)
    except json.JSONDecodeError as error:
        raise FileRefused(_why(error, text)[0], error.lineno) from None


def is_object(text: str) -> bool:
    """Whether this is one JSON object and nothing else, whatever is in it."""
    return isinstance(_whole(text), dict)


def is_list(text: str) -> bool:
    """Whether this is one JSON list and nothing else, whatever is in it."""
    return isinstance(_whole(text), list)


def lines_of(text: str) -> Iterator[str]:
    """The lines without their line feed (or, in a file without any, carriage return)."""
    # str.splitlines() would also cut at characters that JSON text and sentences may hold.
    separator = "\n" if "\n" in text else "\r"
    start = 0
    while (end := text.find(separator, start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _whole(text: str) -> Any:
    try:
        value, end = json.JSONDecoder().raw_decode(text, _skip(text, 0))
    except (ValueError, RecursionError):
        return None
    return value if _skip(text, end) == len(text) else None


def _elements(text: str, start: int) -> Generator[Read, None, int]:
    """The elements of the list that begins at `start`; returns where it ends."""
    decoder = _Decoder()
    line, counted = text.count("\n", 0, start) + 1, start
    at = _skip(text, start + 1)
    if text.startswith("]", at):
        return at + 1
    while True:
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, end = decoder.decode(text, at)
            yield Row(line, _object(value))
        except RowRefused as error:
            yield line, error
            end = decoder.end
        except _TooMuch as error:
            raise FileRefused(_why(error, text)[0], line) from None
        at = _skip(text, end)
        if text.startswith("]", at):
            return at + 1
        if not text.startswith(",", at):
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = _skip(text, at + 1)


def _members(text: str, start: int) -> tuple[dict[str, Any], list[int], int]:
    """The object that begins at `start`, where its lists of objects begin, and where it ends."""
    decoder = _Decoder()
    cells: dict[str, Any] = {}
    lists: list[int] = []
    if not text.startswith("{", start):
        raise json.JSONDecodeError("Expecting value", text, start)
    at = _skip(text, start + 1)
    while not text.startswith("}", at):
        if cells:
            if not text.startswith(",", at):
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
            at = _skip(text, at + 1)
        if not text.startswith('"', at):
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        line = text.count("\n", 0, at) + 1
        try:
            name, at = decoder.decode(text, at)
            if name in cells:
                raise RowRefused(f"the key {name[:40]!r} comes twice", "")
            at = _skip(text, at)
            if not text.startswith(":", at):
                raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
            begin = _skip(text, at + 1)
            try:
                cells[name], at = decoder.decode(text, begin)
            except RowRefused:
                # A bad element of a list is told with its own line.
                if not text.startswith("[", begin):
                    raise
                cells[name], at = decoder.value, decoder.end
        except RowRefused as error:
            raise FileRefused(error.reason, line) from None
        except _TooMuch as error:
            raise FileRefused(_why(error, text)[0], line) from None
        if isinstance(cells[name], list) and cells[name] and isinstance(cells[name][0], dict):
            lists.append(begin)
        at = _skip(text, at)
    return cells, lists, at + 1


class _TooMuch(Exception):
    """Nested deeper, or a number longer, than Python reads."""


class _Decoder:
    """Decodes one value after another. What is wrong inside a value is told once its end is known."""

    def __init__(self) -> None:
        self._json = json.JSONDecoder(
            object_pairs_hook=self._pairs, parse_constant=self._constant, parse_float=self._number
        )
        self._problem: tuple[str, str] | None = None
        self.value: Any = None
        self.end = 0

    def decode(self, text: str, at: int) -> tuple[Any, int]:
        """The value at `at`, and where it ends.

        Raises: JSONDecodeError, _TooMuch; RowRefused with `value` and `end` set, so that reading may go on.
        """
        self._problem = None
        try:
            self.value, self.end = self._json.raw_decode(text, at)
        except json.JSONDecodeError:
            raise
        except RecursionError:
            raise _TooMuch("nested too deeply") from None
        except ValueError:
            raise _TooMuch("a number is too long") from None
        # The walk over all that was read is slow, and hardly ever needed.
        n_openers = text.count("[", at, self.end) + text.count("{", at, self.end)
        if n_openers > MAX_DEPTH or _SUSPICIOUS.search(text, at, self.end):
            self._problem = self._problem or _problem_inside(self.value)
        if self._problem:
            raise RowRefused(*self._problem)
        return self.value, self.end

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            self._problem = (f"the key {twice[:40]!r} comes twice", f"键 {twice[:40]!r} 出现了两次")
        return found

    def _constant(self, name: str) -> float:
        self._problem = (f"{name} is no JSON number", f"{name} 不是合法的 JSON 数字")
        return math.nan

    def _number(self, digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            self._problem = (f"the number {digits[:20]} is too large", f"数字 {digits[:20]} 过大")
        return value


def _problem_inside(value: Any) -> tuple[str, str] | None:
    todo = [(value, 1)]
    while todo:
        item, depth = todo.pop()
        if depth > MAX_DEPTH + 1:
            return f"nested deeper than {MAX_DEPTH} levels", f"嵌套超过 {MAX_DEPTH} 层"
        if isinstance(item, dict):
            todo.extend((part, depth + 1) for pair in item.items() for part in pair)
        elif isinstance(item, list):
            todo.extend((part, depth + 1) for part in item)
        elif isinstance(item, str):
            if "\0" in item:
                return "holds a NUL character", "含有 NUL 字符"
            if any("\ud800" <= character <= "\udfff" for character in item):
                return "holds half a character (a lone surrogate)", "含有半个字符（孤立的代理项）"
    return None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowRefused(
            'each row must be an object, such as {"prompt": "...", "completion": "..."}',
            '每行必须是一个对象，例如 {"prompt": "...", "completion": "..."}',
        )
    return value


def _why(error: Exception, text: str) -> tuple[str, str]:
    if isinstance(error, _TooMuch):
        return str(error), {"nested too deeply": "嵌套过深"}.get(str(error), "数字过长")
    assert isinstance(error, json.JSONDecodeError)
    if error.msg.startswith("Unterminated") or error.pos >= len(text.rstrip()):
        return "cut off: it ends before its JSON does", "被截断：JSON 尚未结束"
    return f"not JSON ({error.msg}, column {error.colno})", f"不是 JSON（{error.msg}，第 {error.colno} 列）"


def _refuse_rest(text: str, end: int) -> None:
    at = _skip(text, end)
    if at < len(text):
        reason = "more follows after the end of the JSON document; of several documents write one a line"
        raise FileRefused(reason, text.count("\n", 0, at) + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
