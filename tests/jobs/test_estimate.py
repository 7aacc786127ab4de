"""Counts before the start, each against a count made in another way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval.runner import evaluate
from eval.tasks.harness import Suite, TaskOptions, load_tasks
from llm_app.cli import main
from llm_app.config import Settings
from llm_app.engine.host import Host
from llm_app.jobs.answers import EngineModel
from llm_app.jobs.estimate import Estimate, Speed, Work, count, estimate, measure, predict, sentences
from tests import tiny
from tests.running import running

N_CONTEXT = 1024


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("models") / "tiny", n_context=N_CONTEXT)


@pytest.fixture(scope="module")
def host(folder: Path, hub_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with running(folder, Settings(home=tmp_path_factory.mktemp("home"), data=hub_data)) as host:
        yield host


def suite_of(names: list[str], data: Path, **options: Any) -> Suite:
    return load_tasks(names, TaskOptions(**options), data=data)


def test_requests_and_tokens_of_choices_equal_the_tokenizers_own_count(host: Host, hub_data: Path) -> None:
    suite = suite_of(["arc_easy", "boolq"], hub_data, limit=20, n_shots=0)
    work = count(host.loaded, EngineModel(host), suite.tasks)
    requests = [r for task in suite.tasks.values() for sample in task.samples for r in sample.requests]
    # Oracle: each prompt and each whole, encoded one by one by the tokenizer as transformers gives it.
    tokenizer = tiny.make_tokenizer()
    prompts = [len(tokenizer.encode(r.text.rstrip())) for r in requests]
    wholes = [len(tokenizer.encode(r.text + r.continuation)) for r in requests]
    scored = [whole - prompt for whole, prompt in zip(wholes, prompts, strict=True)]
    cut = [min(prompt, N_CONTEXT + 1 - n) for prompt, n in zip(prompts, scored, strict=True)]
    assert (work.n_samples, work.n_requests) == (40, len(requests))
    assert (work.n_prompt_tokens, work.n_scored_tokens) == (sum(cut), sum(scored))
    assert work.n_cut == sum(a != b for a, b in zip(cut, prompts, strict=True))


def test_tokens_that_are_computed_are_those_that_go_through_the_model(host: Host, hub_data: Path) -> None:
    suite = suite_of(["arc_easy", "hellaswag"], hub_data, limit=12, n_shots=2)
    model = EngineModel(host)
    work = count(host.loaded, model, suite.tasks)
    seen: list[int] = []
    hook = host.loaded.model.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((args[0] if args else kwargs["input_ids"]).numel()), with_kwargs=True
    )
    try:
        for task in suite.tasks.values():
            list(evaluate(task, model))
    finally:
        hook.remove()
    # Before it scores, the engine tries itself out on passes of three tokens.
    assert work.n_computed == sum(n for n in seen if n > 3)


def test_tokens_of_replies_and_of_their_prompts(host: Host, hub_data: Path) -> None:
    suite = suite_of(["gsm8k"], hub_data, limit=6, n_shots=1)
    work = count(host.loaded, EngineModel(host), suite.tasks)
    requests = [r for sample in suite.tasks["gsm8k"].samples for r in sample.requests]
    tokenizer = tiny.make_tokenizer()
    n_new = [r.generation.max_new_tokens for r in requests if r.generation]
    prompts = [len(tokenizer.encode(r.text)) for r in requests]
    rooms = [N_CONTEXT - n for n in n_new]
    read = [min(prompt, room) for prompt, room in zip(prompts, rooms, strict=True)]
    assert (work.n_replies, work.n_new, work.n_read) == (6, sum(n_new), sum(read))
    assert work.n_prompt_tokens == sum(read)
    assert work.n_cut == sum(prompt > room for prompt, room in zip(prompts, rooms, strict=True))


def test_every_token_of_running_text_is_scored_once(host: Host, hub_data: Path) -> None:
    suite = suite_of(["wikitext"], hub_data, limit=2)
    work = count(host.loaded, EngineModel(host), suite.tasks)
    texts = [sample.requests[0].text for sample in suite.tasks["wikitext"].samples]
    assert work.n_scored_tokens == sum(len(tiny.make_tokenizer().encode(text)) for text in texts)
    assert work.n_cut == 0


def test_work_of_tasks_adds_up(host: Host, hub_data: Path) -> None:
    model = EngineModel(host)
    suite = suite_of(["arc_easy", "gsm8k"], hub_data, limit=4, n_shots=0)
    parts = [count(host.loaded, model, {name: task}) for name, task in suite.tasks.items()]
    assert count(host.loaded, model, suite.tasks) == parts[0] + parts[1]


def test_speeds_are_measured_for_the_kinds_that_are_asked(host: Host, hub_data: Path) -> None:
    model = EngineModel(host)
    scored = measure(host, model, suite_of(["arc_easy"], hub_data, limit=8, n_shots=0).tasks)
    assert scored.scored and scored.scored > 0 and (scored.read, scored.generated) == (None, None)
    replies = measure(host, model, suite_of(["gsm8k"], hub_data, limit=3, n_shots=0).tasks)
    assert replies.scored is None and replies.read and replies.generated


@pytest.mark.parametrize(
    ("work", "speed", "want"),
    [
        (Work(n_computed=1000), Speed(scored=100.0), (10.0, False)),
        (Work(n_read=500, n_replies=4, n_new=400), Speed(read=50.0, generated=20.0), (30.0, True)),
        (Work(n_read=500, n_replies=4, n_new=400), Speed(read=50.0, generated=20.0, reply_tokens=5.0), (11.0, False)),
        (Work(n_computed=100, n_read=50, n_new=10), Speed(10.0, 5.0, 1.0, None), (30.0, True)),
        (Work(), Speed(), (0.0, False)),
    ],
)
def test_time_is_tokens_over_speed_and_replies_of_unknown_length_are_a_bound(
    work: Work, speed: Speed, want: tuple[float, bool]
) -> None:
    assert predict(work, speed) == want


def test_memory_is_that_of_the_weights_and_of_the_largest_batch(host: Host, hub_data: Path) -> None:
    suite = suite_of(["arc_easy"], hub_data, limit=4, n_shots=0)
    made = estimate(host, EngineModel(host), suite.tasks)
    # Two layers, keys and values of two heads of 16 numbers in float32, for a token.
    a_token = 2 * 2 * 2 * 16 * 4
    assert made.weights_bytes == host.loaded.n_bytes
    assert 0 < made.cache_bytes <= made.work.n_computed * a_token and made.cache_bytes % a_token == 0


def test_the_sentences_name_every_figure_in_both_languages() -> None:
    work = Work(12, 34, 5678, 90, 5000, 100, 2, 512, 3)
    made = Estimate(work, Speed(100.0, 50.0, 10.0, None), 5_400.0, True, 10**9, 10**8)
    english = "; ".join(text for text, _ in sentences(made))
    chinese = "；".join(text for _, text in sentences(made))
    for shown in ("12", "34", "5,678", "90", "512", "1.5", "100", "50", "10", "1,000 MB", "3"):
        assert shown in english and shown in chinese, shown
    assert "at most 1.5 h" in english and "至多需 1.5 小时" in chinese


def test_check_prints_prompt_warning_and_estimate_and_starts_no_run(
    folder: Path, hub_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("PROOFBENCH_DATA", str(hub_data))
    command = ["benchmark", "--model", str(folder), "--precision", "fp32", "--tasks", "arc_easy", "--limit", "4"]
    assert main([*command, "--check"]) == 0
    shown = capsys.readouterr().out
    assert "arc_easy: the first prompt" in shown and "| Question:" in shown
    assert "warning: arc_easy: The model was tuned to its chat template" in shown
    assert "4 samples, 16 requests" in shown and "tokens/s scored" in shown and "nothing to fetch" in shown
    assert "without the chat template" in shown and not list((tmp_path / "runs").glob("*"))


def test_a_run_begins_with_the_warnings_and_what_is_asked(
    folder: Path, hub_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("PROOFBENCH_DATA", str(hub_data))
    command = ["benchmark", "--model", str(folder), "--precision", "fp32", "--tasks", "arc_easy", "--limit", "4"]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "warning: arc_easy:" in shown.err and "4 samples, 16 requests" in shown.err
    assert "warning" not in shown.out
