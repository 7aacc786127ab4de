"""The reliability diagram, before and after a temperature; and what a threshold does to two labels."""

from collections.abc import Iterator, Sequence

from eval.classification import Bin, threshold_curve
from eval.report.markup import Markup, element
from eval.report.plots import colour_class
from llm_app.web.benchmark.results_markup import block, said
from llm_app.web.classify.answers import Answers
from llm_app.web.classify.calibration import Calibration, Curve, best_threshold
from llm_app.web.classify.scores_views import figure
from llm_app.web.views import notice

TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
CAP = 1.4  # percent of the plot
LARGEST, SMALLEST = 2.6, 1.1  # radius of a bin's mark, by its share of the rows


def diagram(found: Calibration | None) -> str:
    """One plot, or two beside each other; what the temperature is, and where it comes from."""
    if found is None:
        return notice(block(said("reliability_none")))
    if found.after is None:
        return block(element("div", _plot(found.before, said("reliability_before"), 0), class_="plots"), _about())
    names = ("reliability_untempered", "reliability_tempered") if found.is_trained else (
        "reliability_before", "reliability_after"
    )  # fmt: skip
    titles = [said(name, t=found.temperature) for name in names]
    plots = [_plot(curve, title, n) for n, (curve, title) in enumerate(
        zip((found.before, found.after), titles, strict=True)
    )]  # fmt: skip
    source = said("reliability_trained" if found.is_trained else "reliability_fitted")
    return block(element("div", *plots, class_="plots"), _about(), element("p", source, class_="quiet"))


def threshold(shown: Answers, at: float) -> str:
    """Precision, recall and F1 of the second label at this threshold, and where F1 is highest."""
    label = shown.labels[1]
    is_label = [shown.judged.rows[place].truth == label for place in shown.scored]
    likely = shown.probabilities[:, 1]
    if not any(is_label):
        return ""
    curve = threshold_curve(likely, is_label)
    place = curve.place_of(at)
    reached = likely >= at
    n_right = sum(bool(hit) == true for hit, true in zip(reached, is_label, strict=True))
    cells = [
        ("scores_precision", figure(curve.precision[place]) if place is not None else "–"),
        ("scores_recall", figure(curve.recall[place]) if place is not None else figure(0.0)),
        ("scores_f1", figure(curve.f1[place]) if place is not None else figure(0.0)),
        ("threshold_accuracy", figure(n_right / len(is_label))),
        ("threshold_rows", f"{int(reached.sum()):,}"),
    ]
    facts = [element("div", element("dt", said(name)), element("dd", value)) for name, value in cells]
    found = best_threshold(shown)
    best = None if found is None else said("threshold_best", at=found.at, f1=found.f1)
    return block(
        element("p", said("threshold_about", label=label), " ", best, class_="quiet"),
        element("dl", *facts, class_="facts plan"),
    )


def has_threshold(shown: Answers) -> bool:
    """Whether there are two labels, of which one can be asked more of, and rows to see what that does."""
    has_both = shown.kind == "single" and len(shown.labels) == 2
    return has_both and any(row.truth == shown.labels[1] for row in shown.judged.rows)


def _about() -> Markup:
    return element("p", said("reliability_about"), class_="quiet")


def _plot(curve: Curve, title: Markup, colour: int) -> Markup:
    marks = element("g", *_marks(curve.bins), class_=colour_class(colour))
    frame = element("svg", *_grid(), marks, viewBox="0 0 100 100", class_="reliability", role="img",
                    aria_label=_spoken(curve))  # fmt: skip
    ticks = [element("span", f"{tick:g}", class_="y", style=f"top:{100 * (1 - tick):g}%") for tick in TICKS]
    ticks += [element("span", f"{tick:g}", class_="x", style=f"left:{100 * tick:g}%") for tick in TICKS]
    error = element("b", said("reliability_ece", ece=curve.error))
    return element(
        "figure", element("figcaption", title, " · ", error),
        element("div", frame, *ticks, class_="square", aria_hidden="false"),
        element("p", said("reliability_x"), class_="axis x"),
    )  # fmt: skip


def _grid() -> Iterator[Markup]:
    for tick in TICKS:
        yield element("path", d=f"M0 {100 * tick:g}H100M{100 * tick:g} 0V100", class_="grid")
    yield element("path", d="M0 100L100 0", class_="zero-line")


def _marks(bins: Sequence[Bin]) -> Iterator[Markup]:
    """A line through the bins; each with its interval, its size by how many rows it holds."""
    points = [(100 * one.confidence, 100 * (1 - one.accuracy.estimate)) for one in bins]
    if len(points) > 1:
        yield element("path", d="M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points), class_="line")
    most = max((one.accuracy.n for one in bins), default=1)
    for one, (x, y) in zip(bins, points, strict=True):
        low, high = 100 * (1 - one.accuracy.low), 100 * (1 - one.accuracy.high)
        caps = f"M{x - CAP:.2f} {low:.2f}h{2 * CAP}M{x - CAP:.2f} {high:.2f}h{2 * CAP}"
        yield element("path", d=f"M{x:.2f} {low:.2f}V{high:.2f}{caps}", class_="whisker")
        radius = SMALLEST + (LARGEST - SMALLEST) * (one.accuracy.n / most) ** 0.5
        yield element("circle", cx=f"{x:.2f}", cy=f"{y:.2f}", r=f"{radius:.2f}", class_="mark")


def _spoken(curve: Curve) -> str:
    return "; ".join(f"{one.confidence:.2f}: {one.accuracy.estimate:.2f} (n {one.accuracy.n})" for one in curve.bins)
