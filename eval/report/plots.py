"""Plots as SVG inside the page: bars with intervals, and a radar. No script; colours come from the style sheet.

Positions along the bars are percentages of the width, so that the text keeps its size on a phone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eval.report.markup import Markup, element
from eval.report.numbers import interval_text, score_text
from eval.report.rows import Row

N_COLOURS = 6
MAX_AXES, MIN_AXES = 16, 3
MAX_LABEL = 12  # characters of a line beside the radar
MANY_AXES = 12  # more leave room for one line each
MAX_LINE = 46  # characters that fit beside each other on a phone; more take two lines
LINE, LABEL_LINE = 16, 13


@dataclass(frozen=True)
class Bar:
    """One run's score. `colour` numbers the run."""

    label: str
    colour: int
    row: Row


def colour_class(number: int) -> str:
    """The class that gives a run its colour, the same everywhere on the page."""
    return f"run-{number % N_COLOURS}"


Group = Sequence[Bar]  # the same score of several runs


def bars(groups: Sequence[Group], chance_label: str, *, has_labels: bool = False) -> Markup:
    """Horizontal bars from zero with intervals, a group a score. `has_labels`: each bar says whose it is."""
    parts: list[Markup] = []
    y = 0.0
    for group in groups:
        made, height = _group(group, y, chance_label, has_labels)
        parts += made
        y += height
    return element("svg", *parts, class_="bars", width="100%", height=f"{y:.0f}", role="img", aria_label=_said(groups))


def _group(group: Group, top: float, chance_label: str, has_labels: bool) -> tuple[list[Markup], float]:
    row, y = group[0].row, top + 16
    low, high = _scale([bar.row for bar in group])
    title = f"{row.task} · {row.title} {row.direction}".rstrip()
    parts = [_text(_short(title, MAX_LINE), "0", y, "strong")]
    if not has_labels:
        y += LINE if len(title) + len(_figure(row)) > MAX_LINE else 0
        parts.append(_text(_figure(row), "100%", y, "num", anchor="end"))
    y += 8
    for bar in group:
        label_y = y
        if has_labels:
            y += LINE if len(bar.label) + len(_figure(bar.row)) > MAX_LINE else 0
            parts.append(_text(_short(bar.label, MAX_LINE), "0", label_y + 11, colour_class(bar.colour)))
            parts.append(_text(_figure(bar.row), "100%", y + 11, "num", anchor="end"))
            y += 17
        parts += _bar(bar, y, low, high)
        if row.chance is not None:
            parts.append(_line(_at(row.chance, low, high), y - 3, y + 17, "chance", chance_label))
        y += 20
    for value in _ticks(low, high):
        anchor = "start" if value == low else "end" if value == high else "middle"
        parts.append(_text(_tick(value), _at(value, low, high), y + 9, "tick", anchor=anchor))
    return parts, y + 24 - top


def _bar(bar: Bar, y: float, low: float, high: float) -> list[Markup]:
    row = bar.row
    colour = f"bar {colour_class(bar.colour)}"
    start, end = sorted((_share(0, low, high), _share(row.value or 0, low, high)))
    parts = [
        element("rect", x="0", y=y, width="100%", height=14, class_="track"),
        element("rect", x=f"{start:.2f}%", y=y, width=f"{end - start:.2f}%", height=14, class_=colour),
        _line(_at(0, low, high), y - 2, y + 16, "zero"),
    ]
    if row.low is not None and row.high is not None:
        left, right = _at(row.low, low, high), _at(row.high, low, high)
        parts.append(element("line", x1=left, x2=right, y1=y + 7, y2=y + 7, class_="whisker"))
        parts += [_line(x, y + 3, y + 11, "whisker") for x in (left, right)]
    return parts


def _scale(rows: Sequence[Row]) -> tuple[float, float]:
    """Ends of the axis: 0 to 1 or −1 to 1 where the score has such ends, else from 0 to a round number."""
    numbers = [number for row in rows for number in (row.value, row.low, row.high) if number is not None]
    if rows[0].unit == "percent":
        return 0.0, 1.0
    if rows[0].unit == "coefficient" and all(abs(number) <= 1 for number in numbers):
        return (-1.0, 1.0) if min(numbers, default=0) < 0 else (0.0, 1.0)
    return -_round_up(-min(0.0, *numbers)), _round_up(max(0.0, *numbers))


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten; 0 for 0."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in (1, 2, 2.5, 5) if step * power >= value), 10 * power)


def _ticks(low: float, high: float) -> list[float]:
    return [low + (high - low) * i / 4 for i in range(5)]


def _tick(value: float) -> str:
    return score_text(0.0, "hundred")[:1] if value == 0 else f"{value:.3g}".replace("-", "\u2212")


def _share(value: float, low: float, high: float) -> float:
    return min(100.0, max(0.0, 100 * (value - low) / ((high - low) or 1)))


def _at(value: float, low: float, high: float) -> str:
    return f"{_share(value, low, high):.2f}%"


def _figure(row: Row) -> str:
    return f"{score_text(row.value, row.unit)} {interval_text(row)}".rstrip()


def _text(words: str, x: str, y: float, class_: str, *, anchor: str = "start") -> Markup:
    return element("text", words, x=x, y=f"{y:.1f}", class_=class_, text_anchor=anchor)


def _line(x: str, y1: float, y2: float, class_: str, title: str | None = None) -> Markup:
    label = element("title", title) if title else None
    return element("line", label, x1=x, x2=x, y1=f"{y1:.1f}", y2=f"{y2:.1f}", class_=class_)


def _said(groups: Sequence[Group]) -> str:
    """The plot in words, for who cannot see it."""
    return "; ".join(
        f"{bar.row.task} {bar.row.title}, {bar.label}: {_figure(bar.row)}" for group in groups for bar in group
    )


def radar(axes: Sequence[Group]) -> Markup | None:
    """A polygon for each run over scores from 0 to 1, with intervals along the axes; None for too few or too many."""
    if not MIN_AXES <= len(axes) <= MAX_AXES:
        return None
    parts: list[Markup] = [
        element("polygon", points=_polygon([share] * len(axes)), class_="ring") for share in (0.25, 0.5, 0.75, 1.0)
    ]
    for number, group in enumerate(axes):
        parts.append(_spoke(number, len(axes), 0.0, 1.0, "ring"))
        parts.append(_label(group[0].row.task, number, len(axes)))
    parts += [_text(f"{share:g}", "184", 154 - 100 * share + 3, "tick") for share in (0.5, 1.0)]
    for colour in dict.fromkeys(bar.colour for group in axes for bar in group):
        parts.append(_run(colour, axes))
    return element(
        "svg", *parts, class_="radar", viewBox="-18 12 396 276", role="img", aria_label=_said(axes),
    )


def _run(colour: int, axes: Sequence[Group]) -> Markup:
    rows = [next((bar.row for bar in group if bar.colour == colour), None) for group in axes]
    points = _polygon([row.value or 0.0 if row else 0.0 for row in rows])
    parts = [element("polygon", points=points, class_="area")]
    for number, row in enumerate(rows):
        if row is not None and row.low is not None and row.high is not None:
            parts.append(_spoke(number, len(rows), max(0.0, row.low), min(1.0, row.high), "sure"))
        if row is not None and row.value is not None:
            x, y = _point(number, len(rows), row.value)
            title = element("title", f"{row.task} {row.title}: {_figure(row)}")
            parts.append(element("circle", title, cx=f"{x:.1f}", cy=f"{y:.1f}", r=3.5))
    return element("g", *parts, class_=colour_class(colour))


def _point(number: int, n: int, share: float) -> tuple[float, float]:
    angle = 2 * math.pi * number / n - math.pi / 2
    return 180 + 100 * share * math.cos(angle), 150 + 100 * share * math.sin(angle)


def _polygon(shares: Sequence[float]) -> str:
    points = [_point(number, len(shares), share) for number, share in enumerate(shares)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _spoke(number: int, n: int, start: float, end: float, class_: str) -> Markup:
    (x1, y1), (x2, y2) = _point(number, n, start), _point(number, n, end)
    return element("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=class_)


def _short(words: str, n: int) -> str:
    return words if len(words) <= n else words[: n - 1] + "…"


def _label(name: str, number: int, n: int) -> Markup:
    """The name of an axis, in two lines where it is long: nothing may stand outside the picture on a phone."""
    x, y = _point(number, n, 1.1)
    anchor = "middle" if abs(x - 180) < 12 else "start" if x > 180 else "end"
    lines = _in_lines(name) if n <= MANY_AXES else [_short(name, MAX_LABEL)]
    above = 0 if y > 250 else len(lines) - 1 if y < 50 else (len(lines) - 1) / 2  # lines that stand over the axis
    down = 4 if abs(y - 150) < 100 else 10 if y > 150 else -2
    spans = [
        element("tspan", line, x=f"{x:.1f}", dy=f"{0 if place == 0 else LABEL_LINE}")
        for place, line in enumerate(lines)
    ]  # fmt: skip
    top = y + down - above * LABEL_LINE
    return element("text", *spans, element("title", name), y=f"{top:.1f}", text_anchor=anchor, class_="axis")


def _in_lines(name: str) -> list[str]:
    """A name in one or two lines, broken after a sign that joins words where there is one."""
    if len(name) <= MAX_LABEL:
        return [name]
    breaks = [place + 1 for place, sign in enumerate(name[:MAX_LABEL]) if sign in "_-/. "] or [MAX_LABEL]
    fitting = [place for place in breaks if len(name) - place <= MAX_LABEL]
    place = fitting[0] if fitting else breaks[-1]
    return [name[:place], _short(name[place:], MAX_LABEL)]
