"""A search over trainings of a classifier: compared on the validation rows, told on the test rows."""

import json
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.table import Columns
from llm_app.classify_search_cli import train_command
from llm_app.classify_train_cli import data_of
from llm_app.cli import build_parser, main
from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.data.table import Reading
from llm_app.errors import Cancelled, UserError
from llm_app.flags import read_flags
from llm_app.jobs.classifier import ClassifierData, config_of
from llm_app.jobs.search import Search
from llm_app.jobs.store import RunStore
from llm_app.jobs.train_in_place import InPlace
from llm_app.jobs.train_log import read_log
from llm_app.jobs.train_search import resume_search, start_classifier_search
from llm_app.jobs.trial_runs import found_by, scored_of
from llm_app.training.search_config import SearchConfig
from llm_app.training.search_trials import leader
from tests.classify.learning import rows

ROOT = Path(__file__).parents[2]
SMALL = ClassifierConfig(method="lstm", epochs=2.0, batch_size=16, test=0.2, validation=0.2, precision="fp32")
RATES = SearchConfig(space=("learning_rate=1e-7,1e-2",), strategy="grid", trials=2)


@pytest.fixture
def data(tmp_path: Path) -> ClassifierData:
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\n" + "".join(f"{item.text},{truth}\n" for item, truth in zip(*rows(60), strict=True)))
    return ClassifierData(DatasetSpec(str(path)), Columns("text", truth="label"))


def search_of(
    data: ClassifierData, settings: Settings, asked: SearchConfig = RATES, config: ClassifierConfig = SMALL,
    **options: Any,
) -> Search:  # fmt: skip
    """A new search whose trials train in this process."""
    made = start_classifier_search(data, config, asked, settings, **options)
    return resume_search(made.folder, settings, start=InPlace)


def test_trials_are_compared_by_their_validation_score_and_the_best_is_told_on_the_test_rows(
    data: ClassifierData, settings: Settings, tmp_path: Path
) -> None:
    search = search_of(data, settings, name="found", output=tmp_path / "out")
    list(search.run())
    store, best = RunStore.of(settings), leader(search.history)
    assert best is not None and dict(best.params) == {"learning_rate": 1e-2} and best.metric == "accuracy"
    logs = {str(trial.run): read_log(store.open(str(trial.run))) for trial in search.history}
    for trial in search.history:
        log = logs[str(trial.run)]
        assert trial.best_value == pytest.approx(max(point.score for point in log.points if point.step > 0))
        assert config_of(store.open(str(trial.run)).spec()) == replace(SMALL, **trial.params)
        assert (store.open(str(trial.run)).path / "classifier").exists() == (trial is best)
    assert len({json.dumps(log.begun.split) for log in logs.values() if log.begun}) == 1, "one split for all"
    (own, *bars) = scored_of(search.folder.events())
    assert own == next(each for each in logs[str(best.run)].scored if each.method == "lstm")
    assert own.part == "test" and {each.method for each in bars} == {"majority", "tfidf"}
    assert store.read(search.folder.id).scores == {"best": ("validation_accuracy", best.best_value)}
    found = found_by(store, search.folder)
    assert found is not None and found.id == best.run
    for place in (settings.classifiers / "found", tmp_path / "out"):
        weights = (found.path / "classifier" / "model.safetensors").read_bytes()
        assert (place / "model.safetensors").read_bytes() == weights


def test_methods_compete_in_one_search(data: ClassifierData, settings: Settings) -> None:
    asked = SearchConfig(space=("method=lstm,tfidf",), strategy="grid", trials=2)
    search = search_of(data, settings, asked, ClassifierConfig(method="lstm", test=0.2, validation=0.2))
    list(search.run())
    assert [trial.state for trial in search.history] == ["done", "done"]
    best = leader(search.history)
    assert best is not None and [each.method for each in scored_of(search.folder.events())][0] == best.params["method"]


def test_a_search_that_was_stopped_goes_on_where_it_stood(data: ClassifierData, settings: Settings) -> None:
    whole = search_of(data, settings)
    list(whole.run())
    search = search_of(data, settings)
    with pytest.raises(Cancelled):
        for progress in search.run():
            if progress.trial.number == 1 and progress.trial.n_steps == 2:
                search.stop(Cancelled("stop"))
    assert found_by(RunStore.of(settings), search.folder) is None and not scored_of(search.folder.events())
    rest = resume_search(search.folder, settings, start=InPlace)
    assert [trial.state for trial in rest.history] == ["done", "running"]
    list(rest.run())
    assert [trial.points for trial in rest.history] == [trial.points for trial in whole.history]


DIES = """
import os, signal, sys
from pathlib import Path
from llm_app.config import Settings
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.train_in_place import InPlace
from llm_app.jobs.train_search import resume_search

settings = Settings(Path(sys.argv[1]))
search = resume_search(RunFolder.open(settings.home / "runs", sys.argv[2]), settings, start=InPlace)
for progress in search.run():
    if (progress.trial.number, progress.trial.n_steps) == (1, 2):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def weights_of_the_best(search: Search, settings: Settings) -> bytes:
    found = found_by(RunStore.of(settings), search.folder)
    assert found is not None
    return (found.path / "classifier" / "model.safetensors").read_bytes()


def check_like(whole: Search, again: Search, settings: Settings) -> None:
    assert [(t.params, t.points, t.state) for t in again.history] == [
        (t.params, t.points, t.state) for t in whole.history
    ]
    assert repr(scored_of(again.folder.events())) == repr(scored_of(whole.folder.events()))  # NaN among them
    assert weights_of_the_best(again, settings) == weights_of_the_best(whole, settings)
    assert len(RunStore.of(settings).ids()) == 2 + 2 + 2, "no trial was begun twice"


@pytest.mark.timeout(180)
def test_E1_a_search_over_classifiers_killed_in_the_middle_of_a_trial_ends_like_one_that_nobody_disturbed(
    data: ClassifierData, settings: Settings
) -> None:
    whole = search_of(data, settings)
    list(whole.run())
    search = start_classifier_search(data, SMALL, RATES, settings)
    died = subprocess.run([sys.executable, "-c", DIES, str(settings.home), search.folder.id], cwd=ROOT, check=False)
    assert died.returncode == -signal.SIGKILL
    rest = resume_search(search.folder, settings, start=InPlace)
    assert [trial.state for trial in rest.history] == ["done", "running"]
    list(rest.run())
    check_like(whole, rest, settings)


@pytest.mark.verify
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("at_home")
def test_E1_the_command_of_a_search_over_classifiers_killed_in_the_middle_of_a_trial_goes_on(
    data: ClassifierData, settings: Settings
) -> None:
    config = replace(SMALL, epochs=10.0)
    whole = search_of(data, settings, config=config)
    list(whole.run())
    search = start_classifier_search(data, config, RATES, settings)
    command = [sys.executable, "-m", "llm_app", "classify", "search", "--resume", search.folder.id]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and sum(event["type"] == "point" for event in search.folder.events()) < 3:
        time.sleep(0.005)
    assert process.poll() is None, "it ended before it was killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    rest = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800, check=False)
    assert rest.returncode == 0, rest.stderr
    check_like(whole, resume_search(search.folder, settings), settings)


@pytest.mark.parametrize(("asked", "config", "words"), [
    (("seed=1,2",), SMALL, "seed decides how"), (("validation=0.1,0.2",), SMALL, "validation decides how"),
    (("test=0.1,0.2",), SMALL, "test decides how"), (("weighs_classes",), SMALL, "weighs_classes decides how"),
    (("rnk=4",), SMALL, "did you mean rank"), (("batch_size=8,16",), replace(SMALL, validation=0.0), "hold back"),
])  # fmt: skip
def test_what_cannot_be_searched_is_told_before_anything_is_made(
    asked: tuple[str, ...], config: ClassifierConfig, words: str, data: ClassifierData, settings: Settings
) -> None:
    with pytest.raises(UserError, match=words):
        search_of(data, settings, SearchConfig(space=asked), config)
    assert RunStore.of(settings).ids() == []


def test_a_public_demo_does_not_search(data: ClassifierData, settings: Settings) -> None:
    with pytest.raises(UserError, match="public demo"):
        search_of(data, replace(settings, is_public=True))


def test_the_command_for_the_best_trial_has_its_settings(data: ClassifierData, settings: Settings) -> None:
    reading = Reading("gb18030", ";", False)
    odd = ClassifierData(
        DatasetSpec(data.rows.path, reading=reading),
        Columns("column 1", truth="column 2", kind="multi", separator="|"), drops_unlabelled=True,
    )  # fmt: skip
    asked = SearchConfig(space=("learning_rate=1e-5..1e-3:log",))
    search = start_classifier_search(odd, replace(SMALL, method="encoder"), asked, settings, base="some/encoder")
    params = {"learning_rate": 3.217e-4}
    program, *arguments = shlex.split(train_command(search, params))
    assert (program, arguments[:4]) == ("python", ["-m", "llm_app", "classify", "train"])
    options = build_parser().parse_args(["classify train", *arguments[4:]])
    assert read_flags(options, ClassifierConfig) == replace(SMALL, method="encoder", **params)
    assert (data_of(options), options.model) == (odd, "some/encoder")


@pytest.fixture
def at_home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line finds this test's own folder."""
    monkeypatch.setenv("PROOFBENCH_HOME", str(settings.home))


@pytest.mark.usefixtures("at_home")
def test_the_command_line_tells_the_leaderboard_and_the_test_scores_of_the_best(
    data: ClassifierData, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    tfidf = ClassifierConfig(method="tfidf", test=0.2, validation=0.2)
    search = search_of(data, settings, SearchConfig(space=("method=tfidf",), trials=1), tfidf)
    list(search.run())
    assert main(["classify", "search", "--resume", search.folder.id, "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert [row["state"] for row in found["trials"]] == ["done"] and found["trials"][0]["metric"] == "accuracy"
    assert found["scores"][0]["method"] == "tfidf" and found["scores"][0]["part"] == "test"
    assert "chosen on the validation rows" in said.err and "classify train" in said.err


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize(("arguments", "words"), [
    ([], "at least one option"), (["--space", "max_length=16,32"], "makes no use of max_length"),
    (["--space", "rank=8", "--resume", "a" * 12], "leave out"), (["--space", "seed=1,2"], "seed decides how"),
])  # fmt: skip
def test_what_the_caller_can_mend_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, data: ClassifierData, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ["--input", data.rows.path, "--text-column", "text", "--truth-column", "label", "--method", "tfidf"]
    assert main(["classify", "search", *table, *arguments]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and said.out == ""
