"""What a run looks like: its card and its line in the list. Pure functions from what its folder says to HTML."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llm_app.jobs.store import Run
from llm_app.options import Text
from llm_app.web.text import both, filled, inert, pair
from llm_app.web.views import joined, notice

LIVE = ("running", "queued")
RESUMABLE = ("interrupted", "cancelled", "paused", "failed")
STATUS = {
    "running": "state_running", "stopping": "state_stopping", "done": "state_done", "cancelled": "state_cancelled",
    "interrupted": "state_interrupted", "paused": "state_paused", "failed": "state_failed", "damaged": "state_damaged",
}
ADVICE = {
    "cancelled": "advice_cancelled", "interrupted": "advice_interrupted", "paused": "advice_paused",
    "failed": "advice_failed", "damaged": "advice_damaged",
}


@dataclass(frozen=True)
class Manner:
    """How a kind of run is spoken of: names of sentences. `advice`: by how the run ended.

    `unknown`: a total that only says that it is not known yet.
    """

    counted: str = "samples_of"
    per_second: str = "samples_per_second"
    per_minute: str = "samples_per_minute"
    advice: Mapping[str, str] = field(default_factory=lambda: ADVICE)
    unknown: int = 0


SAMPLES = Manner()
TONES = {"running": "live", "queued": "live", "done": "good", "failed": "bad", "damaged": "bad"}
MAX_NAMES = 4  # of tasks in a line; the rest is counted


def card(
    run: Run, per_second: float | None, body: str, *, is_stopping: bool = False, manner: Manner = SAMPLES
) -> str:
    """The card of a run: what it is, how far it is, what came of it so far. `body` is HTML of its own tab.

    Its lines stand in the same places whether it waits, runs or is over.
    """
    status = "stopping" if is_stopping and run.status == "running" else run.status
    return (
        f'<section class="run {TONES.get(run.status, "still")}" data-run="{inert(run.id)}"'
        f' aria-label="{inert(when(run.created))}">'
        f'<header><h3>{inert(when(run.created))}</h3><span class="badge">{status_html(run, status)}</span>'
        f'<span class="about">{inert(about(run))}</span></header>'
        f"{_progress(run, per_second, manner)}{_ending(run, manner)}{body}</section>"
    )


def line(run: Run, aside: str = "") -> str:
    """One line of the list: when, what, how it ended, what it came to. `aside`: HTML of its tab instead of scores."""
    came_to = aside or (pair(_came_to(run)) if run.scores else "")
    remark = f'<q class="remark">{inert(run.note)}</q>' if run.note else ""
    return (
        f'<li class="{TONES.get(run.status, "still")}"><span class="when">{inert(when(run.created) or run.id)}</span>'
        f'<span class="what">{pair(what(run))}{remark}</span><span class="about">{inert(about(run))}</span>'
        f'<span class="result">{came_to}</span><span class="badge">{status_html(run, run.status)}</span></li>'
    )


def lines(runs: Sequence[Run], asides: Mapping[str, str] | None = None) -> str:
    """The list, as high as its radio buttons. `asides`: by run."""
    drawn = "".join(line(run, (asides or {}).get(run.id, "")) for run in runs)
    return f'<ol class="rows">{drawn}</ol>' if runs else ""


def choice(run: Run) -> str:
    """What a screen reader says of a line of the list, and the line itself where it is cut: all of it."""
    came_to = ", ".join(f"{short(name)} {metric} {value:.3g}" for name, (metric, value) in run.scores.items())
    tasks = ", ".join(short(name) for name in run.tasks)
    parts = (when(run.created) or run.id, tasks, about(run), came_to, run.note, run.status)
    return " · ".join(part for part in parts if part)


def status_html(run: Run, status: str) -> str:
    """In a word or two how it stands."""
    if status == "queued":
        return both("state_queued", n=run.position) if run.position else both("state_starting")
    return both(STATUS[status])


def what(run: Run) -> Text:
    """Its tasks, the first few by name."""
    names = [short(name) for name in run.tasks]
    shown = ", ".join(names[:MAX_NAMES])
    if len(names) <= MAX_NAMES:
        return shown, shown
    more = filled("run_and_more", n=len(names) - MAX_NAMES)
    return f"{shown} {more[0]}", f"{shown}{more[1]}"


def about(run: Run) -> str:
    """Which model, in which numbers, with which adapter."""
    return " · ".join(part for part in (short(run.model), run.precision, short(run.adapter or "")) if part)


def short(name: str) -> str:
    """The last part of a path, and a file without its ending; other names as they are."""
    last = Path(name).name if "/" in name or "\\" in name else name
    return last.removesuffix(".yaml")


def when(created: str) -> str:
    """The time of this machine, to the minute; empty if it is unknown."""
    try:
        moment = datetime.datetime.fromisoformat(created).replace(tzinfo=datetime.UTC)
    except ValueError:
        return ""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def duration(seconds: float) -> Text:
    """0:21, 12:05, 1:02:40 as a clock shows it; from a day on in days."""
    whole = round(seconds)
    if whole >= 86_400:
        return filled("days", n=whole / 86_400)
    hours, rest = divmod(whole, 3600)
    clock = f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
    return clock, clock


def speed(per_second: float, manner: Manner = SAMPLES) -> Text:
    """Samples a second, or a minute where that says more."""
    if per_second >= 0.95:
        return filled(manner.per_second, n=per_second)
    return filled(manner.per_minute, n=per_second * 60)


def _progress(run: Run, per_second: float | None, manner: Manner) -> str:
    total = 0 if run.n_total == manner.unknown and not run.n_done else run.n_total or 0
    share = run.n_done / total if total else 0.0
    facts = [filled(manner.counted, done=run.n_done, total=total)] if total else []
    if run.status == "running" and not total:  # a process that starts reads its libraries for seconds
        facts.append(filled("run_preparing"))
    elif run.status == "running":
        facts.append(speed(per_second, manner) if per_second else filled("speed_unknown"))
        if per_second:
            english, chinese = duration(max(0, total - run.n_done) / per_second)
            facts.append((filled("time_left", time=english)[0], filled("time_left", time=chinese)[1]))
    return (
        f'<div class="bar" role="progressbar" aria-valuemin="0" aria-valuemax="{max(total, 1)}"'
        f' aria-valuenow="{run.n_done}" aria-label="{inert(filled("run_progress")[0])}">'
        f'<i style="width:{min(share, 1.0):.1%}"></i></div><p class="figures">{pair(joined(*facts))}</p>'
    )


def _ending(run: Run, manner: Manner) -> str:
    """Why it is not done, and what to do; nothing where there is nothing to say."""
    if run.status not in manner.advice:
        return ""
    advice = both(manner.advice[run.status])
    # A stop says no more than its own word.
    reason = f"{pair((run.reason, run.reason))} " if run.reason and run.status != "cancelled" else ""
    return notice(f"{reason}{advice}", "error" if run.status in ("failed", "damaged") else "warning")


def _came_to(run: Run) -> Text:
    found = [f"{short(name)} {metric} {value:.3g}" for name, (metric, value) in run.scores.items()]
    shown = ", ".join(found[:2])
    if len(found) <= 2:
        return shown, shown
    more = filled("run_and_more", n=len(found) - 2)
    return f"{shown} {more[0]}", f"{shown}{more[1]}"
