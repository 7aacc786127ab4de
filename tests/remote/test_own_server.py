"""Our own server as the other end: a chat and a benchmark through it are those of the model itself."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from eval.tasks.harness import TaskOptions
from eval.types import Generation, Unscored
from llm_app import chat, cli
from llm_app.config import ModelConfig, SamplingConfig, Settings
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.jobs.answers import EngineModel
from llm_app.jobs.benchmark import Benchmark, resume, start
from llm_app.jobs.command import arguments_of
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.remote_answers import RemoteAnswers
from llm_app.messages import Message
from tests.live import MODEL, Live, running

PAIRS = [
    ("the quick brown fox", " jumps over the lazy dog"), ("what is the answer", " positive"), ("世界", "你好"),
    ("what is the answer ", "negative"), ("one two", " three four five six"), ("a\n", "🙂 b"),
    ("the quick brown fox", " "), ("é", "é"),
]  # fmt: skip
ROWS = [
    {"question": f"what is {word}", "answer": word, "choices": [word, "four", "five"], "text": f"a text of {word}"}
    for word in ("one", "two", "three", "world", "hello")
]
KINDS = {
    "choice": "multiple_choice", "text": "exact_match\nmax_new_tokens: 6", "whole": "perplexity",
    "said": "reply\ncolumns: {prompt: question}\nmax_new_tokens: 6",
}  # fmt: skip


@pytest.fixture(scope="module")
def live(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("home"), tiny_llama) as server:
        yield server


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("other-home"))


@pytest.fixture(scope="module")
def host(live: Live, settings: Settings) -> Iterator[Host]:
    """A host whose model is behind the server's API."""
    host = Host(settings)
    for _ in host.load(ModelConfig(f"{live.url}/v1")):
        pass
    yield host
    host.shutdown(0.0)


@pytest.fixture
def remote(host: Host) -> RemoteAnswers:
    assert host.remote is not None
    return RemoteAnswers(host, host.remote)


def task(folder: Path, name: str) -> str:
    """A task file over a few rows."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\ndata: rows.jsonl\nkind: {KINDS[name]}\n")
    return str(path)


def test_the_only_model_of_a_server_needs_no_name_and_is_known_by_it(live: Live, host: Host) -> None:
    status = host.status()
    assert (status.state, status.model, status.precision) == ("ready", f"{live.url}/v1#{MODEL}", "remote")


def test_the_server_tells_its_context_and_which_weights_it_has(live: Live, host: Host) -> None:
    assert host.remote is not None and host.remote.n_context == live.host.loaded.n_context
    fingerprint = live.chat().json()["system_fingerprint"]
    assert host.remote.described["system_fingerprint"] == fingerprint


def test_another_model_under_the_same_name_is_another_model(live: Live, host: Host) -> None:
    assert host.remote is not None
    other = {**host.remote.described, "system_fingerprint": "fp_of_other_weights"}
    again = {**host.remote.described, "created": 7}
    assert replace(host.remote, described=other).digest != host.remote.digest
    assert replace(host.remote, described=again).digest == host.remote.digest


def test_a_greedy_reply_is_that_of_the_model_itself(live: Live, host: Host) -> None:
    messages, sampling = [Message("user", "hello world")], SamplingConfig(temperature=0, top_k=0, max_new_tokens=12)
    found, expected = list(chat.reply(host, messages, sampling)), list(chat.reply(live.host, messages, sampling))
    assert "".join(delta.text for delta in found) == "".join(delta.text for delta in expected) != ""
    ours, theirs = found[-1].usage, expected[-1].usage
    assert ours is not None and theirs is not None
    assert (ours.n_prompt_tokens, ours.n_output_tokens) == (theirs.n_prompt_tokens, theirs.n_output_tokens)
    assert found[-1].finish_reason == expected[-1].finish_reason


def test_a_stop_string_is_the_servers_business_too(live: Live, host: Host) -> None:
    messages = [Message("user", "hello world")]
    greedy = SamplingConfig(temperature=0, top_k=0, max_new_tokens=12)
    whole = "".join(delta.text for delta in chat.reply(live.host, messages, greedy))
    stop = whole[3:5]
    cut = SamplingConfig(temperature=0, top_k=0, max_new_tokens=12, stop=(stop,))
    assert "".join(delta.text for delta in chat.reply(host, messages, cut)) == whole[: whole.index(stop)]


def test_log_likelihoods_and_greediness_are_those_of_the_model_itself(live: Live, remote: RemoteAnswers) -> None:
    everything = range(len(PAIRS))
    found = dict(remote.loglikelihoods(PAIRS, everything))
    expected = dict(EngineModel(live.host).loglikelihoods(PAIRS, everything))
    for index, pair in enumerate(PAIRS):
        ours, theirs = found[index], expected[index]
        assert isinstance(ours, tuple) and isinstance(theirs, tuple), pair
        assert ours[0] == pytest.approx(theirs[0], abs=1e-3), pair
        assert ours[1] == theirs[1], pair


def test_a_token_across_the_end_of_the_prompt_is_no_number_that_another_way_of_cutting_gave(
    remote: RemoteAnswers,
) -> None:
    (_, answer), = remote.loglikelihoods([("hell", "o world")], [0])  # "lo" is one token
    assert isinstance(answer, Unscored) and "across the end of the prompt" in answer.reason


def test_a_greedy_continuation_is_known_as_one(live: Live, remote: RemoteAnswers) -> None:
    prompt = "the quick brown"
    (_, text), = EngineModel(live.host).generate([(prompt, Generation((), 1))], [0])
    (_, answer), = remote.loglikelihoods([(prompt, str(text))], [0])
    assert isinstance(answer, tuple) and answer[1]


def test_generated_texts_are_those_of_the_model_itself_in_order(live: Live, remote: RemoteAnswers) -> None:
    asked = [(text, Generation(("the", "\n"), 12)) for text in ("the quick brown", "hello world", "one two", "你好")]
    found, expected = list(remote.generate(asked, range(4))), dict(EngineModel(live.host).generate(asked, range(4)))
    assert [index for index, _ in found] == [0, 1, 2, 3]
    # The bytes of a character that the length cuts are dropped by the server.
    assert [text for _, text in found] == [str(expected[index]).rstrip("\ufffd") for index in range(4)]


def test_a_text_that_nothing_stands_before_is_unscored_with_the_reason(remote: RemoteAnswers) -> None:
    (_, answer), = remote.loglikelihoods([("", "hello world")], [0])
    assert isinstance(answer, Unscored) and "first token" in answer.reason


@pytest.fixture
def runs(live: Live, host: Host, settings: Settings, tmp_path: Path) -> tuple[Benchmark, Benchmark]:
    """The same two tasks through the server and on the model itself, both done."""
    names = [task(tmp_path, "choice"), task(tmp_path, "text")]
    made = [start(each, names, TaskOptions(), settings) for each in (host, live.host)]
    for benchmark in made:
        list(benchmark.run())
    return made[0], made[1]


def test_a_benchmark_through_the_server_is_the_direct_one_sample_by_sample(runs: tuple[Benchmark, Benchmark]) -> None:
    through, direct = runs
    assert through.is_complete and through.scores() == direct.scores()
    for name, expected in direct.results.items():
        found = {result.sample: result for result in through.results[name]}
        for result in expected:
            assert found[result.sample].error is None and result.error is None
            for ours, theirs in zip(found[result.sample].answers, result.answers, strict=True):
                if isinstance(theirs, str):
                    assert ours == theirs.rstrip("\ufffd")
                else:
                    assert ours == (pytest.approx(theirs[0], abs=1e-3), theirs[1])  # type: ignore[index]


def test_a_run_knows_which_server_and_model_answered(
    runs: tuple[Benchmark, Benchmark], live: Live, host: Host, settings: Settings
) -> None:
    through, direct = (benchmark.folder.spec() for benchmark in runs)
    model = through["model"]
    assert (model["name"], model["precision"]) == (f"{live.url}/v1#{MODEL}", "remote")
    assert model["described"]["owned_by"] == "proofbench" and model["weights"] != direct["model"]["weights"]
    assert f"--model={model['name']}" in arguments_of(through) and "--precision" not in " ".join(arguments_of(through))
    assert resume(host, RunFolder(runs[0].folder.path), settings).is_complete
    with pytest.raises(UserError, match="differs in: model weights"):
        resume(live.host, RunFolder(runs[0].folder.path), settings)


def test_texts_scored_whole_are_refused_before_anything_runs(host: Host, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="whole: the likelihood of whole texts"):
        start(host, [task(tmp_path, "whole")], TaskOptions(), settings)


def test_likelihoods_after_a_chat_prompt_are_refused_before_anything_runs(
    host: Host, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="Run without the chat template"):
        start(host, [task(tmp_path, "choice")], TaskOptions(uses_chat_template=True), settings)


def test_a_chat_prompt_goes_out_as_messages_and_answers_as_the_template_would(
    live: Live, host: Host, settings: Settings, tmp_path: Path
) -> None:
    options = TaskOptions(uses_chat_template=True)
    made = [start(each, [task(tmp_path, "text")], options, settings) for each in (host, live.host)]
    for benchmark in made:
        list(benchmark.run())
    found, expected = ({r.sample: r.answers for r in benchmark.results["text"]} for benchmark in made)
    assert found == {sample: tuple(str(a).rstrip("\ufffd") for a in answers) for sample, answers in expected.items()}


def test_the_command_line_chats_with_a_model_on_another_server(
    live: Live, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROOFBENCH_HOME", str(settings.home))
    said = ["--message=hello world", "--temperature=0", "--max-new-tokens=6"]
    assert cli.main(["chat", f"--model={live.url}/v1", *said]) == 0
    greedy = SamplingConfig(temperature=0, top_k=0, max_new_tokens=6)
    expected = "".join(d.text for d in chat.reply(live.host, [Message("user", "hello world")], greedy))
    assert capsys.readouterr().out.rstrip("\n") == expected.rstrip("\n")


def test_the_command_line_measures_a_model_on_another_server_and_goes_on_with_the_run(
    live: Live, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PROOFBENCH_HOME", str(settings.home))
    asked = ["benchmark", f"--model={live.url}/v1", f"--tasks={task(tmp_path, 'choice')}", "--bootstrap=0"]
    assert cli.main([*asked, "--check"]) == 0
    assert capsys.readouterr().out == f"5 samples, 15 requests to {live.url}/v1#{MODEL}\n"
    assert cli.main([*asked, f"--output={tmp_path}"]) == 0
    said = capsys.readouterr()
    assert "|choice" in said.out.replace(" ", "")
    run = said.err.partition("run ")[2].partition(",")[0]
    assert cli.main(["benchmark", f"--resume={run}", f"--output={tmp_path}"]) == 0
    assert "resumed at 5/5" in capsys.readouterr().err
