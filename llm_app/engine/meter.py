"""Counts the time that a chat template takes and the text that it builds, before the text is there."""

import math
import re
import threading
import time
from collections.abc import ItemsView, Sequence, ValuesView
from itertools import chain
from typing import Any

import jinja2
from jinja2.utils import Namespace

MAX_SECONDS = 1.0  # of processor time, for one rendering
MAX_EXTRA_CHARS = 1_000_000  # beyond four times what went in
MAX_BUILT = 32  # times that much may be built on the way: every "+" makes a text of its own
_ITEM_CHARS = 16  # what an entry of a list counts as


class LimitExceeded(jinja2.TemplateError):
    """The template takes more time or memory than any chat template needs."""


class _Meter(threading.local):
    deadline = math.inf
    largest = MAX_EXTRA_CHARS  # characters in one value
    left = MAX_BUILT * MAX_EXTRA_CHARS  # and in all that are still to be built


_meter = _Meter()


def start(deadline: float = math.inf, largest: int = MAX_EXTRA_CHARS) -> None:
    """Begin to count anew, for one rendering in this thread; without arguments, for none."""
    _meter.deadline, _meter.largest, _meter.left = deadline, largest, MAX_BUILT * largest


def tick() -> None:
    """Raises: LimitExceeded after the deadline."""
    if time.thread_time() > _meter.deadline:
        raise LimitExceeded(f"it runs for more than {MAX_SECONDS:g} s")


def charge(n_chars: int) -> None:
    """Count characters that are about to be built.

    Raises: LimitExceeded.
    """
    _meter.left -= n_chars
    if n_chars > _meter.largest or _meter.left < 0:
        raise LimitExceeded(f"it builds texts of more than {_meter.largest:,} characters")


def built(value: Any) -> Any:
    """Count a value that was no larger than its parts."""
    if isinstance(value, (str, bytes)):
        charge(len(value))
    elif isinstance(value, (list, tuple, dict)):
        charge(_ITEM_CHARS * len(value))
    return value


def weight(value: Any, indent: int = 0) -> int:
    """Characters of the value as text, with parts that occur twice counted twice; stops when it is too many."""
    total, waiting = 0, [(value, 1)]
    while waiting and total <= _meter.largest:
        part, depth = waiting.pop()
        part = getattr(part, "_Namespace__attrs", part) if isinstance(part, Namespace) else part
        if isinstance(part, (str, bytes)):
            total += len(part)
        elif isinstance(part, int):
            total += part.bit_length() // 3 + 1
        elif isinstance(part, (list, tuple, dict, ItemsView, ValuesView)):
            total += len(part) * (4 + indent * depth)
            inside = chain(part, part.values()) if isinstance(part, dict) else part
            waiting.extend((item, depth + 1) for item in inside)
        else:
            total += _ITEM_CHARS
    return total


def weighed(value: Any) -> Any:
    """Count a value that is about to become text."""
    charge(weight(value))
    return value


def growth(name: str, value: Any, args: Sequence[Any]) -> int:
    """At most so many characters come out of this filter, operator or method of texts."""
    numbers = sum(abs(arg) for arg in args if isinstance(arg, int))
    texts = [str(arg) for arg in args if isinstance(arg, (str, bytes))]
    size = weight([value, *args], numbers + sum(map(len, texts)) if name in ("tojson", "pprint") else 0)
    if size > _meter.largest or name in ("tojson", "pprint", "round"):
        return max(size, numbers)
    if name in ("translate", "to_bytes", "urlize"):
        raise LimitExceeded(f"it uses {name}, whose result can be of any length")
    if name == "replace" and len(args) > 1:
        return size + str(value).count(str(args[0])) * len(str(args[1]))
    if name == "join" and args and not isinstance(args[0], (str, bytes)):  # the method: the list is the argument
        return size + len(value) * len(list(args[0] or ()))
    if name == "join":
        return size + len(value) * sum(map(len, texts))
    if name == "indent":
        return size + (str(value).count("\n") + 1) * (numbers + sum(map(len, texts)))
    if name in ("wordwrap", "expandtabs"):
        return size * (8 + sum(map(len, texts)) + (numbers if name == "expandtabs" else 0))
    if name in ("format", "format_map", "%"):
        layout = str(value)
        if re.search(r"%[^a-zA-Z%]*\*" if name != "format_map" and "%" in layout else r"\{[^{}]*:[^{}]*\{", layout):
            raise LimitExceeded("it takes the width of a text from a variable")
        fields = 1 + layout.count("%") + layout.count("{")
        return size * fields + sum(int(digits[:12]) for digits in re.findall(r"\d+", layout))
    return size + numbers
