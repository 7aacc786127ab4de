"""Form controls made from an option dataclass, and the dataclass made back from what the form sent.

What a browser sends is not trusted: a slider may send a string, a text box a dictionary. `read` accepts exactly the
types a field can have and leaves ranges and choices to the dataclass itself.
"""

import re
from collections.abc import Sequence
from dataclasses import Field, dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from llm_app.errors import UserError
from llm_app.options import OptionInfo, kind_of, options_of
from llm_app.web import text
from llm_app.web.failures import SentenceError

NUMBER = re.compile(r"[+-]?(\d{1,20}\.?\d{0,20}|\.\d{1,20})([eE][+-]?\d{1,3})?", re.ASCII)
SLIDER_STEPS = 400  # a slider with more positions than this cannot be set by hand; a number box can


@dataclass(frozen=True)
class Form:
    """The controls of one option dataclass, in the order of its fields."""

    config: type[Any]
    controls: tuple[Component, ...]

    def read(self, values: Sequence[object]) -> Any:
        """The dataclass that these control values stand for.

        Raises: UserError naming the field.
        """
        return read(self.config, values)


def build_form(config: type[Any], prefix: str = "option") -> Form:
    """Controls for every option: the everyday ones in sight, the advanced ones folded.

    `prefix` begins their elem_id: two forms of a page may have options of one name.
    """
    made: dict[str, Component] = {}
    options = options_of(config)
    for field, info in options:
        if not info.advanced:
            made[field.name] = control(config, field, info, prefix)
    if any(info.advanced for _, info in options):
        with gr.Accordion(text.label("more"), open=False, elem_classes="fold"):
            for field, info in options:
                if info.advanced:
                    made[field.name] = control(config, field, info, prefix)
    return Form(config, tuple(made[field.name] for field, _ in options))


def control(config: type[Any], field: Field[Any], info: OptionInfo, prefix: str = "option") -> Component:
    """The form control that suits one option."""
    words = {
        "label": text.option_label(config, field.name),
        "info": text.option_help(config, field.name),
        "elem_classes": "option",
        "elem_id": f"{prefix}-{field.name.replace('_', '-')}",
    }
    default: Any = field.default
    if info.choices is not None:
        return gr.Dropdown(choices=list(info.choices), value=default, **words)
    if info.many:
        return gr.Textbox(value="\n".join(default), lines=2, max_lines=6, **words)
    if isinstance(default, bool):
        return gr.Checkbox(value=default, **words)
    if _is_number(field, info) and default is None:
        # An empty number box reads as 0 in the browser, and a seed has more digits than its numbers hold.
        return gr.Textbox(value="", max_lines=1, placeholder=text.label("option_automatic"), **words)
    if _is_number(field, info):
        return _number(default, info, words)
    return gr.Textbox(value=default or "", lines=1, max_lines=4, **words)


def read(config: type[Any], values: Sequence[object]) -> Any:
    """An option dataclass from raw control values, in the order of its fields.

    Raises: UserError naming the field.
    """
    options = options_of(config)
    if len(values) != len(options):
        raise SentenceError("wrong_value")
    return config(**{f.name: _value(f, info, raw) for (f, info), raw in zip(options, values, strict=True)})


def _number(default: float, info: OptionInfo, words: dict[str, Any]) -> Component:
    whole = isinstance(default, int)
    step = info.step or (1 if whole else None)  # a rate has no step: a slider would have nothing between its ends
    if info.min is None or info.max is None or step is None or (info.max - info.min) / step > SLIDER_STEPS:
        return gr.Number(value=default, minimum=info.min, maximum=info.max, precision=0 if whole else None, **words)
    return gr.Slider(info.min, info.max, value=default, step=info.step, **words)


def _is_number(field: Field[Any], info: OptionInfo) -> bool:
    return info.min is not None or isinstance(field.default, int | float)


def _value(field: Field[Any], info: OptionInfo, raw: object) -> Any:
    if info.many:
        return tuple(line for line in _text(field, raw).split("\n") if line)
    if info.choices is not None or isinstance(field.default, str):
        return _text(field, raw)
    if isinstance(field.default, bool):
        if not isinstance(raw, bool):
            raise UserError(f"{field.name} must be on or off.", param=field.name)
        return raw
    if field.default is None:
        line = _text(field, raw).strip()
        if not _is_number(field, info) or not line:
            return line or None
        return _whole(field, line) if kind_of(field, info) is int else _number_of(field, line)
    if isinstance(field.default, int) and isinstance(raw, float) and raw.is_integer():
        return int(raw)
    if raw is None:
        raise UserError(f"{field.name} is empty. Enter a number.", param=field.name)
    return raw


def _text(field: Field[Any], raw: object) -> str:
    if raw is None:
        return ""
    if not isinstance(raw, str):
        raise UserError(f"{field.name} must be text, not {type(raw).__name__}.", param=field.name)
    return raw


def _whole(field: Field[Any], line: str) -> int:
    # int() would also read "1_000" and digits of other scripts.
    if not (line.isascii() and line.removeprefix("-").isdigit() and len(line) <= 20):
        raise UserError(f"{field.name} must be a whole number or empty, not {line[:40]!r}.", param=field.name)
    return int(line)


def _number_of(field: Field[Any], line: str) -> float:
    # float() would also read "nan", "1_0" and digits of other scripts.
    if not NUMBER.fullmatch(line):
        raise UserError(f"{field.name} must be a number such as 2e-4, or empty, not {line[:40]!r}.", param=field.name)
    return float(line)
