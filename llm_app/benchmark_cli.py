"""The command `benchmark`: tasks in, a table on stdout and the harness's files on disk; progress on stderr."""

import argparse
import contextlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llm_app.config import ModelConfig, Settings
from llm_app.errors import UserError
from llm_app.flags import add_flags, read_flags

LINE_SECONDS = 10.0  # between plain progress lines, where nobody watches a terminal
INTERRUPTED = 130


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "benchmark", help="Measure a model with tasks of lm-evaluation-harness.", allow_abbrev=False
    )
    parser.add_argument("--tasks", metavar="A,B", help="Names of the harness, such as sst2,arc_easy; also stsb.")
    parser.add_argument("--limit", type=_positive, metavar="N", help="First N samples of each task (default: all).")
    parser.add_argument("--shots", type=_count, metavar="N", help="Examples before each question (default: its own).")
    parser.add_argument("--seed", type=_count, metavar="N", help="For the choice of examples (default: the harness's).")
    parser.add_argument("--chat-template", action="store_true", help="Ask through the model's chat template.")
    parser.add_argument(
        "--bootstrap", type=_count, default=100_000, metavar="N",
        help="Resamples for standard errors that have no formula; 0 gives none (default 100000, as the harness).",
    )
    parser.add_argument("--output", metavar="DIR", help="Where results_*.json and samples_*.jsonl go (default: run).")
    parser.add_argument("--resume", metavar="RUN", help="Go on with a run that was interrupted; takes its own options.")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(parser, ModelConfig, "model")


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    settings = Settings.from_environment()
    given = read_flags(options, ModelConfig)
    from llm_app.jobs.folder import RunFolder

    folder = RunFolder.open(settings.home / "runs", options.resume) if options.resume else None
    if folder is None and not options.tasks:
        raise UserError("Name at least one task: --tasks sst2,arc_easy", param="tasks")
    if folder is not None:
        _refuse_options(options)
        given = _model_of(folder.spec(), given)
    from llm_app.engine.host import Host

    host = Host(settings)
    try:
        for progress in host.load(given):
            _say(f"{progress.phase} {progress.fraction:.0%}", is_last=False)
        return _measure(host, folder, options, settings)
    finally:
        host.shutdown(grace_seconds=0)


def _measure(host: Any, folder: Any, options: argparse.Namespace, settings: Settings) -> int:
    from eval.tasks.harness import TaskOptions
    from llm_app.jobs.benchmark import resume, start
    from llm_app.jobs.files import write_files

    _say("reading tasks", is_last=False)
    if folder is not None:
        benchmark = resume(host, folder, settings)
        _say(f"run {folder.id}, resumed at {benchmark.n_done}/{benchmark.n_total}")
    else:
        asked = TaskOptions(options.shots, options.limit, options.seed, options.chat_template)
        names = [name.strip() for name in options.tasks.split(",") if name.strip()]
        benchmark = start(host, names, asked, settings, adapter=host.adapter)
        run_id = benchmark.folder.id
        _say(f"run {run_id}, {benchmark.n_total} samples; if it is interrupted: --resume {run_id}")
    code = 0
    try:
        with contextlib.closing(benchmark.run()) as steps:
            for line in _lines(steps):
                _say(line, is_last=False)
    except KeyboardInterrupt:
        _say(f"interrupted at {benchmark.n_done}/{benchmark.n_total}; go on with --resume {benchmark.folder.id}")
        code = INTERRUPTED
    output = Path(options.output) if options.output else benchmark.folder.path
    made, path = write_files(benchmark, output, n_bootstrap=options.bootstrap if code == 0 else 0)
    print(made.table, flush=True)
    _say(f"written to {path.parent}")
    return code


def _lines(steps: Iterable[Any]) -> Iterable[str]:
    """What to show, as often as it can be read."""
    started, shown, first = time.monotonic(), 0.0, None
    pause = 0.2 if sys.stderr.isatty() else LINE_SECONDS
    for step in steps:
        now = time.monotonic()
        first = step.done - 1 if first is None else first
        if now - shown >= pause or step.done == step.total:
            shown = now
            left = (now - started) / (step.done - first) * (step.total - step.done)
            bar = "#" * (20 * step.done // step.total)
            yield f"[{bar:<20}] {step.done}/{step.total} {step.task}, about {left:.0f} s left"


def _say(text: str, *, is_last: bool = True) -> None:
    """A line on stderr; on a terminal, passing ones overwrite each other."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="\n" if is_last else "", file=sys.stderr, flush=True)
    elif is_last or text.startswith("["):
        print(text, file=sys.stderr, flush=True)


def _refuse_options(options: argparse.Namespace) -> None:
    given = [name for name in ("tasks", "limit", "shots", "seed") if getattr(options, name) is not None]
    given += ["chat_template"] if options.chat_template else []
    given += [name for name in ("model", "adapter", "precision", "context_length") if hasattr(options, name)]
    if given:
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        raise UserError(f"A resumed run keeps its own options; leave out {flags}.", param=given[0])


def _model_of(spec: dict[str, Any], given: ModelConfig) -> ModelConfig:
    model = spec["model"]
    return ModelConfig(
        model=model["name"], adapter=model["adapter_name"], precision=model["precision"], device=given.device,
        context_length=spec["context"],
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return value
