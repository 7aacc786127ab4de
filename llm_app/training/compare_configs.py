"""What is special about a run, and what sets two runs apart: options that differ. No third-party imports."""

from typing import Any

from llm_app.options import options_of


def non_defaults(config: Any) -> dict[str, Any]:
    """The options of an option dataclass that are not at their default, in order of declaration."""
    values = {item.name: getattr(config, item.name) for item, _ in options_of(type(config))}
    return {item.name: values[item.name] for item, _ in options_of(type(config)) if values[item.name] != item.default}


def differences(one: Any, other: Any) -> dict[str, tuple[Any, Any]]:
    """The options in which two configurations of one kind differ: name -> (value of the one, of the other)."""
    pairs = {item.name: (getattr(one, item.name), getattr(other, item.name)) for item, _ in options_of(type(one))}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
