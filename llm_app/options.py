"""How an option is declared: a dataclass field that carries its range, label and help in English and Chinese.

No third-party imports: `--help` must not wait for torch.
"""

import math
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from llm_app.errors import UserError

Text = tuple[str, str]  # (English, Chinese)


@dataclass(frozen=True)
class OptionInfo:
    """What a form, a flag or a docs line needs to know about one field, besides its name and default."""

    label: Text
    help: Text
    min: float | None = None
    max: float | None = None
    step: float | None = None
    choices: tuple[str, ...] | None = None
    advanced: bool = False
    many: bool = False  # a list of strings


def option(
    default: Any,
    *,
    label: Text,
    help: Text,
    min: float | None = None,
    max: float | None = None,
    step: float | None = None,
    choices: Sequence[str] | None = None,
    advanced: bool = False,
) -> Any:
    """A dataclass field that carries its own description."""
    many = isinstance(default, tuple)
    info = OptionInfo(label, help, min, max, step, tuple(choices) if choices else None, advanced, many)
    return field(default=default, metadata={"option": info})


def options_of(config: type[Any]) -> list[tuple[Field[Any], OptionInfo]]:
    """The described fields of an option dataclass, in order."""
    return [(f, f.metadata["option"]) for f in fields(config) if "option" in f.metadata]


def kind_of(item: Field[Any], info: OptionInfo) -> type[Any]:
    """The type of a field's values. Without a default value it is that of its least one, else text."""
    if item.default not in (None, MISSING):
        return type(item.default)
    return str if info.min is None else type(info.min)


def check_options(config: Any) -> None:
    """Types, ranges and choices of every described field.

    Raises: UserError naming the field.
    """
    for item, info in options_of(type(config)):
        check_option(item, info, getattr(config, item.name))


def check_option(item: Field[Any], info: OptionInfo, value: Any) -> None:
    """The same of one field, whatever the others are. Raises: UserError naming the field."""
    problem = None if value is None else _problem_with(value, item, info)
    if problem:
        raise UserError(f"{item.name} {problem}.", param=item.name)


def _problem_with(value: Any, item: Field[Any], info: OptionInfo) -> str | None:
    if info.many:
        if not isinstance(value, tuple) or not all(isinstance(part, str) for part in value):
            return "must be a list of strings"
        return None
    if info.choices is not None:
        return None if value in info.choices else f"must be one of {', '.join(info.choices)}, not {value!r}"
    wanted = kind_of(item, info)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**53 else math.inf
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        return f"must be of type {wanted.__name__}, not {type(value).__name__}"
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if info.min is not None and value < info.min:
        return f"must be at least {info.min:g}, not {value:g}"
    if info.max is not None and value > info.max:
        return f"must be at most {info.max:g}, not {value:g}"
    return None
