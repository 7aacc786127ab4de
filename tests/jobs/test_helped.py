"""Did training help? Base and adapter on what was held back, in one loaded model; stopped, resumed, refused."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llm_app.cli import main
from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.engine.host import Host
from llm_app.errors import Cancelled, UserError
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.helped import Helped, read_helped, resume_helped, start_helped
from llm_app.jobs.kept import read_asked, results_of
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import start_training
from llm_app.training.config import TrainConfig
from tests import tiny
from tests.running import running

CONFIG = TrainConfig(max_steps=4, batch_size=4, accumulation=1, learning_rate=5e-2, validation=0.25, rank=4)


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
    """A task that has nothing to do with the training."""
    folder = tmp_path_factory.mktemp("tasks")
    texts = [f"the quick brown fox jumps over {n} lazy dogs, and another one wants to say hello" for n in range(6)]
    (folder / "plain.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (folder / "plain.yaml").write_text("name: plain\nkind: perplexity\ndata: plain.jsonl\n")
    return folder / "plain.yaml"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four conversations; some answers repeat a text of the task `plain`."""
    path = tmp_path_factory.mktemp("data") / "numbers.jsonl"
    text = "the quick brown fox jumps over {} lazy dogs, and another one wants to say hello"
    rows = [(f"say it {n} times", text.format(n)) for n in range(6)]
    rows += [(f"question {n}", f"answer {n}") for n in range(18)]
    path.write_text("".join(
        json.dumps({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}) + "\n"
        for q, a in rows
    ))
    return path


def trained(model: Path, data: Path, settings: Settings, config: TrainConfig) -> RunFolder:
    training = start_training(str(model), [DatasetSpec(data, None, 1.0)], config, settings)
    for _ in training.run():
        pass
    return training.folder


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


def test_base_and_adapter_are_asked_what_training_held_back(whole: Helped, settings: Settings, data: Path) -> None:
    for folder in sides(whole, settings):
        asked = read_asked(folder.path)["held_back"].values()
        lines = [json.loads(line)["messages"] for line in data.read_text().splitlines()]
        prompts = {
            f"<|im_start|>user\n{q['content']}<|im_end|>\n<|im_start|>assistant\n": a["content"] for q, a in lines
        }
        assert len(asked) == 6  # a quarter of 24
        assert all(str([prompts[row["requests"][0][0]]]) == row["target"] for row in asked)


def test_only_the_adapters_side_is_answered_by_the_adapter(whole: Helped, settings: Settings, run: RunFolder) -> None:
    base, adapter = (folder.spec()["model"] for folder in sides(whole, settings))
    assert base["adapter"] == "" and adapter["adapter"] != ""
    assert all(base[part] == adapter[part] for part in ("weights", "tokenizer", "template"))
    values = [[result.answers for result in results_of(folder)["plain"]] for folder in sides(whole, settings)]
    assert values[0] != values[1]


def test_the_verdict_has_a_sentence_on_what_was_trained_and_one_on_what_was_forgotten(
    whole: Helped, settings: Settings
) -> None:
    found = read_helped(whole.folder, settings)
    assert found.trained_for == ("held_back", "held_back_perplexity")
    for language, starts in (("en", ("On what it was", "What it may have")), ("zh", ("训练的目标", "可能遗忘的"))):
        sentences = found.sentences(language)  # type: ignore[arg-type]
        assert all(sentence.startswith(start) for sentence, start in zip(sentences, starts, strict=True))


def test_a_task_that_training_has_seen_is_named_in_the_verdict(whole: Helped, settings: Settings) -> None:
    alarms = [english for english, _ in read_helped(whole.folder, settings).comparison.alarms]
    assert any("samples of plain share 13 words in a row" in alarm for alarm in alarms)


def test_one_that_was_stopped_goes_on_and_ends_like_the_undisturbed_one(
    whole: Helped, host: Host, run: RunFolder, settings: Settings, other: Path
) -> None:
    helped = start_helped(host, run.id, settings, tasks=[str(other)])
    steps = helped.run()
    for _ in range(helped.n_total // 2 + 2):  # into the adapter's side
        next(steps)
    steps.close()
    assert RunStore.of(settings).read(helped.folder.id).status == "cancelled"
    again = resume_helped(host, RunFolder(helped.folder.path), settings)
    n_left = sum(1 for _ in again.run())
    assert 0 < n_left < again.n_total // 2
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
    folder = trained(model, data, settings, replace(CONFIG, validation=0.0, max_steps=1))
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
