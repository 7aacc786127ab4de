"""Did training help? Base and adapter on what was held back, in one loaded model; stopped, resumed, refused."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llm_app.api.work import Work
from llm_app.cli import main
from llm_app.config import ServeConfig, Settings
from llm_app.data.mix import DatasetSpec
from llm_app.engine.host import Host
from llm_app.errors import Cancelled, UserError
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.helped import Helped, read_helped, resume_helped, start_helped
from llm_app.jobs.kept import read_asked, results_of
from llm_app.jobs.quota import Quota, QuotaReached
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import start_training
from llm_app.jobs.train_log import read_log
from llm_app.jobs.train_material import material_of
from llm_app.jobs.trial_runs import LINK
from llm_app.services import Services
from llm_app.training.config import TrainConfig
from llm_app.web.chat.compare_sides import AdapterKind
from tests import tiny
from tests.jobs.helping import conversations, killed, plain_task, trained
from tests.running import running

CONFIG = TrainConfig(max_steps=4, batch_size=4, accumulation=1, learning_rate=5e-2, validation=0.25, test=0.25, rank=4)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    for folder in ("models", "adapters"):
        (home / folder).mkdir()
    return Settings(home=home)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("models") / "tiny", n_context=512)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_task(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return conversations(tmp_path_factory.mktemp("data") / "numbers.jsonl")


@pytest.fixture(scope="module")
def run(model: Path, data: Path, settings: Settings) -> RunFolder:
    return trained(model, data, settings, CONFIG)


@pytest.fixture(scope="module")
def host(model: Path, settings: Settings) -> Iterator[Host]:
    with running(model, settings) as host:
        yield host


@pytest.fixture(scope="module")
def whole(host: Host, run: RunFolder, settings: Settings, other: Path) -> Helped:
    helped = start_helped(host, run.id, settings, tasks=[str(other)])
    for _ in helped.run():
        pass
    return helped


def sides(helped: Helped, settings: Settings) -> tuple[RunFolder, RunFolder]:
    base, adapter = read_helped(helped.folder, settings).paths
    return RunFolder(Path(base)), RunFolder(Path(adapter))


def test_base_and_adapter_are_asked_what_neither_trained_nor_chose_the_weights(
    whole: Helped, run: RunFolder, settings: Settings, data: Path
) -> None:
    material = material_of(run.spec())
    used = {example.turns[0].content for example in (*material.train, *material.validation)}
    assert len(used) == 18
    for folder in sides(whole, settings):
        asked = read_asked(folder.path)["held_back"].values()
        lines = [json.loads(line)["messages"] for line in data.read_text().splitlines()]
        prompts = {
            f"<|im_start|>user\n{q['content']}<|im_end|>\n<|im_start|>assistant\n": a["content"] for q, a in lines
        }
        assert len(asked) == 6  # a quarter of 24
        assert not any(f"user\n{question}<" in row["requests"][0][0] for question in used for row in asked)
        assert all(str([prompts[row["requests"][0][0]]]) == row["target"] for row in asked)


def test_only_the_adapters_side_is_answered_by_the_adapter(whole: Helped, settings: Settings, run: RunFolder) -> None:
    base, adapter = (folder.spec()["model"] for folder in sides(whole, settings))
    assert base["adapter"] == "" and adapter["adapter"] != ""
    assert all(base[part] == adapter[part] for part in ("weights", "tokenizer", "template"))
    values = [[result.answers for result in results_of(folder)["plain"]] for folder in sides(whole, settings)]
    assert values[0] != values[1]


def test_the_adapter_of_a_run_is_there_only_while_it_is_asked_and_is_offered_to_nobody(
    host: Host, run: RunFolder, settings: Settings, other: Path
) -> None:
    services = Services(settings, ServeConfig(), host)
    base = host.loaded.entry.id

    def offered() -> tuple[list[str], list[str]]:
        try:
            names = [name for _, name in AdapterKind(public(services)).offer().first]
        except UserError:  # no adapter to compare with
            names = []
        return Work(services).model_ids(), names

    helped = start_helped(host, run.id, settings, tasks=[str(other)])
    assert host.loaded.adapters.names == ()
    seen = [(len(host.loaded.adapters.names), offered()) for _ in helped.run()]
    assert seen[0] == (1, ([base], [])) and all(each == seen[0] for each in seen)
    assert host.loaded.adapters.names == ()


def public(services: Services) -> Services:
    """The same machine as a public page has it."""
    return Services(replace(services.settings, is_public=True), services.serve, services.host)


def test_the_verdict_has_a_sentence_on_what_was_trained_and_one_on_what_was_forgotten(
    whole: Helped, settings: Settings
) -> None:
    found = read_helped(whole.folder, settings)
    assert found.trained_for == ("held_back", "held_back_perplexity")
    for language, starts in (("en", ("On what it was", "What it may have")), ("zh", ("训练的目标", "可能遗忘的"))):
        sentences = found.sentences(language)  # type: ignore[arg-type]
        assert all(sentence.startswith(start) for sentence, start in zip(sentences, starts, strict=True))


def alarms(helped: Helped, settings: Settings) -> list[str]:
    return [english for english, _ in read_helped(helped.folder, settings).comparison.alarms]


def test_a_task_that_training_has_seen_is_named_with_how_many_of_its_samples(
    whole: Helped, run: RunFolder, settings: Settings
) -> None:
    n = sum(example.turns[0].content.startswith("say it") for example in material_of(run.spec()).train)
    assert 0 < n < 6, "a text that was held back tells no task"
    assert any(alarm.startswith(f"{n} samples of plain share 13 words in a row") for alarm in alarms(whole, settings))


def test_without_a_test_part_the_choice_of_the_weights_is_told_and_how_many_trials_were_compared(
    host: Host, model: Path, data: Path, settings: Settings, other: Path
) -> None:
    folder = trained(model, data, settings, replace(CONFIG, test=0.0, validate_every=1))
    assert material_of(folder.spec()).test == ()
    plain = start_helped(host, folder.id, settings, tasks=[str(other)])
    search = RunStore.of(settings).create({"kind": "search"})
    with search:
        search.append([{"type": "trial", "trial": number, "params": {}} for number in range(3)])
    folder.write(LINK, json.dumps({"search": search.id, "trial": 1}))
    of_search = start_helped(host, folder.id, settings, tasks=[str(other)])
    chosen, compared = "The weights were chosen from 4", "This run is one of 3 trials of a search"
    said = [[english for english, _ in helped.folder.spec()["alarms"]] for helped in (plain, of_search)]
    assert [[any(text.startswith(start) for text in texts) for start in (chosen, compared)] for texts in said] == [
        [True, False], [True, True],
    ]


def test_with_a_test_part_nothing_is_said_of_a_choice(whole: Helped, settings: Settings) -> None:
    assert not any("chosen from" in alarm or "trials" in alarm for alarm in alarms(whole, settings))


def test_it_says_of_which_weights_it_is(whole: Helped, run: RunFolder) -> None:
    written = read_log(run).written
    assert written is not None and len(written.digest) == 64
    assert whole.folder.spec()["result"] == written.digest


@pytest.mark.parametrize("n_left", [1, 2])
def test_where_there_is_no_room_for_all_three_runs_none_is_left(
    n_left: int, host: Host, model: Path, data: Path, settings: Settings, other: Path, run: RunFolder, tmp_path: Path
) -> None:
    shutil.copytree(run.path, tmp_path / "visitors" / "mine" / run.id)
    store = RunStore(tmp_path / "visitors" / "mine", quota=Quota(n_runs=1 + n_left))
    with pytest.raises(QuotaReached):
        start_helped(host, run.id, settings, tasks=[str(other)], store=store)
    assert store.ids() == [run.id]


def stopped(helped: Helped, settings: Settings) -> None:
    """Into the adapter's side."""
    steps = helped.run()
    for _ in range(helped.n_total // 2 + 2):
        next(steps)
    steps.close()


@pytest.mark.parametrize(("interrupt", "status"), [(stopped, "cancelled"), (killed, "interrupted")])
def test_one_that_was_interrupted_goes_on_and_ends_like_the_undisturbed_one(
    interrupt: Callable[[Helped, Settings], None], status: str, whole: Helped, host: Host, run: RunFolder,
    settings: Settings, other: Path,
) -> None:
    helped = start_helped(host, run.id, settings, tasks=[str(other)])
    interrupt(helped, settings)
    assert RunStore.of(settings).read(helped.folder.id).status == status
    again = resume_helped(host, RunFolder(helped.folder.path), settings)
    assert 0 < again.n_done < again.n_total
    list(again.run())
    for one, other_one in zip(sides(whole, settings), sides(again, settings), strict=True):
        assert results_of(one) == results_of(other_one)
    shown = RunStore.of(settings).read(helped.folder.id)
    assert (shown.status, shown.n_done, shown.n_total) == ("done", again.n_total, again.n_total)


def test_the_command_ends_with_both_sentences_and_writes_a_report(
    run: RunFolder, settings: Settings, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PROOFBENCH_HOME", str(settings.home))
    page = tmp_path / "report.html"
    assert main(["helped", "--run", run.id, "--tasks", str(other), "--language", "zh", "--output", str(page)]) == 0
    *_, trained_for, forgotten = capsys.readouterr().out.strip().split("\n\n")
    assert trained_for.startswith("训练的目标：") and forgotten.startswith("可能遗忘的：")
    assert forgotten in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments", [[], ["--run", "a", "--resume", "b"], ["--resume", "b", "--tasks", "sst2"], ["--run", "aaaaaaaaaaaa"]]
)
def test_a_command_that_cannot_be_is_refused_in_a_sentence(
    arguments: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROOFBENCH_HOME", str(settings.home))
    assert main(["helped", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_stopping_it_from_another_thread_ends_both_sides(
    host: Host, run: RunFolder, settings: Settings, other: Path
) -> None:
    helped = start_helped(host, run.id, settings, tasks=[str(other)])
    helped.stop(Cancelled("stopped"))
    with pytest.raises(Cancelled):
        list(helped.run())
    assert RunStore.of(settings).read(helped.folder.id).status == "cancelled"


def test_T16_another_base_than_the_trained_one_is_refused(
    run: RunFolder, settings: Settings, tmp_path: Path
) -> None:
    refused = pytest.raises(UserError, match=r"is not the base of run \w+ \(other weights\); load the model")
    with running(tiny.make_model(tmp_path / "other", seed=1), settings) as host, refused:
        start_helped(host, run.id, settings)


def test_a_run_that_held_nothing_back_is_refused(host: Host, model: Path, data: Path, settings: Settings) -> None:
    folder = trained(model, data, settings, replace(CONFIG, validation=0.0, test=0.0, max_steps=1))
    with pytest.raises(UserError, match="held nothing back"):
        start_helped(host, folder.id, settings)


def test_what_is_no_training_run_or_has_no_adapter_yet_is_refused(
    whole: Helped, host: Host, model: Path, data: Path, settings: Settings
) -> None:
    with pytest.raises(UserError, match="is not a training run"):
        start_helped(host, whole.folder.id, settings)
    waiting = start_training(str(model), [DatasetSpec(data, None, 1.0)], CONFIG, settings)
    with pytest.raises(UserError, match="has no adapter yet"):
        start_helped(host, waiting.folder.id, settings)


def test_data_that_changed_since_the_training_is_refused(
    host: Host, run: RunFolder, data: Path, settings: Settings
) -> None:
    before = data.read_bytes()
    data.write_bytes(before.replace(b"say it 3", b"say it 33"))
    try:
        with pytest.raises(UserError, match=r"numbers\.jsonl"):
            start_helped(host, run.id, settings)
    finally:
        data.write_bytes(before)
