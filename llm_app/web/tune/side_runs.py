"""Runs that belong to a training run: exports of what it learned, and the question whether it helped."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder, RunNotFound
from llm_app.jobs.store import Run, RunStore
from llm_app.services import Services
from llm_app.web.runs.views import LIVE, status_html
from llm_app.web.text import both, filled, pair
from llm_app.web.views import SEPARATOR, notice

N_LOOKED_AT = 200  # newest runs among which one is looked for
MAX_KNOWN = 100_000


@dataclass(frozen=True)
class _Link:
    kind: str
    train: str
    result: str  # digest of what the training run had written


class SideRuns:
    """Finds the newest run of a kind that was made for a training run. What a run is never changes, and is kept."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._links: dict[Path, _Link] = {}

    def newest(self, store: RunStore, kind: str, train: str, result: str | None = None) -> Run | None:
        """The run as things stand; None where there is none. `result`: it was made of the weights with this digest."""
        for run_id in store.ids(0, N_LOOKED_AT):
            if run_id < train:  # older
                return None
            link = self._link(store.root / run_id)
            if (link.kind, link.train) == (kind, train) and result in (None, link.result):
                with contextlib.suppress(RunNotFound):
                    return self._services.queue.mark([store.read(run_id)])[0]
        return None

    def stop(self, store: RunStore, run: Run) -> None:
        """Raises: RunNotFound if it is not of this program."""
        self._services.queue.cancel(run.id, owner=store.owner)

    def _link(self, path: Path) -> _Link:
        if path not in self._links:
            try:
                spec = RunFolder(path).spec()
            except UserError:
                return _Link("", "", "")
            if len(self._links) >= MAX_KNOWN:
                self._links.clear()
            self._links[path] = _Link(*(str(spec.get(name, "")) for name in ("kind", "train", "result")))
        return self._links[path]


def is_live(run: Run | None) -> bool:
    """Whether it waits or runs."""
    return run is not None and run.status in LIVE


def progress(run: Run, name: str) -> str:
    """A line and a bar for a run that goes on, a sentence for one that ended before its time; empty for one done.

    `name`: of the sentence that says what is done.
    """
    if run.status in LIVE:
        total = run.n_total or 0
        share = min(run.n_done / total, 1.0) if total else 0.0
        parts = [both(name), status_html(run, run.status), *([f"{share:.0%}"] if total else [])]
        return (
            f'<div class="side-run" role="status"><p>{SEPARATOR.join(parts)}</p><div class="bar" role="progressbar"'
            f' aria-valuemin="0" aria-valuemax="100" aria-valuenow="{100 * share:.0f}"'
            f' aria-label="{filled("run_progress")[0]}">'
            f'<i style="width:{share:.1%}"></i></div></div>'
        )
    if run.status == "done":
        return ""
    reason = f" {pair((run.reason, run.reason))}" if run.reason else ""
    return notice(f"{both(name)}: {status_html(run, run.status)}.{reason} {both('tune_press_again')}", "warning")


