"""Rows of JSON: one object a line, or a document with a list of objects."""

import json
from collections.abc import Generator, Iterator
from typing import Any

from eval.files.strict_json import Decoder, Refused, TooMuch, skip, values_of, why
from llm_app.data.table import FileRefused, Row

Read = Row | tuple[int, Refused]  # a row, or the line of one that cannot be read and why
NO_OBJECT = Refused(
    'each row must be an object, such as {"prompt": "...", "completion": "..."}',
    '每行必须是一个对象，例如 {"prompt": "...", "completion": "..."}',
)


def of_lines(text: str) -> Iterator[Read]:
    """A row a line; blank lines are none."""
    for line, value in values_of(text):
        yield _row(line, value)


def of_document(text: str) -> Iterator[Read]:
    """The elements of the document's list, each with the line it begins on.

    The list is the document itself or the only list of objects in its top object; any other object is one row.
    Raises: FileRefused naming the line where the document breaks: what comes after cannot be told apart.
    """
    try:
        start = skip(text, 0)
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
        raise FileRefused(why(error, text)[0], error.lineno) from None


def is_object(text: str) -> bool:
    """Whether this is one JSON object and nothing else, whatever is in it."""
    return isinstance(_whole(text), dict)


def is_list(text: str) -> bool:
    """Whether this is one JSON list and nothing else, whatever is in it."""
    return isinstance(_whole(text), list)


def _whole(text: str) -> Any:
    try:
        value, end = json.JSONDecoder().raw_decode(text, skip(text, 0))
    except (ValueError, RecursionError):
        return None
    return value if skip(text, end) == len(text) else None


def _elements(text: str, start: int) -> Generator[Read, None, int]:
    """The elements of the list that begins at `start`; returns where it ends."""
    decoder = Decoder()
    line, counted = text.count("\n", 0, start) + 1, start
    at = skip(text, start + 1)
    if text.startswith("]", at):
        return at + 1
    while True:
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, end = decoder.decode(text, at)
        except Refused as error:
            value, end = error, decoder.end
        except TooMuch as error:
            raise FileRefused(why(error, text)[0], line) from None
        yield _row(line, value)
        at = skip(text, end)
        if text.startswith("]", at):
            return at + 1
        if not text.startswith(",", at):
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = skip(text, at + 1)


def _members(text: str, start: int) -> tuple[dict[str, Any], list[int], int]:
    """The object that begins at `start`, where its lists of objects begin, and where it ends."""
    decoder = Decoder()
    cells: dict[str, Any] = {}
    lists: list[int] = []
    if not text.startswith("{", start):
        raise json.JSONDecodeError("Expecting value", text, start)
    at = skip(text, start + 1)
    while not text.startswith("}", at):
        if cells:
            if not text.startswith(",", at):
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
            at = skip(text, at + 1)
        if not text.startswith('"', at):
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        line = text.count("\n", 0, at) + 1
        try:
            name, at = decoder.decode(text, at)
            if name in cells:
                raise Refused(f"the key {name[:40]!r} comes twice", "")
            at = skip(text, at)
            if not text.startswith(":", at):
                raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
            begin = skip(text, at + 1)
            try:
                cells[name], at = decoder.decode(text, begin)
            except Refused:
                # A bad element of a list is told with its own line.
                if not text.startswith("[", begin):
                    raise
                cells[name], at = decoder.value, decoder.end
        except Refused as error:
            raise FileRefused(error.reason, line) from None
        except TooMuch as error:
            raise FileRefused(why(error, text)[0], line) from None
        if isinstance(cells[name], list) and cells[name] and isinstance(cells[name][0], dict):
            lists.append(begin)
        at = skip(text, at)
    return cells, lists, at + 1


def _row(line: int, value: Any) -> Read:
    if isinstance(value, dict):
        return Row(line, value)
    return line, value if isinstance(value, Refused) else NO_OBJECT


def _refuse_rest(text: str, end: int) -> None:
    at = skip(text, end)
    if at < len(text):
        reason = "more follows after the end of the JSON document; of several documents write one a line"
        raise FileRefused(reason, text.count("\n", 0, at) + 1)
