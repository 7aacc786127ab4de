"""GLUE by fine-tuning and by prompt: which rows, which metrics, and that they equal scikit-learn's and scipy's."""

import json
import runpy
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from jinja2 import Template
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics

from llm_app.classify.config import ClassifierConfig, ZeroShotConfig
from llm_app.classify.open import open_classifier
from llm_app.classify.prompt import Prompt
from llm_app.classify.types import Item, Prediction
from llm_app.cli import main
from llm_app.config import Settings
from llm_app.engine.host import Host
from llm_app.errors import Cancelled, UserError
from llm_app.jobs.classifier_result import read_predictions
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.glue import (
    TASKS,
    GlueTask,
    further_scores,
    glue_scores,
    glue_tasks,
    glue_training,
    prompted,
    prompted_scores,
)
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import Training, discard
from llm_app.jobs.train_in_place import InPlace
from llm_app.jobs.train_log import read_log

QUICK = ClassifierConfig(method="tfidf")
GLUE = Path("nyu-mll", "glue")


def done(task: GlueTask, hub: Path, home: Path) -> RunFolder:
    settings = Settings(home=home, data=hub)
    made = glue_training(task, QUICK, settings, n_rows=40)
    list(Training(made.folder, settings, start=InPlace).run())
    return made.folder


def stopped(training: Training) -> Iterator[Any]:
    """A run that Ctrl+C ends before its first step."""
    yield from ()
    raise Cancelled("Stopped.")


def column(hub: Path, task: str, part: str, name: str = "label") -> list[Any]:
    return pq.read_table(hub / GLUE / task / f"{part}.parquet", columns=[name])[name].to_pylist()[:40]


def expected(task: GlueTask, answers: Sequence[Any], labels: Sequence[Any]) -> dict[str, float]:
    """What scikit-learn and scipy say of answers beside labels as the file has them."""
    if task.kind == "regression":
        found = {"spearman": spearmanr(labels, answers).statistic, "pearson": pearsonr(labels, answers).statistic}
    else:
        found = {
            "accuracy": metrics.accuracy_score(labels, answers), "mcc": metrics.matthews_corrcoef(labels, answers),
            "f1": metrics.f1_score(labels, answers, labels=[1], average=None)[0],
        }  # fmt: skip
    return {metric: float(found[metric]) for metric in task.metrics}


def likeliest(said: Prediction) -> int:
    return max(range(len(said.scores)), key=lambda place: said.scores[place])


@pytest.mark.parametrize("name", ["mrpc", "cola", "stsb"])
def test_its_metrics_equal_those_of_scikit_learn_and_scipy_on_the_labels_of_the_file(
    name: str, hub_data: Path, tmp_path: Path
) -> None:
    (task,) = glue_tasks([name])
    folder = done(task, hub_data, tmp_path / "home")
    begun = read_log(folder).begun
    assert begun is not None and (begun.n_train, begun.n_validation, begun.n_test) == (40, 0, 40)
    trained = next(scored for scored in read_log(folder).scored if scored.method == "tfidf")
    said = {said.index: said for _, said, _ in read_predictions(folder, trained)}
    answers = [said[place].scores[0] if task.kind == "regression" else likeliest(said[place]) for place in range(40)]
    found = {each.metric: each.score.estimate for each in glue_scores(task, folder) if each.method == "tfidf"}
    assert found == pytest.approx(expected(task, answers, column(hub_data, name, task.validation)))


def test_mnli_is_scored_on_rows_of_other_genres_too_and_its_run_says_which_task_it_is(
    hub_data: Path, tmp_path: Path
) -> None:
    (task,) = glue_tasks(["mnli"])
    hub = tmp_path / "hub"
    place = hub / GLUE / "mnli"
    place.mkdir(parents=True)
    for part in ("train", "validation_matched"):
        (place / f"{part}.parquet").symlink_to(hub_data / GLUE / "mnli" / f"{part}.parquet")
    others = pq.read_table(hub_data / GLUE / "mnli" / "validation_matched.parquet").slice(100, 30)
    pq.write_table(others, place / "validation_mismatched.parquet")  # stand for other genres here
    settings = Settings(home=tmp_path / "home", data=hub)
    folder = done(task, hub, tmp_path / "home")
    (further,) = further_scores(task, folder, settings, n_rows=40)
    classifier = open_classifier(str(folder.path / "classifier"), Host(settings), settings)
    items = [Item(row["premise"], row["hypothesis"]) for row in others.to_pylist()]
    said = {said.index: likeliest(said) for said in classifier.predict(items) if isinstance(said, Prediction)}
    answers = [int(classifier.labels[said[number]]) for number in range(30)]
    assert (further.task, further.method, further.metric, further.n) == ("mnli-mm", "tfidf", "accuracy", 30)
    assert further.score.estimate == pytest.approx(metrics.accuracy_score(others["label"].to_pylist(), answers))
    assert {each.task for each in glue_scores(task, folder)} == {"mnli"}
    assert RunStore.of(settings).read(folder.id).tasks == ("GLUE mnli train", "GLUE mnli validation_matched")
    assert folder.spec()["name"].startswith("GLUE-mnli-tfidf")


def test_the_run_to_go_on_with_is_the_newest_that_was_begun_just_so(hub_data: Path, tmp_path: Path) -> None:
    (task,), settings = glue_tasks(["cola"]), Settings(home=tmp_path / "home", data=hub_data)
    first = glue_training(task, QUICK, settings, n_rows=40).folder
    newest = glue_training(task, QUICK, settings, n_rows=40).folder
    others = (
        glue_training(task, QUICK, settings, n_rows=41, resumes=True),
        glue_training(task, ClassifierConfig(method="lstm"), settings, n_rows=40, resumes=True),
        glue_training(task, ClassifierConfig(method="tfidf", seed=1), settings, n_rows=40, resumes=True),
    )
    assert len({first.id, newest.id, *(made.folder.id for made in others)}) == 5
    assert glue_training(task, QUICK, settings, n_rows=40, resumes=True).folder.id == newest.id
    with newest:
        discard(newest)
    assert glue_training(task, QUICK, settings, n_rows=40, resumes=True).folder.id == first.id


def test_a_task_that_is_done_is_told_without_training_though_the_next_one_cannot_begin(
    hub_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hub" / GLUE).mkdir(parents=True)
    (tmp_path / "hub" / GLUE / "mrpc").symlink_to(hub_data / GLUE / "mrpc")
    (task,), home = glue_tasks(["mrpc"]), tmp_path / "home"
    folder = done(task, tmp_path / "hub", home)
    monkeypatch.setenv("PROOFBENCH_HOME", str(home))
    monkeypatch.setenv("PROOFBENCH_DATA", str(tmp_path / "hub"))
    asked = ["classify", "glue", "--tasks", "mrpc,cola", "--method", "tfidf", "--limit", "40", "--resume"]
    assert main([*asked, "--json"]) == 2
    said = capsys.readouterr()
    assert f"run {folder.id} is done already" in said.err and "GLUE's cola (train) is not on this machine" in said.err
    found = {(line["method"], line["metric"]): line["score"]["estimate"] for line in json.loads(said.out)}
    assert found == {(each.method, each.metric): each.score.estimate for each in glue_scores(task, folder)}
    assert {method for method, _ in found} == {"tfidf", "majority"}
    assert [path.name for path in (home / "runs").iterdir()] == [folder.id]


def test_an_interrupted_task_is_told_with_the_way_to_go_on_and_what_is_done_is_printed(
    hub_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (first, second), home = glue_tasks(["mrpc", "cola"]), tmp_path / "home"
    done(first, hub_data, home)
    waiting = glue_training(second, QUICK, Settings(home=home, data=hub_data), n_rows=40)
    monkeypatch.setenv("PROOFBENCH_HOME", str(home))
    monkeypatch.setenv("PROOFBENCH_DATA", str(hub_data))
    monkeypatch.setattr(Training, "run", stopped)
    asked = ["classify", "glue", "--tasks", "mrpc,cola", "--method", "tfidf", "--limit", "40", "--resume", "--json"]
    assert main(asked) == 130
    said = capsys.readouterr()
    assert f"run {waiting.folder.id}; if it is interrupted: the same command plus --resume" in said.err
    assert "go on with the same command plus --resume" in said.err
    assert {line["task"] for line in json.loads(said.out)} == {"mrpc"}


def test_a_chat_model_is_asked_about_the_same_rows_and_scored_by_the_same_metrics(
    hub_data: Path, tmp_path: Path, tiny_llama: Path
) -> None:
    (task,), settings = glue_tasks(["mrpc"]), Settings(home=tmp_path / "home", data=hub_data)
    with prompted(task, task.validation, str(tiny_llama), settings, n_rows=40) as run:
        steps = run.run()
        next(steps)
        steps.close()
    with prompted(task, task.validation, str(tiny_llama), settings, n_rows=40, resumes=True) as again:
        assert (again.folder.id, again.n_done, again.n_total) == (run.folder.id, 1, 40)
        list(again.run())
    said = {place: likeliest(one) for place, one in again.outcomes.items() if isinstance(one, Prediction)}
    found = list(prompted_scores(task, "mrpc", again))
    assert {(each.task, each.method, each.n) for each in found} == {("mrpc", "zero-shot", 40)}
    answers, labels = [said[place] for place in range(40)], column(hub_data, "mrpc", "validation")
    assert {each.metric: each.score.estimate for each in found} == pytest.approx(expected(task, answers, labels))


def test_stsb_has_no_line_by_prompt_and_says_so(
    hub_data: Path, tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (task,) = glue_tasks(["stsb"])
    done(task, hub_data, tmp_path / "home")
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PROOFBENCH_DATA", str(hub_data))
    asked = ["classify", "glue", "--tasks", "stsb", "--method", "tfidf", "--limit", "40", "--resume", "--zero-shot"]
    assert main([*asked, str(tiny_llama)]) == 0
    said = capsys.readouterr()
    assert "stsb asks for a number" in said.err and "zero-shot" not in said.out
    assert [task.name for task in TASKS if not task.words] == ["stsb"]
    shelf = tmp_path / "home" / "classifiers"
    assert main([*asked, next(shelf.iterdir()).name]) == 2
    assert "is a trained classifier; a chat model is asked by prompt" in capsys.readouterr().err


def test_a_chat_model_is_asked_as_by_lm_evaluation_harness() -> None:
    (places,) = (spec.submodule_search_locations for spec in [find_spec("lm_eval")] if spec is not None)
    assert places is not None
    folder = Path(places[0]) / "tasks" / "glue"

    class Loader(yaml.SafeLoader):
        """Of a file that names functions."""

    Loader.add_constructor("!function", lambda loader, node: node.value)
    texts = {"text": "One sentence.", "pair": "Another sentence."}
    for task in TASKS:
        if not task.words:
            continue
        theirs = yaml.load((folder / task.name / "default.yaml").read_text(encoding="utf-8"), Loader)
        row = {task.text: texts["text"], str(task.pair): texts["pair"]}
        if task.name == "mnli":
            asked = runpy.run_path(str(folder / "mnli" / "utils.py"))["doc_to_text"](row)
        else:
            asked = Template(theirs["doc_to_text"]).render(row)
        labels = [str(number) for number in range(len(task.words))]
        prompt = Prompt(ZeroShotConfig(task.template, task.words), labels)
        assert prompt.text(Item(texts["text"], task.pair and texts["pair"])) == asked, task.name
        assert list(prompt.words) == theirs["doc_to_choice"]


def test_the_columns_of_every_task_are_those_of_its_files(hub_data: Path) -> None:
    from llm_app.data.read import read_file
    from llm_app.data.table import Limits

    for task in TASKS:
        for part in ("train", task.validation, *(file for _, file in task.further)):
            path = hub_data / GLUE / task.name / f"{part}.parquet"
            if path.is_file():
                columns = read_file(path, limits=Limits(n_first=1)).columns
                assert {task.text, task.pair or task.text, "label"} <= set(columns)


def test_an_unknown_task_and_missing_data_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no task 'sst3'; there are cola"):
        glue_tasks(["sst3"])
    with pytest.raises(UserError, match=r"\(train\) is not on this machine: set PROOFBENCH_DATA"):
        glue_training(TASKS[0], QUICK, Settings(home=tmp_path))
