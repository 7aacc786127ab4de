"""GLUE: each task's train rows learned as given, its validation rows scored with GLUE's own metrics; and, without any
training, what a chat model says of the same rows.

Validation rows choose nothing: the weights are those of the last step. Tasks, metrics and epochs as in Wang et al. 2019
(GLUE) and in the example script of transformers (three epochs; five for MRPC and WNLI). The chat model is asked as
lm-evaluation-harness asks it, so that `benchmark` gives the same figures.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from eval.classification import regression_scores, single_scores
from eval.statistics import Interval
from llm_app.classify.config import ClassifierConfig, ZeroShotConfig
from llm_app.classify.folder import read_note
from llm_app.classify.open import trained_folder
from llm_app.classify.table import Columns, labelled
from llm_app.classify.types import Kind, Prediction, answer
from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.data.read import read_file
from llm_app.data.table import Limits
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.jobs import classify, train
from llm_app.jobs.classifier import BASES, ClassifierData, data_json, resume_classifier, start_classifier
from llm_app.jobs.classifier_result import read_predictions
from llm_app.jobs.classify import Classification
from llm_app.jobs.classify_open import Asked, Classifiers
from llm_app.jobs.folder import RunFolder, write_whole
from llm_app.jobs.kept import plain
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import Training
from llm_app.jobs.train_log import read_log
from llm_app.jobs.train_outcome import CLASSIFIER_KIND
from llm_app.jobs.train_result import CLASSIFIER, free_name

FOLDER = "nyu-mll/glue"
POSITIVE = "1"  # the label whose F1 counts
ZERO_SHOT = "zero-shot"  # as a method


@dataclass(frozen=True)
class GlueTask:
    """A task of GLUE: its columns, its metrics, the first one to go by, and what its files are called.

    `template` and `words`, in the order of the labels 0, 1, ...: how a chat model is asked; without words it cannot be.
    """

    name: str
    text: str
    pair: str | None
    template: str = ""
    words: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("accuracy",)
    kind: Kind = "single"
    epochs: float = 3.0
    validation: str = "validation"
    further: tuple[tuple[str, str], ...] = ()  # (name, file) of other rows to be scored on

    @property
    def columns(self) -> Columns:
        """Of all its files."""
        return Columns(self.text, self.pair, "label", self.kind)


NO_YES = ("no", "yes")
TASKS = (
    GlueTask("cola", "sentence", None, "{text}\nQuestion: Does this sentence make sense?\nAnswer:", NO_YES, ("mcc",)),
    GlueTask("sst2", "sentence", None, "{text}\nQuestion: Is this sentence positive or negative?\nAnswer:",
             ("negative", "positive")),
    GlueTask("mrpc", "sentence1", "sentence2", "Sentence 1: {text}\nSentence 2: {pair}\nQuestion: Do both sentences"
             " mean the same thing?\nAnswer:", NO_YES, ("f1", "accuracy"), epochs=5.0),
    GlueTask("stsb", "sentence1", "sentence2", metrics=("spearman", "pearson"), kind="regression"),
    GlueTask("qqp", "question1", "question2", "Question 1: {text}\nQuestion 2: {pair}\nQuestion: Do both questions ask"
             " the same thing?\nAnswer:", NO_YES, ("f1", "accuracy")),
    GlueTask("mnli", "premise", "hypothesis", "{text}\nQuestion: {pair} True, False or Neither?\nAnswer:",
             ("True", "Neither", "False"), validation="validation_matched",
             further=(("mnli-mm", "validation_mismatched"),)),
    GlueTask("qnli", "question", "sentence", "{text}\n{pair}\nQuestion: Does this response answer the question?\n"
             "Answer:", ("yes", "no")),
    GlueTask("rte", "sentence1", "sentence2", "{text}\nQuestion: {pair} True or False?\nAnswer:", ("True", "False")),
    GlueTask("wnli", "sentence1", "sentence2", "{text}\nQuestion: {pair} True or False?\nAnswer:", ("False", "True"),
             epochs=5.0),
)  # fmt: skip


@dataclass(frozen=True)
class GlueScore:
    """One metric of one method on the validation rows of a task."""

    task: str
    method: str
    metric: str
    score: Interval
    n: int


def glue_tasks(names: Sequence[str]) -> list[GlueTask]:
    """Raises: UserError for a name that is none."""
    known = {task.name: task for task in TASKS}
    for name in names:
        if name not in known:
            raise UserError(f"GLUE has no task {name!r}; there are {', '.join(known)}.", param="tasks")
    return [known[name] for name in names]


def glue_training(
    task: GlueTask, config: ClassifierConfig, settings: Settings, *, base: str | None = None,
    n_rows: int | None = None, resumes: bool = False,
) -> Training:  # fmt: skip
    """A run over the task's files. `n_rows`: the first ones of each file alone.

    `resumes`: the newest one that was begun just so, to go on with it or to score it, if there is one.
    Raises: UserError if the task's data is not on this machine.
    """
    rows, validation = (
        DatasetSpec(str(_file(task, part, settings, n_rows)), name=f"GLUE {task.name} {part}")
        for part in ("train", task.validation)
    )
    data = ClassifierData(rows, task.columns, validation)
    epochs = None if config.method == "tfidf" else config.epochs or task.epochs
    asked = replace(config, validation=0.0, test=0.0, epochs=epochs)
    if resumes:
        found = _earlier(settings, {
            "kind": CLASSIFIER_KIND, "model": {"name": base or BASES[config.method] or ""}, **data_json(data),
            "config": asdict(asked), **train.program(),
        })  # fmt: skip
        if found is not None:
            return resume_classifier(found, settings)
    name = None if settings.is_public else free_name(f"GLUE {task.name} {config.method}", CLASSIFIER, settings)
    return start_classifier(data, asked, settings, base=base, name=name)


def glue_scores(task: GlueTask, folder: RunFolder) -> Iterator[GlueScore]:
    """What each method of a run came to, the trained one first.

    Raises: UserError if the run's files are damaged.
    """
    method, labels = folder.spec()["config"]["method"], read_note(folder.path / CLASSIFIER).labels
    for scored in sorted(read_log(folder).scored, key=lambda each: each.method != method):
        rows = [(said, truth) for _, said, truth in read_predictions(folder, scored)]
        yield from _scores(task, task.name, scored.method, labels, rows)


def further_scores(
    task: GlueTask, folder: RunFolder, settings: Settings, *, n_rows: int | None = None
) -> Iterator[GlueScore]:
    """What the trained classifier of a run comes to on the task's other rows, for which it is opened.

    Raises: UserError if they are not on this machine.
    """
    method = folder.spec()["config"]["method"]
    for name, part in task.further:
        table = labelled(read_file(_file(task, part, settings, n_rows)), task.columns)
        table = table.only_labelled(drops_unlabelled=True)
        with _lending(settings) as classifiers, classifiers.lent(Asked(str(folder.path / CLASSIFIER))) as classifier:
            found = {said.index: said for said in classifier.predict(table.items) if isinstance(said, Prediction)}
            labels = classifier.labels
        rows = [(found[place], truth) for place, truth in enumerate(table.truths) if place in found]
        yield from _scores(task, name, method, labels, rows)


# The chat model, by prompt -------------------------------------------------------------------------------------


def check_chat(model: str, settings: Settings) -> None:
    """Raises: ModelNotFound; UserError for a model that has learned to classify and takes no prompt."""
    if trained_folder(model, settings) is not None:
        raise UserError(f"{model} is a trained classifier; a chat model is asked by prompt.", param="zero_shot")


def prompted_parts(task: GlueTask, settings: Settings) -> list[tuple[str, str]]:
    """(name, file) of the rows that a chat model is asked about, as far as they are on this machine."""
    parts = [(task.name, task.validation), *task.further] if task.words else []
    return [(name, part) for name, part in parts if _is_here(task, part, settings)]


@contextlib.contextmanager
def prompted(
    task: GlueTask, part: str, model: str, settings: Settings, *, n_rows: int | None = None, resumes: bool = False
) -> Iterator[Classification]:
    """A run over the rows of a file; the chat model is loaded for as long as this lasts. Options as `glue_training`.

    Raises: as `classify.start` and `classify.resume`.
    """
    config = ZeroShotConfig(task.template, task.words)
    asked = Asked(model, tuple(str(number) for number in range(len(task.words))), config)
    source = classify.Source(_file(task, part, settings, n_rows), task.columns)
    table = source.read(f"GLUE {task.name} {part}")
    found = None
    if resumes:
        found = _earlier(settings, {
            "kind": classify.KIND, "classifier": {"asked": plain(asdict(asked))}, **classify.program(),
            "table": {"digest": table.digest, "columns": asdict(task.columns)},
        })  # fmt: skip
    with _lending(settings) as classifiers:
        yield (
            classify.start(asked, source, classifiers, settings, table=table) if found is None
            else classify.resume(found, classifiers)
        )


def prompted_scores(task: GlueTask, name: str, run: Classification) -> Iterator[GlueScore]:
    """What the chat model of a run came to so far on the rows of that name."""
    judged = run.judged()
    said = {outcome.index: outcome for outcome in run.outcomes.values() if isinstance(outcome, Prediction)}
    rows = [(said[place], judged.rows[place].truth) for place in judged.places]
    yield from _scores(task, name, ZERO_SHOT, judged.labels, rows)


@contextlib.contextmanager
def _lending(settings: Settings) -> Iterator[Classifiers]:
    """Whatever is opened within it is let go of in the end, with the model that it was loaded on."""
    host = Host(settings)
    classifiers = Classifiers(host, settings)
    try:
        yield classifiers
    finally:
        classifiers.close()
        host.shutdown(grace_seconds=0)


# What both have in common --------------------------------------------------------------------------------------


def _scores(
    task: GlueTask, name: str, method: str, labels: Sequence[str], rows: Sequence[tuple[Prediction, Any]]
) -> Iterator[GlueScore]:
    """The task's metrics of these predictions and truths."""
    truths = [truth for _, truth in rows]
    if task.kind == "regression":
        figures = dict(regression_scores([said.scores[0] for said, _ in rows], truths).figures)
    else:
        found = single_scores([str(answer("single", labels, said.scores)) for said, _ in rows], truths, labels)
        figures = dict(found.figures)
        figures.update(("f1", one.f1) for one in found.by_class if one.label == POSITIVE)
    for metric in task.metrics:
        if metric in figures:
            yield GlueScore(name, method, metric, figures[metric], len(rows))


def _earlier(settings: Settings, wanted: Mapping[str, Any]) -> RunFolder | None:
    """The newest run of which spec.json says all of these, unless it was thrown away."""
    store = RunStore.of(settings)
    for run_id in store.ids():
        folder = RunFolder(store.root / run_id)
        with contextlib.suppress(UserError):  # a damaged one is none to go on with
            if _says(folder.spec(), wanted) and not read_log(folder).is_discarded:
                return folder
    return None


def _says(found: Any, wanted: Any) -> bool:
    """Whether a value of a spec.json is this; of a mapping, whether it holds this, among other things."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(_says(found.get(name), value) for name, value in wanted.items())
    return bool(found == wanted)


def _path(task: GlueTask, part: str, settings: Settings) -> Path | None:
    return None if settings.data is None else settings.data / FOLDER / task.name / f"{part}.parquet"


def _is_here(task: GlueTask, part: str, settings: Settings) -> bool:
    path = _path(task, part, settings)
    return path is not None and path.is_file()


def _file(task: GlueTask, part: str, settings: Settings, n_rows: int | None) -> Path:
    path = _path(task, part, settings)
    if path is None or not path.is_file():
        raise UserError(
            f"GLUE's {task.name} ({part}) is not on this machine: set PROOFBENCH_DATA to a folder laid out like the"
            f" hub, with {FOLDER}/{task.name}/{part}.parquet.", param="tasks",
        )
    if n_rows is None:
        return path
    rows = read_file(path, limits=Limits(n_first=n_rows)).rows
    text = "".join(json.dumps(dict(row.cells), ensure_ascii=False) + "\n" for row in rows)
    return write_whole(settings.home / "cache" / "glue" / f"{task.name}-{part}-{n_rows}.jsonl", text)
