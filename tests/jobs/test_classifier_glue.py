"""GLUE by fine-tuning: which rows, which metrics, and that they equal scikit-learn's on the same predictions."""

from pathlib import Path

import pytest
from scipy.stats import spearmanr
from sklearn import metrics

from llm_app.classify.config import ClassifierConfig
from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.jobs.classifier_result import read_predictions
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.glue import TASKS, GlueTask, glue_scores, glue_tasks, start_glue
from llm_app.jobs.train import Training
from llm_app.jobs.train_in_place import InPlace
from llm_app.jobs.train_log import read_log

QUICK = ClassifierConfig(method="tfidf")


def done(task: GlueTask, hub_data: Path, home: Path) -> RunFolder:
    settings = Settings(home=home, data=hub_data)
    made = start_glue(task, QUICK, settings, n_rows=40)
    list(Training(made.folder, settings, start=InPlace).run())
    return made.folder


@pytest.mark.parametrize("name", ["mrpc", "cola", "stsb"])
def test_its_metrics_equal_those_of_scikit_learn_and_scipy(name: str, hub_data: Path, tmp_path: Path) -> None:
    (task,) = glue_tasks([name])
    folder = done(task, hub_data, tmp_path / "home")
    begun = read_log(folder).begun
    assert begun is not None and (begun.n_train, begun.n_validation, begun.n_test) == (40, 0, 40)
    trained = next(scored for scored in read_log(folder).scored if scored.method == "tfidf")
    rows = read_predictions(folder, trained)
    truths = [truth for _, _, truth in rows]
    found = {each.metric: each.score.estimate for each in glue_scores(task, folder) if each.method == "tfidf"}
    if task.kind == "regression":
        assert found["spearman"] == pytest.approx(spearmanr(truths, [said.scores[0] for _, said, _ in rows]).statistic)
        return
    guessed = [str(max(range(len(said.scores)), key=lambda place: said.scores[place])) for _, said, _ in rows]
    expected = {
        "accuracy": metrics.accuracy_score(truths, guessed), "mcc": metrics.matthews_corrcoef(truths, guessed),
        "f1": metrics.f1_score(truths, guessed, average=None, labels=["1"])[0],
    }  # fmt: skip
    assert found == pytest.approx({metric: expected[metric] for metric in task.metrics})


def test_the_columns_of_every_task_are_those_of_its_files(hub_data: Path) -> None:
    from llm_app.data.read import read_file
    from llm_app.data.table import Limits

    for task in TASKS:
        for part in ("train", task.validation):
            path = hub_data / "nyu-mll" / "glue" / task.name / f"{part}.parquet"
            if path.is_file():
                columns = read_file(path, limits=Limits(n_first=1)).columns
                assert {task.text, task.pair or task.text, "label"} <= set(columns)


def test_an_unknown_task_and_missing_data_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no task 'sst3'; there are cola"):
        glue_tasks(["sst3"])
    with pytest.raises(UserError, match="set PROOFBENCH_DATA"):
        start_glue(TASKS[0], QUICK, Settings(home=tmp_path))
