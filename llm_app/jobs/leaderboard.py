"""What a search came to: its trials, best first, as rows for a table or a file."""

from collections.abc import Sequence
from typing import Any

from llm_app.training.search_trials import LOSS, Trial, as_measured, ranking

WORDS = {
    "done": "done", "cut": "out of time", "pruned": "stopped early", "running": "unfinished", "failed": "failed",
}


def leaderboard(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """A row a trial, best first, as JSON has it. `params`: the options that differ; the rest is shared by all.

    `before`, and under the name of the `metric` the best that was measured, are as that has them.
    """
    rows = []
    for place, trial in enumerate(ranking(trials), start=1):
        before = None if trial.before is None else as_measured(trial.metric, trial.before)
        rows.append({
            "place": place, "trial": trial.number, "params": dict(trial.params), "metric": trial.metric,
            "before": before, trial.metric: trial.best_value, "step": trial.best[0] if trial.best else None,
            "steps": trial.n_steps, "seconds": round(trial.seconds, 1), "state": trial.state, "reason": trial.reason,
            "run": trial.run,
        })
    return rows


def as_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table; below it why trials failed, and what was measured before any training."""
    names = list(rows[0]["params"]) if rows else []
    metric = rows[0]["metric"] if rows else LOSS
    header = ["", *names, f"best validation {metric}", "at step", "steps", "seconds", "state", "run"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows:
        value = row[row["metric"]]
        best = ["-", "-"] if value is None else [f"{value:.4f}", str(row["step"])]
        cells = [
            str(row["place"]), *(cell(row["params"].get(name)) for name in names), *best, str(row["steps"]),
            f"{row['seconds']:.0f}", WORDS[row["state"]], row["run"] or "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"{row['run'] or row['trial']}: {row['reason']}" for row in rows if row["reason"]]
    before = next((row["before"] for row in rows if row["before"] is not None), None)
    if before is not None and metric == LOSS:  # a new head knows nothing: no bar to beat
        is_no_gain = rows[0]["loss"] is not None and rows[0]["loss"] >= before
        lines.append(f"Before training: {before:.4f}.{' No setting was better than that.' if is_no_gain else ''}")
    return "\n".join(lines)


def cell(value: Any) -> str:
    """One value of an option, as the space's text has it."""
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "+".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
