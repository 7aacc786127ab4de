"""The Jinja sandbox that chat templates run in; started as a program, it tries a template out.

A chat template is a program from wherever the model came from. It may reach for Python's internals, never end,
or fill the memory, so it is first run in a child process with little time and memory. It may also know that it is
tried out and behave; so later, too, it runs under a deadline, and all that grows text is counted before it grows.
Imports nothing but Jinja and the meter: the child has to be there in a tenth of a second.
"""

import inspect
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from llm_app.engine import meter
from llm_app.engine.meter import MAX_EXTRA_CHARS, MAX_SECONDS, LimitExceeded

MAX_CHILD_BYTES = 512 * 2**20
MAX_REPEAT = 100_000
MAX_INTEGER_BITS = 40_000
# Filters that hand values on and make no text of them.
_HANDING_ON = frozenset((
    "length", "count", "first", "last", "default", "d", "map", "select", "reject", "selectattr", "rejectattr", "items",
    "attr", "list", "sort", "reverse", "unique", "groupby", "dictsort", "min", "max", "random",
))
MARKS = ("\ufdd0", "\ufdd1")  # no characters of any text: Unicode keeps them free for uses like this
_PROBE_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


class TemplateRefusal(jinja2.TemplateError):
    """The template itself says no to a conversation, through raise_exception."""


# What a faulty template provokes in Jinja, besides Jinja's own errors.
PROVOKED = (
    jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)


class _Generation(Extension):
    """{% generation %} marks replies for training; its body is rendered like any other, between MARKS on demand."""

    tags = frozenset(("generation",))  # type: ignore[assignment]

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        if self.environment.is_marking:  # type: ignore[attr-defined]
            before, after = (nodes.Output([nodes.TemplateData(mark)], lineno=line) for mark in MARKS)
            body = [before, *body, after]
        return nodes.Scope(body, lineno=line)


class _Counting(NodeTransformer):
    """Puts the meter around what Jinja compiles without asking the environment: "~", slices and plain text."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        node.nodes = [_call("weighed", part) for part in node.nodes]
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        return _call("built", node) if isinstance(node.arg, nodes.Slice) else node

    def visit_Output(self, node: nodes.Output) -> list[nodes.Node]:
        self.generic_visit(node)
        n_chars = sum(len(part.data) for part in node.nodes if isinstance(part, nodes.TemplateData))
        return [nodes.ExprStmt(_call("charge", nodes.Const(n_chars)), lineno=node.lineno), node]


def _call(name: str, *args: nodes.Expr) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), list(args), [], None, None)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, plus a deadline that every loop and macro looks at, and a count of all text that is built."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))
    is_marking = False
    tick, charge = staticmethod(meter.tick), staticmethod(meter.charge)
    weighed, built = staticmethod(meter.weighed), staticmethod(meter.built)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template = super()._parse(source, name, filename)
        _refuse_internals(template)
        for node in template.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            node.body.insert(0, nodes.ExprStmt(_call("tick"), lineno=node.lineno))  # type: ignore[attr-defined]
        _Counting().visit(template)
        template.set_environment(self)
        return template

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        has_text = isinstance(left, (str, bytes, list, tuple)) or isinstance(right, (str, bytes, list, tuple))
        sizes = [len(part) if isinstance(part, (str, bytes, list, tuple)) else part for part in (left, right)]
        if operator == "**":
            if not all(isinstance(size, (int, float)) and abs(size) <= 1000 for size in sizes):
                raise LimitExceeded("it computes a power with large numbers")
        elif operator == "*" and has_text and sizes[0] * sizes[1] > MAX_REPEAT:
            raise LimitExceeded(f"it repeats a text or list to more than {MAX_REPEAT:,} items")
        elif operator == "*" and sum(size.bit_length() for size in sizes if isinstance(size, int)) > MAX_INTEGER_BITS:
            raise LimitExceeded("it computes with large numbers")
        elif operator == "%" and isinstance(left, (str, bytes)):
            meter.charge(meter.growth("%", left, right if isinstance(right, tuple) else (right,)))
        elif operator == "+" and has_text:
            meter.charge(sum(size for size in sizes if isinstance(size, int)))
        result = super().call_binop(context, operator, left, right)
        return result if operator == "+" and isinstance(result, str) else meter.built(result)

    def call(self, context: Any, obj: Any, /, *args: Any, **options: Any) -> Any:
        owner = getattr(getattr(obj, "__wrapped__", obj), "__self__", None)
        if isinstance(owner, (str, bytes, int)):
            args = tuple(list(arg) if isinstance(arg, Iterator) else arg for arg in args)
            meter.charge(meter.growth(obj.__name__, owner, [*args, *options.values()]))
        return meter.built(super().call(context, obj, *args, **options))


def _counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, with a look at what it is given before it runs."""
    n_own = int(hasattr(function, "jinja_pass_arg"))  # the context or environment comes first
    signature = inspect.signature(function)

    @wraps(function)
    def counted(*args: Any, **options: Any) -> Any:
        if name not in _HANDING_ON:
            args = tuple(list(arg) if isinstance(arg, Iterator) else arg for arg in args)
            # In the order of the parameters, whether they are given by name or not.
            value, *given = list(signature.bind(*args, **options).arguments.values())[n_own:]
            given = [part for arg in given for part in (arg if isinstance(arg, tuple) else [arg])]
            meter.charge(meter.growth(name, value, given))
        return meter.built(function(*args, **options))

    return counted


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
    environment.filters.update({name: _counted(name, filter_) for name, filter_ in environment.filters.items()})
    environment.finalize = meter.weighed
    environment.globals.pop("lipsum")
    own: dict[str, Callable[..., Any]] = {
        "raise_exception": _raise_exception, "strftime_now": _strftime_now, "dict": _new_dict,
    }
    environment.globals.update(own)
    return environment


@lru_cache(maxsize=32)
def compile_template(source: str, *, is_marking: bool = False) -> jinja2.Template:
    """The template, ready to render. Compiling folds constants, so do it for accepted sources only.

    `is_marking`: what stands in {% generation %} comes out between MARKS.
    Raises: jinja2.TemplateError.
    """
    environment = _environment()
    environment.is_marking = is_marking
    return environment.from_string(source)


def render(
    source: str,
    messages: Sequence[Mapping[str, Any]],
    special_tokens: Mapping[str, str],
    *,
    add_generation_prompt: bool,
    tools: Sequence[Mapping[str, Any]] = (),
    now: datetime | None = None,
    is_marking: bool = False,
) -> str:
    """The conversation as the template writes it, within bounds on time and length.

    `tools`: what the model may call; `now`: the time that the template is told, default the real one.
    Raises: TemplateRefusal, LimitExceeded, SecurityError, or whatever else the template provokes.
    """
    limit = MAX_EXTRA_CHARS + 4 * _n_chars([*messages, *tools])
    pieces, n_chars = [], 0
    template = compile_template(source, is_marking=is_marking)
    given: dict[str, Any] = {**special_tokens} if now is None else {**special_tokens, "strftime_now": now.strftime}
    meter.start(time.thread_time() + MAX_SECONDS, limit)
    try:
        for piece in template.generate(
            messages=[dict(message) for message in messages], tools=[dict(tool) for tool in tools] or None,
            documents=None, add_generation_prompt=add_generation_prompt, **given,
        ):
            n_chars += len(piece)
            if n_chars > limit:
                raise LimitExceeded(f"it writes more than {limit:,} characters")
            pieces.append(piece)
    finally:
        meter.start()
    return "".join(pieces)


def _n_chars(value: Any) -> int:
    """Characters of all texts in it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_n_chars, value.values()))
    return sum(map(_n_chars, value)) if isinstance(value, (list, tuple)) else 0


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


def main() -> None:
    """Read {"source": ...} from standard input and write {"reason": ...}."""
    _limit_this_process()
    json.dump({"reason": probe(json.load(sys.stdin)["source"])}, sys.stdout)
