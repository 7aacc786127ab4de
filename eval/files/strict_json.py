"""JSON, stricter than Python reads it.

NaN, infinite numbers, a key that comes twice, half a character and deep nesting are refused, since each would change
or break later what the person sees here.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 64
_SPACE = re.compile(r"[ \t\r\n]*")
_SUSPICIOUS = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)


class Refused(Exception):
    """This value is not read, for a reason in English and in Chinese; those after it may be."""

    def __init__(self, reason: str, reason_zh: str) -> None:
        super().__init__(reason)
        self.reason, self.reason_zh = reason, reason_zh


def values_of(text: str) -> Iterator[tuple[int, Any]]:
    """(its line, the value of each line that is not blank), or a Refused in its place."""
    decoder = Decoder()
    for number, line in enumerate(lines_of(text), start=1):
        line = line.strip(" \t\r\n")
        if not line:
            continue
        try:
            value, end = decoder.decode(line, 0)
            if end < len(line):
                at = end + 1
                raise Refused(f"more after the end of the JSON, at column {at}", f"第 {at} 列之后还有多余内容")
            yield number, value
        except (json.JSONDecodeError, TooMuch) as error:
            yield number, Refused(*why(error, line))
        except Refused as error:
            yield number, error


def lines_of(text: str) -> Iterator[str]:
    """The lines without their line feed (or, in a file without any, carriage return)."""
    # str.splitlines() would also cut at characters that JSON text and sentences may hold.
    separator = "\n" if "\n" in text else "\r"
    start = 0
    while (end := text.find(separator, start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


class TooMuch(Exception):
    """Nested deeper, or a number longer, than Python reads."""


class Decoder:
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

        Raises: JSONDecodeError, TooMuch; Refused with `value` and `end` set, so that reading may go on.
        """
        self._problem = None
        try:
            self.value, self.end = self._json.raw_decode(text, at)
        except json.JSONDecodeError:
            raise
        except RecursionError:
            raise TooMuch("nested too deeply") from None
        except ValueError:
            raise TooMuch("a number is too long") from None
        # The walk over all that was read is slow, and hardly ever needed.
        n_openers = text.count("[", at, self.end) + text.count("{", at, self.end)
        if n_openers > MAX_DEPTH or _SUSPICIOUS.search(text, at, self.end):
            self._problem = self._problem or _problem_inside(self.value)
        if self._problem:
            raise Refused(*self._problem)
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


def why(error: Exception, text: str) -> tuple[str, str]:
    """What is wrong with this text, in English and in Chinese."""
    if isinstance(error, TooMuch):
        return str(error), {"nested too deeply": "嵌套过深"}.get(str(error), "数字过长")
    assert isinstance(error, json.JSONDecodeError)
    if error.msg.startswith("Unterminated") or error.pos >= len(text.rstrip()):
        return "cut off: it ends before its JSON does", "被截断：JSON 尚未结束"
    return f"not JSON ({error.msg}, column {error.colno})", f"不是 JSON（{error.msg}，第 {error.colno} 列）"


def skip(text: str, at: int) -> int:
    """Where the next thing begins that is no space."""
    match = _SPACE.match(text, at)
    return match.end() if match else at
