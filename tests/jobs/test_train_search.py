"""A search over trainings of a tiny model."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_app.cli import build_parser
from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.engine.catalog import list_adapters
from llm_app.errors import Cancelled, UserError
from llm_app.flags import read_flags
from llm_app.jobs.search import Search
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import RECIPE, config_of
from llm_app.jobs.train_in_place import InPlace
from llm_app.jobs.train_log import read_log
from llm_app.jobs.train_search import resume_search, start_search
from llm_app.jobs.trial_runs import TrialRuns
from llm_app.search_cli import train_command
from llm_app.training.config import TrainConfig
from llm_app.training.search_config import SearchConfig
from llm_app.training.search_trials import leader
from tests.tuning import SMALL, examples

ROOT = Path(__file__).parents[2]
RATES = "learning_rate=1e-3,1e-2,3e-2"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return examples(tmp_path / "data.jsonl", n=20)


def search_of(model: Path, data: Path, settings: Settings, asked: SearchConfig, **options: Any) -> Search:
    """A new search whose trials train in this process."""
    config = options.pop("config", replace(SMALL, max_steps=6))
    made = start_search(str(model), [DatasetSpec(str(data))], config, asked, settings, **options)
    return resume_search(made.folder, settings, start=InPlace)


def test_trials_are_training_runs_on_one_split_and_the_best_one_alone_keeps_its_adapter(
    tiny_llama: Path, data: Path, settings: Settings, tmp_path: Path
) -> None:
    asked = SearchConfig(space=(RATES, "use_dora=false,true"), strategy="grid", trials=4)
    search = search_of(tiny_llama, data, settings, asked, name="found", output=tmp_path / "out")
    list(search.run())
    store, best = RunStore.of(settings), leader(search.history)
    assert best is not None and best.run is not None
    runs = {trial.run: store.open(str(trial.run)) for trial in search.history}
    assert [store.read(str(run)).status for run in runs] == ["done"] * 4
    assert [store.read(str(run)).kind for run in runs] == ["train"] * 4
    logs = {run: read_log(folder) for run, folder in runs.items()}
    assert len({json.dumps(log.begun.split) for log in logs.values() if log.begun}) == 1
    for trial in search.history:
        validations = {v.step: v.loss for v in logs[trial.run].validations}
        assert dict(trial.points) == {step: loss for step, loss in validations.items() if step > 0}
        assert config_of(runs[trial.run].spec()) == replace(SMALL, max_steps=6, **trial.params)
        link = json.loads((runs[trial.run].path / "search.json").read_text())
        assert link == {"search": search.folder.id, "trial": trial.number}
        assert (runs[trial.run].path / "adapter").exists() == (trial is best)
        assert (runs[trial.run].path / "checkpoint").exists() == (trial is best)
    assert [adapter.name for adapter in list_adapters(settings)] == ["found"]
    made = (tmp_path / "out" / "adapter" / "adapter_model.safetensors").read_bytes()
    assert made == (runs[best.run].path / "adapter" / "adapter_model.safetensors").read_bytes()


def test_a_search_that_is_over_goes_on_with_more_trials_and_puts_a_better_one_in_place_of_the_best(
    tiny_llama: Path, data: Path, settings: Settings, tmp_path: Path
) -> None:
    asked = SearchConfig(space=("learning_rate=1e-6,3e-2",), strategy="grid", trials=1)
    search = search_of(tiny_llama, data, settings, asked, name="found", output=tmp_path / "out")
    list(search.run())
    more = resume_search(search.folder, settings, start=InPlace, budget={"trials": 2})
    assert (more.n_done, more.n_total) == (1, 2)
    list(more.run())
    first, best = more.history
    assert leader(more.history) is best and first == search.history[0]
    assert [adapter.name for adapter in list_adapters(settings)] == ["found"]
    weights = (RunStore.of(settings).open(str(best.run)).path / "adapter" / "adapter_model.safetensors").read_bytes()
    for folder in (settings.adapters / "found", tmp_path / "out" / "adapter"):
        assert (folder / "adapter_model.safetensors").read_bytes() == weights
    assert resume_search(search.folder, settings).n_total == 2  # the budget given last stays
    with pytest.raises(UserError, match="trials must be at least 1"):
        resume_search(search.folder, settings, budget={"trials": 0})


def test_what_led_before_makes_room_for_the_best_also_where_the_name_of_the_search_was_taken(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    asked, store = SearchConfig(space=(RATES,), strategy="grid"), RunStore.of(settings)
    search = search_of(tiny_llama, data, settings, asked, name="found")
    (settings.adapters / "found" / "adapter").mkdir(parents=True)  # somebody else's
    trials = []
    for number in range(2):
        trial = store.create({"kind": "train"})
        trial.write("search.json", json.dumps({"search": search.folder.id, "trial": number}))
        (trial.path / "adapter").mkdir()
        (trial.path / "adapter" / "proofbench.json").write_text("{}")
        TrialRuns(search.folder, settings, InPlace).offer(trial.id)
        trials.append(trial)
    assert {path.name for path in settings.adapters.iterdir()} == {"found", f"adapter-{trials[1].id}"}


def test_a_trial_that_loses_is_ended_in_the_middle_and_leaves_its_log_alone(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    asked = SearchConfig(space=("weight_decay=0,0.01,0.02,10",), strategy="grid")  # the last one unlearns
    config = replace(SMALL, max_steps=8, learning_rate=3e-2, schedule="constant", warmup=0.0)
    search = search_of(tiny_llama, data, settings, asked, config=config)
    list(search.run())
    loser = search.history[3]
    assert (loser.state, loser.n_steps, len(loser.points)) == ("pruned", 6, 3)
    folder = RunStore.of(settings).open(str(loser.run))
    assert {path.name for path in folder.path.iterdir()} == {"spec.json", "events.jsonl", "search.json"}
    assert RunStore.of(settings).read(folder.id).status == "cancelled"


def test_a_trial_that_was_stopped_goes_on_from_its_checkpoint(tiny_llama: Path, data: Path, settings: Settings) -> None:
    asked, config = SearchConfig(space=("rank=4",), trials=1), replace(SMALL, max_steps=40, validate_every=10)
    whole = search_of(tiny_llama, data, settings, asked, config=config)
    list(whole.run())
    begun = search_of(tiny_llama, data, settings, asked, config=config)
    search = resume_search(begun.folder, settings)  # trains in a process of its own
    with pytest.raises(Cancelled):
        for progress in search.run():
            if progress.trial.n_steps == 3:
                search.stop(Cancelled("stop"))
    rest = resume_search(search.folder, settings, start=InPlace)
    assert [trial.state for trial in rest.history] == ["running"]
    list(rest.run())
    assert rest.history[0].points == whole.history[0].points
    log = read_log(RunStore.of(settings).open(str(rest.history[0].run)))
    assert "Training goes on after step" in " ".join(note.text for note in log.notes)


def test_the_command_for_the_best_trial_has_its_settings(tiny_llama: Path, data: Path, settings: Settings) -> None:
    config = replace(SMALL, responses_only=False, targets=("q_proj", "v_proj"))
    asked = SearchConfig(space=("learning_rate=1e-5..1e-3:log", "use_dora", "targets=q_proj,none"), trials=3)
    search = search_of(tiny_llama, data, settings, asked, config=config)
    params = {"learning_rate": 3.217e-4, "use_dora": True, "targets": ()}
    program, *arguments = shlex.split(train_command(search, params))
    assert (program, arguments[:3]) == ("python", ["-m", "llm_app", "train"])
    options = build_parser().parse_args(arguments[2:])
    assert read_flags(options, TrainConfig) == replace(config, **params)
    assert (options.model, options.data) == (str(tiny_llama), [str(data)])


@pytest.mark.parametrize(("space", "words"), [
    ("seed=1,2", "seed decides how"), ("validation=0.1,0.2", "validation decides"),
    ("test=0.1,0.2", "test decides"), ("max_length=64,128", "max_length"),
    ("responses_only", "responses_only decides"), ("objective", "objective decides"),
    ("rank=4..8", "A grid needs single values"), ("rnk=4", "rank"),
])
def test_what_cannot_be_searched_is_told_before_anything_is_made(
    space: str, words: str, tiny_llama: Path, data: Path, settings: Settings
) -> None:
    with pytest.raises(UserError, match=words):
        search_of(tiny_llama, data, settings, SearchConfig(space=(space,), strategy="grid"))
    assert RunStore.of(settings).ids() == []


def test_a_search_without_validation_is_refused(tiny_llama: Path, data: Path, settings: Settings) -> None:
    with pytest.raises(UserError, match="hold back examples"):
        search_of(tiny_llama, data, settings, SearchConfig(space=(RATES,)), config=replace(SMALL, validation=0.0))


def test_a_public_demo_does_not_search(data: Path, settings: Settings) -> None:
    with pytest.raises(UserError, match="public demo"):
        search_of(Path("embedded"), data, replace(settings, is_public=True), SearchConfig(space=(RATES,)))


def test_a_search_whose_data_has_changed_does_not_go_on(tiny_llama: Path, data: Path, settings: Settings) -> None:
    search = search_of(tiny_llama, data, settings, SearchConfig(space=(RATES,)))
    data.write_text(data.read_text() * 2)
    with pytest.raises(UserError, match="data.jsonl is not what it was"):
        resume_search(search.folder, settings)


def test_a_search_of_an_earlier_recipe_does_not_go_on(tiny_llama: Path, data: Path, settings: Settings) -> None:
    folder = search_of(tiny_llama, data, settings, SearchConfig(space=(RATES,))).folder
    spec = json.loads((folder.path / "spec.json").read_text())
    assert spec["recipe"] == RECIPE
    (folder.path / "spec.json").write_text(json.dumps(spec | {"recipe": RECIPE - 1}))
    with pytest.raises(UserError, match="how examples become steps is not what it was"):
        resume_search(folder, settings)


@pytest.mark.verify
@pytest.mark.timeout(900)
def test_a_search_killed_in_the_middle_of_a_trial_gives_the_leaderboard_of_an_undisturbed_one(
    tiny_llama: Path, data: Path, settings: Settings
) -> None:
    asked = SearchConfig(space=("learning_rate=1e-4..1e-2:log",), strategy="random", trials=2)
    config = replace(SMALL, max_steps=60, validate_every=10)
    whole = search_of(tiny_llama, data, settings, asked, config=config)
    list(whole.run())
    search = search_of(tiny_llama, data, settings, asked, config=config)
    command = [sys.executable, "-m", "llm_app", "search", "--resume", search.folder.id]
    environ = os.environ | {"PROOFBENCH_HOME": str(settings.home)}
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and sum(e["type"] == "point" for e in search.folder.events()) < 3:
        time.sleep(0.005)
    assert process.poll() is None, "it ended before it was killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    rest = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=800)
    assert rest.returncode == 0, rest.stderr
    again = resume_search(search.folder, settings)
    assert [(t.params, t.points, t.state) for t in again.history] == [
        (t.params, t.points, t.state) for t in whole.history
    ]
    assert len(RunStore.of(settings).ids()) == 2 + 2 + 2  # no trial was begun twice
