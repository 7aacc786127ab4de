"""The command `helped`: a training run in; what changed on what it was trained for, and what it may have forgotten."""

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from llm_app import compare_cli
from llm_app.config import PRECISIONS, ModelConfig, Settings
from llm_app.errors import UserError
from llm_app.spoken import say

LINE_SECONDS = 10.0  # between progress lines, where nobody watches a terminal
FAILURE, INTERRUPTED = 1, 130


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "helped", help="Did training help? Base and adapter on what was held back, and on what may be forgotten.",
        allow_abbrev=False,
    )
    parser.add_argument("--run", metavar="RUN", help="Id of the training run.")
    parser.add_argument(
        "--tasks", metavar="A,B", help="What is asked besides the held-back examples (default forgetting, a suite).",
    )
    parser.add_argument("--samples", type=int, metavar="N", help="Held-back examples that are asked (default 200).")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="Of the loaded base (default auto).")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="Where it computes.")
    parser.add_argument("--resume", metavar="RUN", help="Go on with a `helped` run that was interrupted.")
    parser.add_argument("--output", metavar="FILE", help="Where the HTML report goes (default: the run's folder).")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    compare_cli.add_language(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    if (options.run is None) == (options.resume is None):
        raise UserError("Name the training run: --run RUN (or --resume RUN to go on).", param="run")
    if options.resume is not None and (options.tasks is not None or options.samples is not None):
        raise UserError("A resumed run keeps its own tasks and samples; leave them out.", param="resume")
    if options.samples is not None and options.samples < 1:
        raise UserError("--samples must be at least 1.", param="samples")
    settings = Settings.from_environment()
    from llm_app.engine.host import Host
    from llm_app.jobs.store import RunStore

    spec = RunStore.of(settings).open(options.run or options.resume).spec()
    name = spec.get("model", {}).get("name", "")
    host = Host(settings)
    try:
        for progress in host.load(ModelConfig(name, precision=options.precision, device=options.device)):
            say(f"{progress.phase} {progress.fraction:.0%}", is_last=False)
        return _measure(host, options, settings)
    finally:
        host.shutdown(grace_seconds=0)


def _measure(host: Any, options: argparse.Namespace, settings: Settings) -> int:
    from eval.tasks.own import placed
    from llm_app.jobs.ending import Paused
    from llm_app.jobs.held_back import N_SAMPLES
    from llm_app.jobs.helped import FORGETTING, resume_helped, start_helped
    from llm_app.jobs.store import RunStore

    if options.resume:
        helped = resume_helped(host, RunStore.of(settings).open(options.resume), settings)
    else:
        given = [placed(name.strip()) for name in (options.tasks or "").split(",") if name.strip()]
        tasks = given if options.tasks is not None else FORGETTING
        helped = start_helped(host, options.run, settings, tasks=tasks, n_samples=options.samples or N_SAMPLES)
    again = f"helped --resume {helped.folder.id}"
    say(f"run {helped.folder.id}, {helped.n_done}/{helped.n_total} samples; if it is interrupted: {again}")
    try:
        _watch(helped)
    except Paused as error:
        say(f"{error.message} Go on with {again}")
        return FAILURE
    except KeyboardInterrupt:
        say(f"interrupted at {helped.n_done}/{helped.n_total}; go on with {again}")
        return INTERRUPTED
    _print(helped.folder, options, settings)
    return 0


def _watch(helped: Any) -> None:
    started, shown, first = time.monotonic(), 0.0, helped.n_done
    pause = 0.2 if sys.stderr.isatty() else LINE_SECONDS
    with contextlib.closing(helped.run()) as steps:
        for step in steps:
            now = time.monotonic()
            if now - shown >= pause or step.done == step.total:
                shown = now
                left = (now - started) / max(1, step.done - first) * (step.total - step.done)
                bar = "#" * (20 * step.done // step.total)
                say(
                    f"[{bar:<20}] {step.done}/{step.total} {step.side} {step.task}, about {left:.0f} s left",
                    is_last=False,
                )


def _print(folder: Any, options: argparse.Namespace, settings: Settings) -> None:
    """Comparison and sentences on stdout, the report beside the run."""
    from eval.report import comparison_section, export
    from llm_app.jobs.folder import write_whole
    from llm_app.jobs.helped import read_helped
    from llm_app.jobs.reports import read_reports

    language = options.language or compare_cli.language_of(os.environ)
    found = read_helped(folder, settings)
    sentences = found.sentences(language)
    print(compare_cli.text(found.comparison, language), *sentences, sep="\n\n", flush=True)
    section = comparison_section(found.comparison, language, lead=sentences)
    page = export(read_reports(found.paths, settings), "html", language=language, sections=[section])
    say(f"report written to {write_whole(Path(options.output or folder.path / 'report.html'), page)}")

