"""The Jinja sandbox that chat templates run in; started as a program, it tries a template out.

A chat template is a program from wherever the model came from. It may reach for Python's internals, never end,
or fill the memory, so it is first run in a child process with little time and memory. It may also know that it is
tried out and behave; so later, too, it runs under a deadline, and all that grows text is counted before it grows.
Imports nothing but Jinja: the child has to be there in a tenth of a second.
"""

import inspect
import json
import math
import re
import sys
import threading
import time
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from contextlib import suppress
from datetime import datetime
from functools import lru_cache, wraps
from itertools import chain
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

MAX_SECONDS = 1.0  # of processor time, for one rendering
MAX_EXTRA_CHARS = 1_000_000  # beyond four times what went in
MAX_BUILT = 32  # times that much may be built on the way: every "+" makes a text of its own
MAX_CHILD_BYTES = 512 * 2**20
MAX_REPEAT = 100_000
MAX_INTEGER_BITS = 40_000
_ITEM_CHARS = 16  # what an entry of a list counts as
# Filters that hand values on and make no text of them.
_HANDING_ON = frozenset(
    "length count first last default d map select reject selectattr rejectattr items attr list sort reverse unique "
    "groupby dictsort min max random".split()
)
_PROBE_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


class TemplateRefusal(jinja2.TemplateError):
    """The template itself says no to a conversation, through raise_exception."""


class LimitExceeded(jinja2.TemplateError):
    """The template takes more time or memory than any chat template needs."""


# What a faulty template provokes in Jinja, besides Jinja's own errors.
PROVOKED = (
    jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)


class _Meter(threading.local):
    deadline = math.inf
    largest = MAX_EXTRA_CHARS  # characters in one value
    left = MAX_BUILT * MAX_EXTRA_CHARS  # and in all that are still to be built


_meter = _Meter()


def _set_meter(deadline: float = math.inf, largest: int = MAX_EXTRA_CHARS) -> None:
    _meter.deadline, _meter.largest, _meter.left = deadline, largest, MAX_BUILT * largest


def _tick() -> None:
    if time.thread_time() > _meter.deadline:
        raise LimitExceeded(f"it runs for more than {MAX_SECONDS:g} s")


def _charge(n_chars: int) -> None:
    """Count characters that are about to be built."""
    _meter.left -= n_chars
    if n_chars > _meter.largest or _meter.left < 0:
        raise LimitExceeded(f"it builds texts of more than {_meter.largest:,} characters")


def _built(value: Any) -> Any:
    """Count a value that was no larger than its parts."""
    if isinstance(value, (str, bytes)):
        _charge(len(value))
    elif isinstance(value, (list, tuple, dict)):
        _charge(_ITEM_CHARS * len(value))
    return value


def _weight(value: Any, indent: int = 0) -> int:
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


def _weighed(value: Any) -> Any:
    _charge(_weight(value))
    return value


def _growth(name: str, value: Any, args: Sequence[Any]) -> int:
    """At most so many characters come out of this filter, operator or method of texts."""
    numbers = sum(abs(arg) for arg in args if isinstance(arg, int))
    texts = [str(arg) for arg in args if isinstance(arg, (str, bytes))]
    size = _weight([value, *args], numbers + sum(map(len, texts)) if name in ("tojson", "pprint") else 0)
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


class _Generation(Extension):
    """{% generation %} marks replies for training; its body is rendered like any other."""

    tags = frozenset(("generation",))  # type: ignore[assignment]

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, plus a deadline that every loop and macro looks at, and a bound on repetition."""

    intercepted_binops = frozenset(("*", "**"))
    tick = staticmethod(_tick)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template = super()._parse(source, name, filename)
        _refuse_internals(template)
        for node in template.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            look = nodes.Call(nodes.EnvironmentAttribute("tick"), [], [], None, None)
            node.body.insert(0, nodes.ExprStmt(look, lineno=node.lineno))  # type: ignore[attr-defined]
        return template

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(part) if isinstance(part, (str, list, tuple)) else part for part in (left, right)]
        if operator == "**":
            if not all(isinstance(size, (int, float)) and abs(size) <= 1000 for size in sizes):
                raise LimitExceeded("it computes a power with large numbers")
        elif any(isinstance(part, (str, list, tuple)) for part in (left, right)) and sizes[0] * sizes[1] > MAX_REPEAT:
            raise LimitExceeded(f"it repeats a text or list to more than {MAX_REPEAT:,} items")
        return super().call_binop(context, operator, left, right)


def _refuse_internals(template: nodes.Template) -> None:
    """No attribute in the template may be one of Python's own, in a branch that runs or in one that does not."""
    named: list[Any] = [node.attr for node in template.find_all((nodes.Getattr, nodes.NSRef))]  # type: ignore[attr-defined]
    named += [node.key for node in template.find_all(nodes.Keyword)]
    named += [node.value for node in template.find_all(nodes.Const)]
    for name in named:
        if isinstance(name, str) and re.fullmatch(r"__\w+__", name):
            raise SecurityError(f"it reaches for Python's internals ({name[:40]})")


def _raise_exception(message: object) -> None:
    raise TemplateRefusal(str(message))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML, which would put &amp;s into prompts.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _new_dict(*parts: Iterable[Any], **more: Any) -> dict[Any, Any]:
    return dict(*parts, **more)


def _strftime_now(layout: str) -> str:
    return datetime.now().strftime(layout)


def _environment() -> _Environment:
    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals.pop("lipsum")
    own: dict[str, Callable[..., Any]] = {
        "raise_exception": _raise_exception, "strftime_now": _strftime_now, "dict": _new_dict,
    }
    environment.globals.update(own)
    return environment


@lru_cache(maxsize=32)
def compile_template(source: str) -> jinja2.Template:
    """The template, ready to render. Compiling folds constants, so do it for accepted sources only.

    Raises: jinja2.TemplateError.
    """
    return _environment().from_string(source)


def render(
    source: str,
    messages: Sequence[Mapping[str, str]],
    special_tokens: Mapping[str, str],
    *,
    add_generation_prompt: bool,
) -> str:
    """The conversation as the template writes it, within bounds on time and length.

    Raises: TemplateRefusal, LimitExceeded, SecurityError, or whatever else the template provokes.
    """
    template = compile_template(source)
    limit = MAX_EXTRA_CHARS + 4 * sum(len(message["content"]) for message in messages)
    pieces, n_chars = [], 0
    _clock.deadline = time.thread_time() + MAX_SECONDS
    try:
        for piece in template.generate(
            messages=[dict(message) for message in messages], tools=None, documents=None,
            add_generation_prompt=add_generation_prompt, **special_tokens,
        ):
            n_chars += len(piece)
            if n_chars > limit:
                raise LimitExceeded(f"it writes more than {limit:,} characters")
            pieces.append(piece)
    finally:
        _clock.deadline = math.inf
    return "".join(pieces)


def probe(source: str) -> str | None:
    """Why the template cannot be used, or None. Run this in a child process only."""
    question, answer = {"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}
    system = {"role": "system", "content": "Be brief."}
    reasons = []
    conversations = [[question], [system, question], [question, answer, question], [system, *[question, answer] * 40]]
    for messages in conversations:
        for add_generation_prompt in (True, False):
            try:
                render(source, messages, _PROBE_TOKENS, add_generation_prompt=add_generation_prompt)
            except jinja2.TemplateSyntaxError as error:
                return f"line {error.lineno}: {error.message}"
            except (SecurityError, LimitExceeded) as error:
                return str(error)
            except MemoryError:
                return "it needs too much memory"
            except RecursionError:
                return "it calls itself without end"
            except PROVOKED as error:
                reasons.append(str(error) or type(error).__name__)
    # Many templates refuse a system turn or two turns of one role. One that takes nothing at all is broken.
    return reasons[0] if len(reasons) == 2 * len(conversations) else None


def _limit_this_process() -> None:
    with suppress(ImportError, ValueError, OSError):  # not on every system; the parent's deadline holds anyway
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_CHILD_BYTES, MAX_CHILD_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
        resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _limit_this_process()
    json.dump({"reason": probe(json.load(sys.stdin)["source"])}, sys.stdout)
