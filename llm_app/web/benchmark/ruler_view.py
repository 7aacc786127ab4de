"""The ruler's table and its line of progress: pure functions."""

from collections.abc import Sequence

from eval.report.markup import Child, Markup, element
from eval.report.numbers import score_text
from llm_app.jobs.ruler import Refused, Row, Working
from llm_app.jobs.store import Run
from llm_app.web.benchmark.results_markup import block, said, written

HEADS = (
    "ruler_precision", "ruler_perplexity", "ruler_kl", "ruler_agreement", "ruler_weights", "ruler_process",
    "ruler_prefill", "ruler_decode", "ruler_score",
)  # fmt: skip
PHASES = {
    "loading": "ruler_loading", "reading": "ruler_reading", "timing": "ruler_timing", "scoring": "ruler_scoring",
}
STATES = {
    "queued": "ruler_queued", "cancelled": "ruler_stopped", "interrupted": "ruler_interrupted",
    "failed": "ruler_failed", "paused": "ruler_failed", "damaged": "ruler_failed",
}  # fmt: skip


def progress(run: Run, n_total: int, working: Working | None) -> str:
    """What is being measured, with a bar; or how it ended."""
    if run.status == "done":
        return ""
    if run.status != "running":
        words: list[Child] = [said(STATES[run.status])]
        if run.reason and run.status != "cancelled":
            words += [" ", element("span", written(run.reason))]
        return block(element("p", *words, class_="notice info", role="status"))
    within = 0.0 if working is None else working.fraction
    share = min(1.0, (run.n_done + 0.9 * within) / max(1, n_total))
    name = said("ruler_starting") if working is None else said(PHASES[working.phase], precision=working.precision)
    bar = element("span", element("i", style=f"width:{share:.1%}"), class_="bar low")
    done = element("span", f"{run.n_done}/{n_total} ")
    return block(element("p", name, " ", done, bar, class_="notice info", role="status"))


def table(rows: Sequence[Row], refused: Sequence[Refused], model: str) -> str:
    """A line for each precision; then those that this model does not have, with the reason."""
    if not rows and not refused:
        return ""
    head = element("tr", *(
        element("th", said(name), scope="col", class_=None if name == "ruler_precision" else "num") for name in HEADS
    ))  # fmt: skip
    made = element("table", element("thead", head), element("tbody", *map(_line, rows)), class_="scores paired")
    about = None
    if rows:
        about = element("p", written(model), ", ", said("ruler_about", n=rows[0].n_tokens), class_="quiet below")
    missing = [
        element("li", element("b", one.precision), " ", said("ruler_refused"), " ", written(one.reason))
        for one in refused
    ]  # fmt: skip
    return block(made if rows else None, about, element("ul", *missing, class_="refused") if missing else None)


def _line(row: Row) -> Markup:
    score = "–"
    if row.score is not None:
        low, high = (score_text(value, "percent") for value in (row.score.low, row.score.high))
        score = f"{row.metric} {score_text(row.score.estimate, 'percent')} [{low}, {high}]"
    cells = (
        row.precision, f"{row.token_perplexity:.3f}", "–" if row.kl is None else f"{row.kl:.5f}",
        "–" if row.agreement is None else f"{row.agreement:.1%}", f"{row.weights_bytes / 1e6:,.0f} MB",
        f"{row.process_bytes / 1e6:,.0f} MB", f"{row.prefill_speed:,.0f}", f"{row.decode_speed:,.1f}", score,
    )  # fmt: skip
    return element("tr", *(
        element(
            "td", None if name == "ruler_precision" else element("span", said(name), " ", class_="label"),
            written(cell), class_="task" if name == "ruler_precision" else "num",
        )
        for name, cell in zip(HEADS, cells, strict=True)
    ), class_="first")  # fmt: skip
