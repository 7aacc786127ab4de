"""What a search may try of each option, from a small text. No third-party imports.

    rank=8,16,32                  these values
    dropout=0..0.2                whatever lies between; an end that is left out is the option's own
    learning_rate=1e-5..1e-3:log  as many of each order of magnitude
    alpha=8..64:log:4             four values, evenly spaced
    targets=q_proj+v_proj,none    lists are joined by +; none is an option left empty
    schedule                      all that the option allows
"""

import difflib
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass
from typing import Any, NoReturn

from llm_app.errors import UserError
from llm_app.options import OptionInfo, check_option, kind_of, options_of

Params = Mapping[str, Any]  # option -> value
NONE = "none"  # an option left empty
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}
MAX_POINTS = 1000  # of a range that is cut into single values
DIGITS = 4  # of a drawn number: more make no difference, and a person is to read and repeat it


@dataclass(frozen=True)
class Choices:
    """Single values of an option; numbers rise."""

    name: str
    values: tuple[Any, ...]

    @property
    def is_ordered(self) -> bool:
        """Whether they are numbers, so that a neighbour of a good value may be good as well."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)

    def draw(self, rng: random.Random) -> Any:
        """One of them, each as likely as the others."""
        return rng.choice(self.values)


@dataclass(frozen=True)
class Range:
    """All numbers between two, both included; whole ones where the ends are of type int."""

    name: str
    low: int | float
    high: int | float
    is_log: bool = False

    def draw(self, rng: random.Random) -> int | float:
        """One of them, evenly over the range or over its logarithm."""
        low, high = float(self.low), float(self.high)
        if isinstance(self.low, int):
            low, high = low - 0.5, high + 0.5  # each whole number gets a room of its own
        value = math.exp(rng.uniform(math.log(low), math.log(high))) if self.is_log else rng.uniform(low, high)
        return self.fit(value)

    def fit(self, value: float) -> int | float:
        """The number as it is tried: whole or short, and inside the range."""
        near = round(value) if isinstance(self.low, int) else float(f"{value:.{DIGITS}g}")
        return min(max(near, self.low), self.high)

    def points(self, n: int) -> tuple[int | float, ...]:
        """At most `n` of them, evenly spaced from end to end."""
        shares = [i / (n - 1) for i in range(n)] if n > 1 else [0.0]
        if self.is_log:
            ratio = self.high / self.low
            return tuple(dict.fromkeys(self.fit(self.low * ratio**share) for share in shares))
        return tuple(dict.fromkeys(self.fit(self.low + share * (self.high - self.low)) for share in shares))


Axis = Choices | Range
Space = tuple[Axis, ...]


def parse_space(texts: Sequence[str], config: type[Any]) -> Space:
    """An axis for each text.

    Raises: UserError naming the option, for what is not one, is out of its range, or says nothing to try.
    """
    if not texts:
        raise UserError("A search needs at least one option to try values of, such as rank=8,16,32.", param="space")
    space = tuple(_parse(text.strip(), config) for text in texts)
    names = [axis.name for axis in space]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{twice} stands in the search space twice; put all its values into one.", param="space")
    return space


def n_combinations(space: Space) -> int | None:
    """How many settings there are to try; None where a range has no end of them."""
    if any(isinstance(axis, Range) for axis in space):
        return None
    return math.prod(len(axis.values) for axis in space if isinstance(axis, Choices))


def combinations(space: Space) -> Iterator[dict[str, Any]]:
    """Every one of them, the last option changing first. The space has no ranges."""
    names = [axis.name for axis in space]
    for values in itertools.product(*(axis.values for axis in space if isinstance(axis, Choices))):
        yield dict(zip(names, values, strict=True))


def _parse(text: str, config: type[Any]) -> Axis:
    name, equals, values = text.partition("=")
    name = name.strip().replace("-", "_")
    options = {item.name: (item, info) for item, info in options_of(config)}
    if name not in options:
        near = difflib.get_close_matches(name, options, n=1)
        raise UserError(f"There is no option {name!r}{f'; did you mean {near[0]}?' if near else '.'}", param="space")
    item, info = options[name]
    if ".." in values:
        axis = _parse_range(item, info, values)
    else:
        parts = [part.strip() for part in values.split(",")] if equals else _all_of(item, info)
        axis = Choices(name, tuple(dict.fromkeys(_read(item, info, part) for part in parts)))
    if isinstance(axis, Choices) and axis.is_ordered:
        axis = Choices(name, tuple(sorted(axis.values)))
    for value in axis.values if isinstance(axis, Choices) else (axis.low, axis.high):
        check_option(item, info, value)  # what does not go with other options is found out setting by setting
    return axis


def _parse_range(item: Field[Any], info: OptionInfo, text: str) -> Axis:
    name = item.name
    if kind_of(item, info) not in (int, float):
        raise UserError(f"{name} has no numbers to range over; name its values: {name}=A,B", param="space")
    ends, *more = (part.strip() for part in text.split(":"))
    low, _, high = ends.partition("..")
    axis = Range(
        name, _read(item, info, low or _own_end(item, info.min)), _read(item, info, high or _own_end(item, info.max)),
        is_log="log" in more,
    )
    if axis.low >= axis.high:
        raise UserError(f"The range of {name} must rise, and {ends} does not.", param="space")
    if axis.is_log and axis.low <= 0:
        raise UserError(f"A logarithmic range must begin above 0; that of {name} does not.", param="space")
    counts = [part for part in more if part != "log"]
    if not counts:
        return axis
    if len(counts) > 1 or not counts[0].isdecimal() or not 2 <= int(counts[0]) <= MAX_POINTS:
        raise UserError(
            f"Behind the range of {name} may stand :log, and a number of values from 2 to {MAX_POINTS}; not"
            f" {':'.join(counts)!r}.", param="space",
        )
    return Choices(name, axis.points(int(counts[0])))


def _own_end(item: Field[Any], end: float | None) -> str:
    if end is None:
        raise UserError(f"{item.name} has no end of its own there; give both ends of its range.", param="space")
    return f"{end:.12g}"


def _all_of(item: Field[Any], info: OptionInfo) -> list[str]:
    """What an option allows, where that is a list."""
    if kind_of(item, info) is bool:
        return ["false", "true"]
    if info.choices is not None:
        return list(info.choices)
    raise UserError(
        f"Say which values of {item.name} to try: {item.name}=A,B or, of numbers, {item.name}=LOW..HIGH", param="space"
    )


def _read(item: Field[Any], info: OptionInfo, text: str) -> Any:
    """One value, of the option's own type.

    Raises: UserError if the text is none.
    """
    kind = kind_of(item, info)
    if text == NONE and item.default in (None, ()):
        return item.default
    try:
        if info.many:
            return tuple(text.split("+")) if all(text.split("+")) else _refuse(item, kind, text)
        if kind is bool:
            return _BOOLEANS[text.lower()]
        if kind is int:
            # 1e3 is a whole number as well, and so is what a person reads off a help text.
            return int(float(text)) if float(text).is_integer() else _refuse(item, kind, text)
        return kind(text) if text else _refuse(item, kind, text)
    except (ValueError, KeyError, OverflowError):
        return _refuse(item, kind, text)


def _refuse(item: Field[Any], kind: type[Any], text: str) -> NoReturn:
    kinds = {bool: "true or false", int: "whole numbers", float: "numbers", tuple: "names, joined by +"}
    raise UserError(f"{text!r} is no value of {item.name}, which takes {kinds.get(kind, 'text')}.", param="space")
