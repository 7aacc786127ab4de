"""Option dataclasses as command-line flags: `max_new_tokens` becomes `--max-new-tokens`, with its help and default."""

import argparse
from dataclasses import MISSING, Field
from typing import Any, TypeVar

from llm_app.options import OptionInfo, kind_of, options_of

Config = TypeVar("Config")


def flag_of(name: str) -> str:
    """The flag of a field."""
    return "--" + name.replace("_", "-")


def add_flags(parser: argparse.ArgumentParser, config: type[Any], title: str) -> None:
    """A flag for each described field, and `--no-` before the name for one that is on or off.

    One that is not given stays out of the namespace.
    """
    group = parser.add_argument_group(title)
    for item, info in options_of(config):
        text = f"{info.help[0]} {describe_range(item, info)}".rstrip().replace("%", "%%")
        if info.many:
            group.add_argument(
                flag_of(item.name), nargs="+", action="extend", default=argparse.SUPPRESS, metavar="TEXT", help=text,
            )
        elif kind_of(item, info) is bool:
            group.add_argument(
                flag_of(item.name), action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text,
            )
        else:
            kind = kind_of(item, info)
            names = {int: "N", float: "X", str: "TEXT"}
            metavar = "{" + ",".join(info.choices) + "}" if info.choices else names[kind]
            group.add_argument(flag_of(item.name), type=kind, default=argparse.SUPPRESS, metavar=metavar, help=text)


def read_flags(namespace: argparse.Namespace, config: type[Config]) -> Config:
    """The dataclass with the flags that were given; the others keep their defaults.

    Raises: UserError naming the field that is out of range.
    """
    given = vars(namespace)
    values = {item.name: given[item.name] for item, _ in options_of(config) if item.name in given}
    return config(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def describe_range(item: Field[Any], info: OptionInfo) -> str:
    """Default and range in brackets, as help and docs show them."""
    parts = []
    if isinstance(item.default, bool):
        parts.append(f"default {'on' if item.default else 'off'}")
    elif item.default is not MISSING and item.default not in (None, (), ""):
        parts.append("default " + str(item.default).replace("\n", r"\n"))
    if info.min is not None and info.max is not None and info.max < 2**31:
        parts.append(f"{info.min:g} to {info.max:.10g}")
    elif info.min is not None:
        parts.append(f"at least {info.min:g}")
    return f"({'; '.join(parts)})" if parts else ""
