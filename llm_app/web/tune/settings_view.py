"""Settings of training runs as they are shown: names in both languages, values as a person writes them."""

from collections.abc import Mapping
from typing import Any

from eval.report.markup import Markup, element
from llm_app.options import Text, options_of
from llm_app.web.benchmark.results_markup import said, told, written
from llm_app.web.text import STRINGS


def option_name(config: type[Any], name: str) -> Text:
    """The label of an option; a name that is none stays as it is."""
    return next((info.label for field, info in options_of(config) if field.name == name), (name, name))


def value_text(value: object) -> str:
    """A value as it is typed in the form."""
    if value is None or value == () or value == "":
        return "–"
    if isinstance(value, bool):
        return "✓" if value else "✗"
    if isinstance(value, tuple | list):
        return " ".join(str(part) for part in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def non_defaults(config: type[Any], values: Mapping[str, Any]) -> Markup:
    """Settings that are not at their default, one after the other."""
    if not values:
        return element("p", said("tune_all_defaults"), class_="quiet")
    shown = [
        element("li", told(option_name(config, name)), " ", element("b", written(value_text(value))))
        for name, value in values.items()
    ]
    return element("ul", *shown, class_="settings", aria_label=" · ".join(STRINGS["tune_non_defaults"]))


def difference_table(config: type[Any], values: Mapping[str, tuple[Any, Any]], names: tuple[str, str]) -> Markup:
    """A line for each setting in which two runs differ."""
    if not values:
        return element("p", said("tune_same_settings"), class_="quiet")
    head = element("tr", element("th", said("tune_setting"), scope="col"), *(
        element("th", written(name), scope="col", class_=f"run-{number}") for number, name in enumerate(names)
    ))  # fmt: skip
    rows = [
        element("tr", element("th", told(option_name(config, name)), scope="row"),
                *(element("td", written(value_text(value))) for value in pair))
        for name, pair in values.items()
    ]  # fmt: skip
    return element("table", element("thead", head), element("tbody", *rows), class_="differs")
