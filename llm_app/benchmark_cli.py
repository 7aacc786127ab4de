"""The command `benchmark`: tasks in, a table on stdout and the harness's files on disk; progress on stderr."""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from llm_app import check_cli, compare_cli
from llm_app.config import SAMPLES, SEEDS, SHOTS, ModelConfig, Settings
from llm_app.errors import UserError
from llm_app.flags import add_flags, read_flags
from llm_app.remote.address import REMOTE
from llm_app.spoken import say

LINE_SECONDS = 10.0  # between plain progress lines, where nobody watches a terminal
FAILURE, INTERRUPTED = 1, 130


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "benchmark", help="Measure a model with tasks of lm-evaluation-harness.", allow_abbrev=False
    )
    parser.add_argument(
        "--tasks", metavar="A,B",
        help="Names of the harness (sst2,arc_easy); suites smoke, quick, full, glue, forgetting; own .yaml task files.",
    )
    parser.add_argument(
        "--limit", type=_whole(*SAMPLES), metavar="N", help="First N samples of each task (default: all).",
    )
    parser.add_argument(
        "--shots", type=_whole(*SHOTS), metavar="N",
        help=f"Examples before each question, at most {SHOTS[1]} (default: its own).",
    )
    parser.add_argument(
        "--seed", type=_whole(*SEEDS), metavar="N",
        help=f"For the choice of examples, at most {SEEDS[1]} (default: the harness's).",
    )
    parser.add_argument("--chat-template", action="store_true", help="Ask through the model's chat template.")
    parser.add_argument(
        "--bootstrap", type=_whole(0, 10_000_000), metavar="N",
        help="Resamples for standard errors that have no formula; 0 gives none (default 100000, as the harness).",
    )
    parser.add_argument("--output", metavar="DIR", help="Where results_*.json and samples_*.jsonl go (default: run).")
    parser.add_argument("--resume", metavar="RUN", help="Go on with a run that was interrupted; takes its own options.")
    parser.add_argument(
        "--compare-with-base", action="store_true",
        help="Run the base and the adapter on the same samples, in one loaded model, and say what changed.",
    )
    compare_cli.add_language(parser)
    check_cli.add_flags(parser)
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(parser, ModelConfig, "model")


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    settings = Settings.from_environment()
    given = read_flags(options, ModelConfig)
    check_cli.refuse_code(options, settings)
    from llm_app.jobs.folder import RunFolder

    folder = RunFolder.open(settings.home / "runs", options.resume) if options.resume else None
    if folder is None and not options.tasks:
        raise UserError("Name at least one task: --tasks sst2,arc_easy", param="tasks")
    if folder is not None:
        _refuse_options(options)
        spec = folder.spec()
        if spec.get("options", {}).get("allows_code") and not options.allow_code_execution:
            raise UserError("This run executes code that the model writes: add --allow-code-execution.", param="resume")
        given = _model_of(spec, given)
    if options.compare_with_base and not given.adapter:
        raise UserError("--compare-with-base needs the adapter that is compared: --adapter NAME", param="adapter")
    from llm_app.engine.host import Host

    host = Host(settings)
    try:
        for progress in host.load(given):
            say(f"{progress.phase} {progress.fraction:.0%}", is_last=False)
        return _measure(host, folder, options, settings)
    finally:
        host.shutdown(grace_seconds=0)


def _measure(host: Any, folder: Any, options: argparse.Namespace, settings: Settings) -> int:
    from eval.tasks.harness import TaskOptions
    from eval.tasks.own import placed
    from llm_app.jobs.benchmark import resume, start

    say("reading tasks", is_last=False)
    if folder is not None:
        benchmark = resume(host, folder, settings)
        say(f"run {folder.id}, resumed at {benchmark.n_done}/{benchmark.n_total}")
        return _work(benchmark, options)
    asked = TaskOptions(
        options.shots, options.limit, options.seed, options.chat_template, options.allow_code_execution,
        **({} if options.bootstrap is None else {"n_bootstrap": options.bootstrap}),
    )
    names = [placed(name.strip()) for name in options.tasks.split(",") if name.strip()]
    if options.check:
        for line in check_cli.check(host, names, asked, settings):
            print(line, flush=True)
        return 0
    run_ids: list[str] = []
    for adapter in [None, host.adapter] if options.compare_with_base else [host.adapter]:
        benchmark = start(host, names, asked, settings, adapter=adapter)
        run_ids.append(benchmark.folder.id)
        say(f"run {run_ids[-1]}, {benchmark.n_total} samples; if it is interrupted: --resume {run_ids[-1]}")
        if len(run_ids) == 1:
            for line in check_cli.before_run(host, benchmark.suite, uses_chat_template=asked.uses_chat_template):
                say(line)
        code = _work(benchmark, options)
        if code != 0:
            return code
    if options.compare_with_base:
        print(compare_cli.comparison_text(run_ids, settings, options.language), flush=True)
    return 0


def _work(benchmark: Any, options: argparse.Namespace) -> int:
    """What is left of a run, then its table and files; gives the exit code."""
    from llm_app.jobs.ending import AskAgain
    from llm_app.jobs.files import write_files

    code = 0
    try:
        with contextlib.closing(benchmark.run()) as steps:
            for line in _lines(steps, benchmark):
                say(line, is_last=False)
    except AskAgain as error:
        say(f"{error.message} --resume {benchmark.folder.id}")
        code = FAILURE
    except KeyboardInterrupt:
        say(f"interrupted at {benchmark.n_done}/{benchmark.n_total}; go on with --resume {benchmark.folder.id}")
        code = INTERRUPTED
    output = Path(options.output) if options.output else benchmark.folder.path
    made, path = write_files(benchmark, output, n_bootstrap=0 if code == INTERRUPTED else None)
    print(made.table, flush=True)
    say(f"written to {path.parent}")
    return code


def _lines(steps: Iterable[Any], benchmark: Any) -> Iterable[str]:
    """What to show, as often as it can be read: how far it is, the task's score so far, the time left."""
    from llm_app.jobs.running import score_so_far

    with_passages = benchmark.folder.spec().get("with_passages", ())
    started, shown, first = time.monotonic(), 0.0, None
    pause = 0.2 if sys.stderr.isatty() else LINE_SECONDS
    for step in steps:
        now = time.monotonic()
        first = step.done - 1 if first is None else first
        if now - shown >= pause or step.done == step.total:
            shown = now
            left = (now - started) / (step.done - first) * (step.total - step.done)
            bar = "#" * (20 * step.done // step.total)
            score = score_so_far(
                benchmark.suite.tasks[step.task], benchmark.results[step.task],
                shares_passages=step.task in with_passages,
            )
            parts = (f"{step.done}/{step.total} {step.task}", score, f"about {left:.0f} s left")
            yield f"[{bar:<20}] {', '.join(part for part in parts if part)}"



def _refuse_options(options: argparse.Namespace) -> None:
    given = [name for name in ("tasks", "limit", "shots", "seed", "bootstrap") if getattr(options, name) is not None]
    flags_given = ("chat_template", "compare_with_base", "check", "allow_code_execution")
    given += [name for name in flags_given if getattr(options, name)]
    given += [name for name in ("model", "adapter", "precision", "context_length") if hasattr(options, name)]
    if given:
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        raise UserError(f"A resumed run keeps its own options; leave out {flags}.", param=given[0])


def _model_of(spec: dict[str, Any], given: ModelConfig) -> ModelConfig:
    model = spec["model"]
    if model["precision"] == REMOTE:
        return ModelConfig(model["name"], device=given.device)
    return ModelConfig(
        model=model["name"], adapter=model["adapter_name"], precision=model["precision"], device=given.device,
        context_length=spec["context"],
    )


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be {least} to {most}, not {value}")
        return value

    return read
