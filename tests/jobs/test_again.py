"""What failed for a passing reason is asked again; what memory and context did to a run is written down."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.report.markdown import marks
from eval.report.rows import rows_of
from eval.tasks.harness import TaskOptions
from llm_app import benchmark_cli
from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.engine.room import TOKENS
from llm_app.jobs.benchmark import PACKAGES, Benchmark, resume, start
from llm_app.jobs.command import arguments_of
from llm_app.jobs.compare import compare_runs, read_run
from llm_app.jobs.ending import AskAgain
from llm_app.jobs.files import write_files
from llm_app.jobs.kept import plain
from llm_app.jobs.reports import read_report
from llm_app.jobs.store import RunStore
from tests import tiny
from tests.running import running

MARK = "<|im_start|>"  # one token, so that a pass over it can be told
N = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def host(folder: Path, settings: Settings) -> Iterator[Host]:
    with running(folder, settings) as host:
        yield host


def task(folder: Path, kind: str, *, marked: int = -1, long: int = -1) -> str:
    """N rows, of which one bears the mark and one is longer than the context."""
    rows = []
    for i in range(N):
        text = "the quick brown fox " * (150 if i == long else 1) + (MARK if i == marked else "") + str(i)
        rows.append({"source": text, "target": "dog", "text": text})
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "t.yaml"
    more = "max_new_tokens: 8\n" if kind == "generation" else "labels: [dog, cat]\ncolumns: {label: target}\n"
    path.write_text(f"name: t\ndata: t.jsonl\nkind: {kind}\n{more}")
    return str(path)


@contextmanager
def no_memory_for(host: Host, *, mark: bool = False, n_tokens: int = 10**9) -> Iterator[None]:
    """Passes over the mark, or over more tokens than these, do not fit."""
    marker = host.loaded.tokenizer.convert_tokens_to_ids(MARK)

    def hook(module: object, args: object, kwargs: dict[str, Any]) -> None:
        ids: torch.Tensor = kwargs["input_ids"]
        if ids.numel() > n_tokens or (mark and bool((ids == marker).any())):
            raise MemoryError

    handle = host.loaded.model.get_decoder().register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def begin(host: Host, settings: Settings, name: str) -> Benchmark:
    return start(host, [name], TaskOptions(), settings)


def text_of(benchmark: Benchmark, output: Path) -> tuple[str, dict[str, Any]]:
    """The table and the results file."""
    made, path = write_files(benchmark, output, n_bootstrap=0)
    return made.table, json.loads(path.read_text())


@pytest.mark.parametrize("kind", ["generation", "classification"])
def test_samples_for_which_memory_was_short_are_no_results_and_resuming_asks_for_them(
    kind: str, host: Host, settings: Settings, tmp_path: Path
) -> None:
    name = task(tmp_path, kind, marked=20)
    benchmark = begin(host, settings, name)
    with no_memory_for(host, mark=True), pytest.raises(AskAgain, match="^1 samples are to be asked again: resume"):
        list(benchmark.run())
    run = RunStore.of(settings).read(benchmark.folder.id)
    assert (run.status, run.n_done, run.n_total) == ("paused", N - 1, N)
    assert run.reason is not None and "ot enough memory" in run.reason and "resume the run" in run.reason
    assert text_of(benchmark, tmp_path / "a")[0].endswith(f"t: partial, {N - 1} of {N} samples")
    again = resume(host, benchmark.folder, settings)
    assert [step.result.sample for step in again.run()] == [20]
    assert again.is_complete and RunStore.of(settings).read(benchmark.folder.id).status == "done"
    list((undisturbed := begin(host, settings, name)).run())
    for result, want in zip(by_sample(again), by_sample(undisturbed), strict=True):
        assert (plain(result.scores), result.error) == (plain(want.scores), None)


def by_sample(benchmark: Benchmark) -> list[Any]:
    return sorted(benchmark.results["t"], key=lambda result: result.sample)


def test_the_command_says_that_samples_are_to_be_asked_again_shows_the_rest_and_fails(
    host: Host, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import argparse

    benchmark = begin(host, settings, task(tmp_path, "generation", marked=3))
    with no_memory_for(host, mark=True):
        code = benchmark_cli._work(benchmark, argparse.Namespace(output=None))
    shown = capsys.readouterr()
    assert code == 1
    assert "1 samples are to be asked again: resume the run." in shown.err
    assert f"--resume {benchmark.folder.id}" in shown.err
    assert f"partial, {N - 1} of {N}" in shown.out and "bleu" in shown.out


def test_E15_what_memory_allowed_is_in_the_results_and_a_resumed_run_begins_with_it(
    host: Host, settings: Settings, tmp_path: Path
) -> None:
    name = task(tmp_path, "classification")
    list((undisturbed := begin(host, settings, name)).run())
    benchmark = begin(host, settings, name)
    with no_memory_for(host, n_tokens=200):
        steps = benchmark.run()
        for _ in range(5):
            next(steps)
        steps.close()
        again = resume(host, benchmark.folder, settings)
        list(again.run())
    data = text_of(again, tmp_path / "a")[1]
    assert data["room"]["tokens"] <= 200 < TOKENS and data["room"]["replies"] == 16
    assert "room" not in text_of(undisturbed, tmp_path / "b")[1]
    assert sum(event["type"] == "room" for event in benchmark.folder.events()) == 1
    assert read_report(benchmark.folder.id, settings).settings["room"] == f"{data['room']['tokens']} / 16"
    for result, want in zip(by_sample(again), by_sample(undisturbed), strict=True):
        assert [answer[0] for answer in result.answers] == pytest.approx([answer[0] for answer in want.answers])


def test_prompts_that_lost_their_beginning_are_counted_in_table_results_and_report(
    host: Host, settings: Settings, tmp_path: Path
) -> None:
    benchmark = begin(host, settings, task(tmp_path, "generation", long=7))
    list(benchmark.run())
    table, data = text_of(benchmark, tmp_path / "a")
    assert table.endswith(f"t: 1 of {N} prompts were cut at 512 tokens")
    assert data["cut"] == {"t": {"context": 512, "doc_ids": [7]}}
    first, *_ = rows_of(read_report(benchmark.folder.id, settings))
    assert f"1 of {N} prompts cut at the context" in marks(first)
    # The harness's files say it as well, without the run's folder.
    samples = read_run(str(tmp_path / "a"), settings).tasks["t"].samples
    assert [number for number, sample in samples.items() if sample.is_cut] == [7]


def test_a_comparison_says_that_the_context_cut_other_prompts_in_one_of_the_runs(
    host: Host, folder: Path, settings: Settings, tmp_path: Path
) -> None:
    name = task(tmp_path, "generation", long=7)
    list((narrow := begin(host, settings, name)).run())
    wide_model = tiny.make_model(tmp_path / "wide", n_context=2048, seed=1)
    with running(wide_model, settings) as other:
        list((wide := begin(other, settings, name)).run())
    (comparison,) = compare_runs([narrow.folder.id, wide.folder.id], settings)
    assert any(f"cut 1 of {N} prompts in one run and 0 in the other" in english for english, _ in comparison.notes)


def test_a_run_names_the_version_of_every_package_that_a_figure_passes_through(
    host: Host, settings: Settings, tmp_path: Path
) -> None:
    spec = begin(host, settings, task(tmp_path, "generation")).folder.spec()
    assert spec["packages"] == {name: version(name) for name in PACKAGES}
    assert {"bitsandbytes", "datasets", "sacrebleu", "rouge-score"} <= spec["packages"].keys()


def test_the_command_that_repeats_a_run_names_its_device(folder: Path, settings: Settings, tmp_path: Path) -> None:
    host = Host(settings)
    for _ in host.load(ModelConfig(str(folder), precision="fp32", device="cpu")):
        pass
    spec = begin(host, settings, task(tmp_path, "generation")).folder.spec()
    assert "--device=cpu" in arguments_of(spec)
    host.unload()
