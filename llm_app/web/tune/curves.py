"""Curves of losses over steps: SVG without a script, drawn to any width, named at their ends.

The drawing is stretched to its box, and lines keep their width; words stand beside it as HTML, so that they keep their
size on a phone. Marks are lines without a length and with round ends, which stretching leaves round.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from eval.report.markup import Markup, element, joined
from eval.report.plots import colour_class
from llm_app.options import Text
from llm_app.web.benchmark.results_markup import told

MAX_POINTS = 600  # of one line; more are averaged
SMOOTHING = 0.08  # the share of the curve that the smoothed line looks back on
LABEL_GAP = 11.0  # percent of the height that a name at the end of a line takes
N_TICKS = 4


@dataclass
class Points:
    """(step, value), however many there are: neighbours are averaged as soon as they are too many to draw."""

    found: list[tuple[float, float]] = field(default_factory=list)
    width: int = 1  # points that one stands for
    _waiting: list[tuple[float, float]] = field(default_factory=list)

    def add(self, step: float, value: float) -> None:
        """One more point; values that are no numbers have no place on a plot."""
        if not math.isfinite(value):
            return
        self._waiting.append((step, value))
        if len(self._waiting) >= self.width:
            self.found.append(_mean(self._waiting))
            self._waiting.clear()
        if len(self.found) > 2 * MAX_POINTS:
            self.found = [_mean(self.found[n : n + 2]) for n in range(0, len(self.found), 2)]
            self.width *= 2

    def all(self) -> list[tuple[float, float]]:
        """What is drawn."""
        return [*self.found, *([_mean(self._waiting)] if self._waiting else [])]


@dataclass(frozen=True)
class Line:
    """One curve. `colour` numbers the run or the kind; `has_marks`: every point is a measurement of its own."""

    name: Text
    colour: int
    points: Sequence[tuple[float, float]]
    has_marks: bool = False

    @property
    def last(self) -> float:
        """Where it ends."""
        return self.points[-1][1]


def curves(caption: Text, lines: Sequence[Line], n_steps: float) -> Markup | None:
    """A plot of some lines over steps 0 to `n_steps`; None while there is nothing to draw."""
    drawn = [line for line in lines if line.points]
    if not drawn:
        return None
    values = [value for line in drawn for _, value in line.points]
    ticks = _ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]
    end = max(n_steps, *(step for line in drawn for step, _ in line.points), 1.0)
    grid = [element("path", d=f"M0 {_y(tick, low, high):.2f}H100", class_="grid") for tick in ticks]
    svg = element(
        "svg", *grid, *(part for line in drawn for part in _drawn(line, end, low, high)),
        viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true",
    )  # fmt: skip
    y_words = [
        element("span", word, class_="y", style=f"top:{_y(tick, low, high):.2f}%")
        for tick, word in zip(ticks, _apart(ticks), strict=True)
    ]
    x_words = [
        element("span", f"{end * share:,.0f}", class_=f"x at-{n}", style=f"left:{100 * share:.0f}%")
        for n, share in enumerate((0.0, 0.5, 1.0)) if n != 1 or end % 2 == 0 or end >= 20
    ]
    plot = element("div", *y_words, svg, *x_words, *_names(drawn, low, high), class_="plot", aria_hidden="true")
    spoken = [element("span", *_spoken(line), class_="spoken") for line in drawn]
    return element("figure", element("figcaption", told(caption)), plot, *spoken, class_="curve")


def spark(lines: Sequence[Line]) -> Markup | None:
    """The same in a line of text, without words."""
    drawn = [line for line in lines if len(line.points) > 1]
    if not drawn:
        return None
    values = [value for line in drawn for _, value in line.points]
    end = max(step for line in drawn for step, _ in line.points) or 1.0
    low, high = min(values), max(max(values), min(values) + 1e-9)
    paths = [
        element("path", d=_path(_smoothed(line), end, low, high), class_=f"line {colour_class(line.colour)}")
        for line in drawn
    ]
    return element(
        "svg", *paths, class_="spark", viewBox="0 -6 100 112", preserveAspectRatio="none", aria_hidden="true"
    )


def _drawn(line: Line, end: float, low: float, high: float) -> Iterator[Markup]:
    colour = colour_class(line.colour)
    if line.has_marks:
        yield element("path", d=_path(line.points, end, low, high), class_=f"line {colour}")
        dots = "".join(f"M{100 * step / end:.2f} {_y(value, low, high):.2f}h0" for step, value in line.points)
        yield element("path", d=dots, class_=f"marks {colour}")
        return
    yield element("path", d=_path(line.points, end, low, high), class_=f"raw {colour}")
    yield element("path", d=_path(_smoothed(line), end, low, high), class_=f"line {colour}")


def _names(lines: Sequence[Line], low: float, high: float) -> list[Markup]:
    """The name and the last value of each line where it ends, moved apart where they would meet."""
    wanted = sorted((_y(line.last, low, high), number) for number, line in enumerate(lines))
    places: list[tuple[float, int]] = []
    for top, number in wanted:
        places.append((max(top, places[-1][0] + LABEL_GAP) if places else top, number))
    over = max(0.0, places[-1][0] - 98)
    return [
        element(
            "span", told(lines[number].name), element("b", _number(lines[number].last)),
            class_=f"end {colour_class(lines[number].colour)}", style=f"top:{max(top - over, 2):.2f}%",
        )
        for top, number in places
    ]  # fmt: skip


def _spoken(line: Line) -> tuple[Markup | str, ...]:
    first, last = line.points[0][1], line.last
    return told(line.name), f" {_number(first)} → {_number(last)}; "


def _smoothed(line: Line) -> list[tuple[float, float]]:
    """An exponential mean, corrected for its beginning, over a share of the curve."""
    keep = 1 - 1 / max(1.0, SMOOTHING * len(line.points))
    mean, weight, found = 0.0, 0.0, []
    for step, value in line.points:
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        found.append((step, mean / weight))
    return found


def _path(points: Sequence[tuple[float, float]], end: float, low: float, high: float) -> str:
    at = [f"{100 * step / end:.2f} {_y(value, low, high):.2f}" for step, value in points]
    return "M" + "L".join(at) if len(at) > 1 else f"M{at[0]}h0"


def _y(value: float, low: float, high: float) -> float:
    """Percent from the top."""
    return 100 * (high - min(max(value, low), high)) / ((high - low) or 1.0)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around the values; zero is the first where the lowest value is not far from it."""
    if low == high:
        low, high = low - abs(low or 1) / 2, high + abs(high or 1) / 2
    if 0 <= low < high / 3:
        low = 0.0
    step = _round((high - low) / N_TICKS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, last + 1)]


def _round(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in (1, 2, 2.5, 5) if step * power >= value * 0.999), 10 * power)


def _apart(values: Sequence[float]) -> list[str]:
    """Different numbers, with as many digits as it takes to tell them apart."""
    words = ([_number(value, n_digits) for value in values] for n_digits in range(3, 18))
    return next(found for found in words if len(set(found)) == len(values))


def _number(value: float, n_digits: int = 3) -> str:
    return f"{value:.{n_digits}g}".replace("-", "\u2212")


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(step for step, _ in points) / len(points), sum(value for _, value in points) / len(points)


def key(*names: tuple[Text, int]) -> Markup:
    """What the colours of a small plot mean."""
    return joined(*(element("span", told(name), class_=f"key {colour_class(colour)}") for name, colour in names))
