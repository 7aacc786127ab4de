"""What is shown of data sets: pure functions, of text that is always escaped."""

from collections.abc import Sequence
from pathlib import Path

from eval.report.markup import Markup, element
from llm_app.data.mix import DatasetSpec
from llm_app.data.types import BadRow, Example
from llm_app.errors import UserError
from llm_app.web.benchmark.results_markup import block, passage, said, told
from llm_app.web.text import both, inert
from llm_app.web.tune.data_desk import Known
from llm_app.web.views import notice

SHOWN_EXAMPLES, SHOWN_BAD = 3, 200
ROLES = {"system": "turn_system", "user": "turn_user", "assistant": "turn_assistant", "tool": "turn_tool"}


def rows(data: Sequence[DatasetSpec], known: Sequence[Known | UserError]) -> str:
    """A line for each data set, as high as its radio button."""
    lines = [_row(spec, one) for spec, one in zip(data, known, strict=True)]
    return f'<ol class="rows data-sets">{"".join(lines)}</ol>' if lines else ""


def choice(spec: DatasetSpec, known: Known | UserError) -> str:
    """What a screen reader says of a line."""
    n = "" if isinstance(known, UserError) else f", {len(known.examples):,}"
    return f"{title(spec)}{n}"


def title(spec: DatasetSpec) -> str:
    """The name of a data set; a path is shown nowhere but in the command."""
    return spec.name or Path(spec.path).name


def about(known: Known) -> str:
    """Its size, its layout, and how it was read."""
    facts = both(
        "tune_data_about", n=len(known.examples), rows=len(known.table.rows) + len(known.table.problems),
        title=title(known.spec),
    )  # fmt: skip
    layout = both(f"layout_{known.mapping.layout}")
    found = both("tune_detected" if known.is_detected else "tune_set_by_you")
    notes = "".join(notice(block(told((note.text, note.text_zh)))) for note in known.table.notes)
    return f'<p class="data-about">{facts} {layout} <span class="quiet">({found})</span></p>{notes}'


def preview(known: Known) -> str:
    """The first examples as they were understood."""
    if not known.examples:
        return notice(both("tune_no_examples"), "warning")
    shown = [_example(example) for example in known.examples[:SHOWN_EXAMPLES]]
    head = element("summary", said("tune_first_examples", n=len(shown)))
    return block(element("details", head, element("div", *shown, class_="shown-examples"), data_fold="tune-preview"))


def bad_rows(known: Known) -> str:
    """Rows that became no example, with line and reason."""
    if not known.bad:
        return ""
    lines = [_bad(row) for row in known.bad[:SHOWN_BAD]]
    n_more = len(known.bad) - len(lines)
    more = element("li", said("own_more_lines", n=n_more)) if n_more > 0 else None
    summary = element("summary", said("tune_bad_rows", n=len(known.bad)))
    listed = element("ul", *lines, more, class_="lines", tabindex="0")
    return block(element("details", summary, listed, class_="bad-rows", data_fold="tune-bad"))


def _row(spec: DatasetSpec, known: Known | UserError) -> str:
    name = f'<span class="what">{inert(title(spec))}</span>'
    if isinstance(known, UserError):
        return f'<li class="bad">{name}<span class="about">{both("tune_cannot_read")}</span></li>'
    n_bad = f'<span class="badge">{both("tune_n_bad", n=len(known.bad))}</span>' if known.bad else "<span></span>"
    layout, n = both(f"layout_{known.mapping.layout}"), both("tune_n_examples", n=len(known.examples))
    return (
        f'<li class="{"bad" if known.bad else "still"}">{name}<span class="about">{layout}</span>'
        f'<span class="count">{n}</span><span class="count">× {spec.weight:g}</span>{n_bad}</li>'
    )


def _bad(row: BadRow) -> Markup:
    return element("li", said("tune_at_line", n=row.origin.line), " ", told((row.reason, row.reason_zh or row.reason)))


def _example(example: Example) -> Markup:
    """An example in turns, or as prompt and completion."""
    if example.turns:
        parts = [
            _turn(ROLES.get(turn.role, "turn_tool"), turn.content, is_trained=turn.is_trained) for turn in example.turns
        ]
    else:
        parts = [_turn("turn_text", example.prompt)] if example.prompt else []
        parts.append(_turn("turn_completion", example.completion, is_trained=True))
    if example.rejected is not None:
        parts.append(_turn("turn_rejected", example.rejected))
    return element("div", *parts, class_="one-example")


def _turn(role: str, words: str, *, is_trained: bool = False) -> Markup:
    name = element("h5", said(role), element("small", " ", said("tune_is_learned")) if is_trained else None)
    return element("div", name, passage(words), class_="part trained" if is_trained else "part")


