"""The result table as Markdown, for a README or an issue."""

import re
from collections.abc import Mapping, Sequence

from eval.report.numbers import interval_text, score_text
from eval.report.rows import Row
from eval.report.run import Reported

# What could begin a link, an image, code, emphasis, HTML or a new cell. Underscores inside words begin nothing.
_SPECIAL = re.compile(r"([\\`*\[\]|<>&~$!#]|(?<!\w)_|_(?!\w))")


def markdown(reported: Sequence[Reported], rows: Sequence[Sequence[Row]]) -> str:
    """One table over all runs, who they are, and the commands that repeat them."""
    return "\n\n".join([
        "\n".join(_one(rows[0]) if len(reported) == 1 else _side_by_side(reported, rows)),
        "\n".join(f"- {escaped(about(run))}" for run in reported),
        f"95 % intervals: {_methods([row for run in rows for row in run])}. ↑ higher is better, ↓ lower is better.",
        *(_fenced(run.command) for run in reported if run.command),
    ]) + "\n"


def about(reported: Reported) -> str:
    """A run in a line: model, digest, settings, versions."""
    digest = reported.model.get("weights", "")
    parts = [
        reported.label,
        f"weights {digest[:12]}" if digest else "",
        *(f"{name} {value}" for name, value in reported.settings.items() if value),
        *(f"{name} {version}" for name, version in reported.versions.items()),
        f"run {reported.run.id}", reported.created[:10],
    ]
    return ", ".join(part for part in parts if part)


def marks(row: Row) -> str:
    """What a reader must know before using the number."""
    found = []
    if row.is_partial:
        found.append(f"partial, {row.n_answered} of {row.n_asked}")
    if row.n_unscored:
        found.append(f"{row.n_unscored} not scored")
    if row.n_cut:
        found.append(f"{row.n_cut} of {row.n_answered} prompts cut at the context")
    if row.has_few_passages:
        found.append(f"no interval: about {row.n_passages} passages only")
    if row.is_like_guessing:
        found.append("like guessing")
    return "; ".join(found)


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _one(rows: Sequence[Row]) -> list[str]:
    lines = ["| task | metric | value | 95 % interval | n | shots | note |", "|---|---|---:|---|---:|---:|---|"]
    for row in rows:
        cells = (
            escaped(row.task), escaped(f"{row.title} {row.direction}"), score_text(row.value, row.unit),
            interval_text(row), f"{row.n:,}", "" if row.n_shots is None else str(row.n_shots), marks(row),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _side_by_side(reported: Sequence[Reported], rows: Sequence[Sequence[Row]]) -> list[str]:
    heads = ["task", "metric", *(escaped(run.label) for run in reported)]
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---|" * len(reported)]
    for found in aligned(rows).values():
        one = named(found)
        cells = [escaped(one.task), escaped(f"{one.title} {one.direction}"), *(_cell(row) for row in found)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def aligned(rows: Sequence[Sequence[Row]]) -> Mapping[tuple[str, str, str], list[Row | None]]:
    """Rows of several runs by task, metric and filter; None where a run has no such row.

    What a run has not begun stands beside the scores that the others have.
    """
    begun = {row.task for run in rows for row in run if row.is_begun}
    keys = dict.fromkeys(row.key for run in rows for row in run if row.is_begun or row.task not in begun)
    waiting = [{(row.task, row.metric): row for row in run if not row.is_begun} for run in rows]
    by_key = [{row.key: row for row in run} for run in rows]
    return {key: [run.get(key) or w.get(key[:2]) for run, w in zip(by_key, waiting, strict=True)] for key in keys}


def named(found: Sequence[Row | None]) -> Row:
    """Of rows side by side the one that names them: a task that is not begun does not know its filters."""
    rows = [row for row in found if row is not None]
    return next((row for row in rows if row.is_begun), rows[0])


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    parts = [score_text(row.value, row.unit), interval_text(row), f"n {row.n:,}", marks(row)]
    return ", ".join(part for part in parts if part)


def _methods(rows: Sequence[Row]) -> str:
    methods = dict.fromkeys(row.interval for row in rows if row.interval)
    return "; ".join(f"{method} ({_metrics(rows, method)})" for method in methods) or "none"


def _metrics(rows: Sequence[Row], method: str) -> str:
    return ", ".join(dict.fromkeys(escaped(row.metric) for row in rows if row.interval == method))


def _fenced(command: str) -> str:
    """A block of code; the fence is longer than any in the command."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", command)), default=0))
    return f"{fence}sh\n{command}\n{fence}"
