"""GLUE by fine-tuning: each task's train rows learned as given, its validation rows scored with GLUE's own metrics.

Validation rows choose nothing: the weights are those of the last step. Tasks, metrics and epochs as in Wang et al. 2019
(GLUE) and in the example script of transformers (three epochs; five for MRPC and WNLI).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eval.classification import regression_scores, single_scores
from eval.statistics import Interval
from llm_app.classify.config import ClassifierConfig
from llm_app.classify.folder import read_note
from llm_app.classify.table import Columns
from llm_app.classify.types import Kind, answer
from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.data.read import read_file
from llm_app.data.table import Limits
from llm_app.errors import UserError
from llm_app.jobs.classifier import ClassifierData, start_classifier
from llm_app.jobs.classifier_result import read_predictions
from llm_app.jobs.folder import RunFolder, write_whole
from llm_app.jobs.train import Training
from llm_app.jobs.train_log import read_log
from llm_app.jobs.train_result import CLASSIFIER

FOLDER = "nyu-mll/glue"
POSITIVE = "1"  # the label whose F1 counts


@dataclass(frozen=True)
class GlueTask:
    """A task of GLUE: its columns, its metrics, the first one to go by, and what its files are called."""

    name: str
    text: str
    pair: str | None
    metrics: tuple[str, ...] = ("accuracy",)
    kind: Kind = "single"
    epochs: float = 3.0
    validation: str = "validation"


TASKS = (
    GlueTask("cola", "sentence", None, ("mcc",)),
    GlueTask("sst2", "sentence", None),
    GlueTask("mrpc", "sentence1", "sentence2", ("f1", "accuracy"), epochs=5.0),
    GlueTask("stsb", "sentence1", "sentence2", ("spearman", "pearson"), "regression"),
    GlueTask("qqp", "question1", "question2", ("f1", "accuracy")),
    GlueTask("mnli", "premise", "hypothesis", validation="validation_matched"),
    GlueTask("qnli", "question", "sentence"),
    GlueTask("rte", "sentence1", "sentence2"),
    GlueTask("wnli", "sentence1", "sentence2", epochs=5.0),
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


def start_glue(
    task: GlueTask, config: ClassifierConfig, settings: Settings, *, base: str | None = None, n_rows: int | None = None
) -> Training:
    """A run over the task's files. `n_rows`: the first ones of each file alone.

    Raises: UserError if the task's data is not on this machine.
    """
    train, validation = (_file(task, part, settings, n_rows) for part in ("train", task.validation))
    columns = Columns(task.text, task.pair, "label", task.kind)
    asked = replace(config, validation=0.0, test=0.0, epochs=config.epochs or task.epochs)
    return start_classifier(
        ClassifierData(DatasetSpec(str(train)), columns, DatasetSpec(str(validation))), asked, settings, base=base
    )


def glue_scores(task: GlueTask, folder: RunFolder) -> Iterator[GlueScore]:
    """What each method of a run came to, the trained one first.

    Raises: UserError if the run's files are damaged.
    """
    method, labels = folder.spec()["config"]["method"], read_note(folder.path / CLASSIFIER).labels
    for scored in sorted(read_log(folder).scored, key=lambda each: each.method != method):
        rows = read_predictions(folder, scored)
        truths = [truth for _, _, truth in rows]
        if task.kind == "regression":
            figures = dict(regression_scores([said.scores[0] for _, said, _ in rows], truths).figures)
        else:
            answers = [str(answer("single", labels, said.scores)) for _, said, _ in rows]
            found = single_scores(answers, truths, labels)
            figures = dict(found.figures)
            figures.update(("f1", one.f1) for one in found.by_class if one.label == POSITIVE)
        for metric in task.metrics:
            if metric in figures:
                yield GlueScore(task.name, scored.method, metric, figures[metric], len(rows))


def _file(task: GlueTask, part: str, settings: Settings, n_rows: int | None) -> Path:
    path = None if settings.data is None else settings.data / FOLDER / task.name / f"{part}.parquet"
    if path is None or not path.is_file():
        raise UserError(
            f"GLUE's {task.name} is not on this machine: set PROOFBENCH_DATA to a folder laid out like the hub, with"
            f" {FOLDER}/{task.name}/{part}.parquet.", param="tasks",
        )
    if n_rows is None:
        return path
    rows = read_file(path, limits=Limits(n_first=n_rows)).rows
    text = "".join(json.dumps(dict(row.cells), ensure_ascii=False) + "\n" for row in rows)
    return write_whole(settings.home / "cache" / "glue" / f"{task.name}-{part}-{n_rows}.jsonl", text)
