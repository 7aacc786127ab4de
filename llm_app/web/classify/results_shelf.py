"""What runs of the Classify tab came to, read from their folders; kept for as long as nothing is written there."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from llm_app.classify.crossed import crossed
from llm_app.classify.folder import read_note
from llm_app.classify.judged import Judged, judge
from llm_app.classify.table import LabelledTable
from llm_app.classify.training.events import Scored
from llm_app.classify.training.targets import Problem
from llm_app.errors import UserError
from llm_app.jobs import classify
from llm_app.jobs.classifier import config_of
from llm_app.jobs.classifier_material import material_of
from llm_app.jobs.classifier_result import read_predictions
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.store import RunStore
from llm_app.jobs.train_data import differing_files
from llm_app.jobs.train_log import read_log
from llm_app.jobs.train_outcome import CLASSIFIER_KIND
from llm_app.jobs.train_result import CLASSIFIER
from llm_app.web.benchmark.results_cache import Stamp, stamp_of
from llm_app.web.classify.answers import Answers
from llm_app.web.classify.classifiers import title

MIN_ROWS, MAX_ROWS = 10, 20_000  # of a table that baselines learn from in a moment
MAX_KEPT = 24  # runs, of all visitors
N_LOOKED_AT = 100  # newest runs among which others on the same table are looked for
MAX_OTHERS = 12
BASELINES = ("majority", "tfidf")


@dataclass(frozen=True)
class Results:
    """The shown classifier first, and beside it those that were run on the same rows."""

    shown: Answers
    others: tuple[Answers, ...] = ()


class ResultShelf:
    """Reads runs. Whoever asks brings the store of whoever asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Stamp, tuple[Answers, ...]] = OrderedDict()

    def results(self, store: RunStore, folder: RunFolder) -> Results | None:
        """Of a table: the run, others over the same columns, and baselines. Of a training: each method on test rows.

        None where nothing is known yet. Raises: UserError if the run is damaged.
        """
        found = self._answers(folder)
        if not found:
            return None
        others = list(found[1:])
        if folder.spec().get("kind") == classify.KIND:
            others += [*self._beside(store, folder), *self._baselines(found[0], stamp_of(folder))]
        return Results(found[0], tuple(others))

    def shown(self, folder: RunFolder) -> Answers | None:
        """The run alone, at once. Raises: UserError if it is damaged."""
        return next(iter(self._answers(folder)), None)

    def _baselines(self, shown: Answers, stamp: Stamp) -> tuple[Answers, ...]:
        """What a frequent label and a linear model come to, each having learned from other rows of the same table."""
        if shown.is_baseline or not MIN_ROWS <= len(shown.scored) <= MAX_ROWS:
            return ()
        return self._kept_or((*stamp, "baselines"), lambda: _crossed(shown))

    def _beside(self, store: RunStore, folder: RunFolder) -> list[Answers]:
        """Other runs over the same table, newest first; of one classifier the newest."""
        mine = folder.spec()
        seen, found = {str(mine["classifier"]["identity"])}, list[Answers]()
        for run_id in store.ids(0, N_LOOKED_AT):
            if run_id == folder.id or len(found) >= MAX_OTHERS:
                continue
            try:
                other = store.open(run_id)
                spec = other.spec()
                if spec.get("kind") != classify.KIND or not _is_alike(mine, spec):
                    continue
                if str(spec["classifier"]["identity"]) not in seen:
                    seen.add(str(spec["classifier"]["identity"]))
                    found += self._answers(other)
            except (UserError, KeyError):
                continue  # damaged, or deleted meanwhile
        return found

    def _answers(self, folder: RunFolder) -> tuple[Answers, ...]:
        is_training = folder.spec().get("kind") == CLASSIFIER_KIND
        return self._kept_or(
            stamp_of(folder), lambda: tuple(_of_training(folder)) if is_training else (_of_table(folder),)
        )

    def _kept_or(self, stamp: Stamp, make: Callable[[], tuple[Answers, ...]]) -> tuple[Answers, ...]:
        with self._lock:
            found = self._kept.pop(stamp, None)
        if found is None:
            found = make()  # outside of the lock: it may take seconds
        with self._lock:
            self._kept[stamp] = found
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return found


def _crossed(shown: Answers) -> tuple[Answers, ...]:
    try:
        found = crossed(shown.table, shown.scored)
    except UserError:  # all truths are the same: there is nothing to learn
        return ()
    return tuple(Answers(name, shown.table, judged, is_baseline=True) for name, judged in found.items())


def _of_table(folder: RunFolder) -> Answers:
    spec = folder.spec()
    identity = spec["classifier"]["identity"]
    table, judged = classify.judged_run(folder)
    return Answers(
        title(spec["model"]["name"], identity), table, judged, float(identity.get("temperature") or 1.0),
        identity.get("method") in BASELINES,
    )  # fmt: skip


def _of_training(folder: RunFolder) -> list[Answers]:
    """What was trained first, then the baselines; on the test rows, else on those for validation."""
    spec, log = folder.spec(), read_log(folder)
    if not log.scored:
        return []
    if differing := differing_files(spec):
        raise UserError(f"{differing[0]} is not what it was when this was trained: its rows cannot be shown.")
    config = config_of(spec)
    material = material_of(spec, config)
    scored = sorted(log.scored, key=lambda one: one.method != config.method)
    name = log.written.name if log.written and log.written.name else config.method
    found = []
    for one in scored:
        rows = material.test if one.part == "test" else material.validation
        is_trained = one.method == config.method
        found.append(Answers(
            name if is_trained else one.method, rows, _judged(folder, one, rows, material.problem),
            _temperature(folder) if is_trained else 1.0, is_baseline=not is_trained,
        ))  # fmt: skip
    return found


def _temperature(folder: RunFolder) -> float:
    """What the trained classifier divides its logits by; 1 where it was thrown away."""
    with suppress(UserError):
        return read_note(folder.path / CLASSIFIER).temperature
    return 1.0


def _judged(folder: RunFolder, scored: Scored, rows: LabelledTable, problem: Problem) -> Judged:
    outcomes = [said for _, said, _ in read_predictions(folder, scored)]
    return judge(problem.kind, problem.labels, rows.truths, outcomes)


def _is_alike(mine: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the same rows were asked about, with the same truths."""
    return all(mine["table"][name] == other["table"][name] for name in ("digest", "reading", "columns"))
