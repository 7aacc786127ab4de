"""What runs of the Classify tab came to, read from their folders: what was read stays, only what is new is read."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from llm_app.classify.crossed import MAX_ROWS, MIN_ROWS, crossed
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
from llm_app.jobs.train_log import TrainLog, read_log
from llm_app.jobs.train_outcome import CLASSIFIER_KIND
from llm_app.jobs.train_result import CLASSIFIER
from llm_app.options import Text
from llm_app.web.benchmark.results_cache import stamp_of
from llm_app.web.classify.answers import Answers
from llm_app.web.classify.classifiers import Name
from llm_app.web.classify.recent import Recent
from llm_app.web.classify.table_run import ROW_BYTES, SCORE_BYTES, TableRun, key_of
from llm_app.web.classify.tables import Tables
from llm_app.web.runs.views import when
from llm_app.web.text import STRINGS, filled

MAX_BYTES = 64 << 20  # of runs over tables, and as much of trainings and of baselines, of all visitors
N_LOOKED_AT = 100  # newest runs among which others on the same table are looked for
MAX_OTHERS = 12


@dataclass(frozen=True)
class Results:
    """The shown classifier, and beside it those that were run on the same rows.

    `why_no_bars`: why no baselines are among them.
    """

    shown: Answers
    others: tuple[Answers, ...] = ()
    why_no_bars: Text | None = None


class ResultShelf:
    """Reads runs. Whoever asks brings the store of whoever asks."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._runs: Recent[TableRun] = Recent(MAX_BYTES, lambda run: run.n_bytes)
        self._trainings: Recent[tuple[Answers, ...]] = Recent(MAX_BYTES, _n_bytes)
        self._baselines: Recent[tuple[Answers, ...]] = Recent(MAX_BYTES, _n_bytes)

    def results(self, store: RunStore, folder: RunFolder) -> Results | None:
        """Of a table: the run, others over the same columns, and baselines. Of a training: each method on test rows.

        None where nothing is known yet. Raises: UserError if the run is damaged.
        """
        found = self._answers(folder)
        if not found:
            return None
        if folder.spec().get("kind") != classify.KIND:
            return Results(found[0], found[1:])
        bars, why_none = self._bars(found[0], folder)
        return Results(found[0], (*self._beside(store, folder, found[0]), *bars), why_none)

    def shown(self, folder: RunFolder) -> Answers | None:
        """The run alone, at once. Raises: UserError if it is damaged."""
        return next(iter(self._answers(folder)), None)

    def _bars(self, shown: Answers, folder: RunFolder) -> tuple[tuple[Answers, ...], Text | None]:
        """What a frequent label and a linear model come to, each having learned from other rows; or why they do not."""
        n = len(shown.scored)
        if n < MIN_ROWS:
            return (), filled("scores_few_rows", least=MIN_ROWS)
        if n > MAX_ROWS:
            return (), filled("scores_many_rows", most=MAX_ROWS)
        if found := self._baselines.get((*stamp_of(folder), n), lambda: _crossed(shown)):
            return found, None
        is_one = len({shown.judged.rows[place].truth for place in shown.scored}) == 1
        return (), STRINGS["scores_one_truth" if is_one else "scores_unlearned"]

    def _beside(self, store: RunStore, folder: RunFolder, shown: Answers) -> list[Answers]:
        """Other runs over the same table, newest first; of one classifier the newest. Equal names get their times."""
        mine, names = folder.spec(), {shown.name}
        seen, found = {key_of(mine["classifier"]["identity"])}, list[Answers]()
        for run_id in store.ids(0, N_LOOKED_AT):
            if run_id == folder.id or len(found) >= MAX_OTHERS:
                continue
            try:
                other = store.open(run_id)
                spec = other.spec()
                if spec.get("kind") != classify.KIND or not _is_alike(mine, spec):
                    continue
                if (key := key_of(spec["classifier"]["identity"])) in seen:
                    continue
                seen.add(key)
                for one in self._answers(other):
                    made = when(spec["created"])
                    found.append(one if one.name not in names else replace(one, name=one.name.and_also((made, made))))
                    names.add(one.name)
            except (UserError, KeyError):
                continue  # damaged, or deleted meanwhile
        return found

    def _answers(self, folder: RunFolder) -> tuple[Answers, ...]:
        kind = folder.spec().get("kind")
        if kind != classify.KIND:
            return self._of_training(folder) if kind == CLASSIFIER_KIND else ()
        run = self._runs.get(str(folder.path), lambda: TableRun(folder, self._tables.of_run(folder)))
        return (run.look(),)

    def _of_training(self, folder: RunFolder) -> tuple[Answers, ...]:
        """Its rows are read once they are scored, not at each of its steps."""
        log = read_log(folder)
        if not log.scored:
            return ()
        key = (str(folder.path), repr(log.scored), log.written)
        return self._trainings.get(key, lambda: tuple(_of_training(folder, log)))


def _crossed(shown: Answers) -> tuple[Answers, ...]:
    try:
        found = crossed(shown.table, shown.scored)
    except UserError:  # all truths are the same: there is nothing to learn
        return ()
    return tuple(
        Answers(Name(method=f"method_{name}"), shown.table, judged, is_baseline=True, key=f"baseline:{name}")
        for name, judged in found.items()
    )


def _of_training(folder: RunFolder, log: TrainLog) -> list[Answers]:
    """What was trained first, then the baselines; on the test rows, else on those for validation."""
    spec = folder.spec()
    if differing := differing_files(spec):
        raise UserError(f"{differing[0]} is not what it was when this was trained: its rows cannot be shown.")
    config = config_of(spec)
    material = material_of(spec, config)
    scored = sorted(log.scored, key=lambda one: one.method != config.method)
    own = Name(log.written.name) if log.written and log.written.name else Name(method=f"method_{config.method}")
    found = []
    for one in scored:
        rows = material.test if one.part == "test" else material.validation
        is_trained = one.method == config.method
        found.append(Answers(
            own if is_trained else Name(method=f"method_{one.method}"), rows,
            _judged(folder, one, rows, material.problem), _temperature(folder) if is_trained else 1.0,
            is_baseline=not is_trained, key=one.method, n_learned=one.n if one.flatters else 0,
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


def _n_bytes(found: tuple[Answers, ...]) -> int:
    return sum(len(one.judged.rows) * (ROW_BYTES + SCORE_BYTES * len(one.labels)) for one in found)


def _is_alike(mine: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the same rows were asked about, with the same truths."""
    return all(mine["table"][name] == other["table"][name] for name in ("digest", "reading", "columns"))
