"""The command `train`: examples in, an adapter on disk; progress on stderr, where it lies on stdout."""

import argparse
import contextlib
import os
import shlex
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from llm_app.classify.training.events import Point
from llm_app.config import ModelConfig, Settings
from llm_app.data_flags import add_data_flags, datasets_of, given_data_flags
from llm_app.errors import Cancelled, UserError
from llm_app.flags import add_flags, flag_of, read_flags
from llm_app.options import options_of
from llm_app.spoken import say
from llm_app.training.config import TrainConfig
from llm_app.training.events import Note, Saved, Step, Validation

if TYPE_CHECKING:
    from llm_app.jobs.train import Training

LINE_SECONDS = 5.0  # between plain progress lines, where nobody watches a terminal
PHASES = {
    "data": "reading data", "model": "loading model", "baselines": "learning the baselines",
    "first": "measuring before the first step", "writing": "writing",
}
SPEED_STEPS = 10  # that speed and time left are a mean of
FAILURE, INTERRUPTED = 1, 130


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train", help="Tune a model on examples; leaves an adapter.", allow_abbrev=False
    )
    item, info = options_of(ModelConfig)[0]
    parser.add_argument("--model", metavar="TEXT", help=f"{info.help[0]} (default {item.default})")
    add_data_flags(parser)
    parser.add_argument("--output", metavar="DIR", help="Gets the result as DIR/adapter (of method full: DIR/model).")
    parser.add_argument("--name", metavar="NAME", help="What the adapter is called on this machine (default: made up).")
    parser.add_argument("--resume", metavar="RUN", help="Go on with a run that was stopped or killed.")
    parser.add_argument("--plan", action="store_true", help="Say what would be done and what it would cost, and end.")
    parser.add_argument("--trial", action="store_true", help="With --plan: train two steps, to measure the second.")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(parser, TrainConfig, "training")


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    settings = Settings.from_environment()
    config = read_flags(options, TrainConfig)
    if options.resume:
        _refuse_options(options)
    if options.plan:
        return _plan(options, config, settings)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return _launched(options, config, settings)
    training = _training(options, config, settings)
    with stopped_by_signals(training):
        return _work(training)


def _training(options: argparse.Namespace, config: TrainConfig, settings: Settings) -> "Training":
    from llm_app.jobs.folder import RunFolder
    from llm_app.jobs.train import resume_training, start_training

    if options.resume:
        return resume_training(RunFolder.open(settings.home / "runs", options.resume), settings)
    output = Path(options.output).expanduser().absolute() if options.output else None
    return start_training(
        options.model or ModelConfig().model, datasets_of(options, settings), config, settings, name=options.name,
        output=output,
    )


def _launched(options: argparse.Namespace, config: TrainConfig, settings: Settings) -> int:
    """One of several processes of a launcher: the first one makes the run and speaks, the others join it."""
    from llm_app.jobs.folder import RunFolder
    from llm_app.jobs.train import Training
    from llm_app.jobs.train_in_place import InPlace, join_in
    from llm_app.training.processes import launched_processes

    processes = launched_processes(config.device)
    path = str(_training(options, config, settings).folder.path) if processes.is_first else ""
    folder = RunFolder(Path(processes.share(path)))
    if processes.is_first:
        return _work(Training(folder, settings, start=InPlace))
    return FAILURE if join_in(folder, settings).status == "failed" else 0


@contextlib.contextmanager
def stopped_by_signals(training: "Training") -> Iterator[None]:
    """Ctrl+C, once, means: save, and end in good order; so does SIGTERM."""
    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("stopping after this step, to save; Ctrl+C again ends at once")
        training.stop(Cancelled("Stopped. What it has is saved."))

    before = [(number, signal.signal(number, stop)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _work(training: "Training") -> int:
    """What is left of a run; gives the exit code."""
    folder = training.folder
    say(f"run {folder.id}; if it is interrupted: --resume {folder.id}")
    try:
        with contextlib.closing(training.run()) as events:
            for line, is_last in progress_lines(events):
                say(line, is_last=is_last)
    except (Cancelled, KeyboardInterrupt):
        say(f"stopped after step {training.n_done} of {training.n_total}; go on with --resume {folder.id}")
        _print_result(training)
        return INTERRUPTED
    _print_result(training)
    return 0


def _print_result(training: "Training") -> None:
    from llm_app.jobs.train_log import read_log
    from llm_app.jobs.train_result import MODEL

    written = read_log(training.folder).written
    if written is None:
        return
    why = ", the lowest validation loss" if written.is_best else ""
    say(f"the weights are those after step {written.step}{why}")
    spec = training.folder.spec()
    if written.name is not None:
        flags = ["--model", written.name] if written.place == MODEL else [
            "--model", spec["model"]["name"], "--adapter", written.name,
        ]
        say(f"chat with it: python -m llm_app chat {shlex.join(flags)}")
    print(Path(spec["output"] or training.folder.path) / written.place, flush=True)


def progress_lines(events: Iterable[Any]) -> Iterator[tuple[str, bool]]:
    """What to show, as often as it can be read, and whether it stays."""
    from llm_app.jobs.train_log import Begun, Phase

    pace: deque[Step] = deque(maxlen=SPEED_STEPS)
    validation, shown, pause = "", 0.0, 0.2 if sys.stderr.isatty() else LINE_SECONDS
    for event in events:
        match event:
            case Phase():
                yield PHASES[event.phase], False
            case Begun():
                held = f"{event.n_validation:,} for validation, {event.n_test:,} for the test"
                yield f"{event.n_train:,} examples, {held}, {event.n_steps:,} steps", True
            case Step():
                pace.append(event)
                now = time.monotonic()
                if now - shown >= pause or event.step in (1, event.n_steps):
                    shown = now
                    yield _step_line(pace, validation), False
            case Validation():
                validation = f"validation {event.loss:.4f}"
                yield f"after step {event.step}: validation loss {event.loss:.4f}", True
            case Point():
                validation = f"validation {event.metric} {event.score:.4f}"
                of = f"{event.n_training:,} training rows" if event.n_training else "training rows"
                yield f"after step {event.step}: {validation}, on {of} {event.training_score:.4f}", True
            case Note():
                yield event.text, True
            case Saved():
                continue


def _step_line(pace: "deque[Step]", validation: str) -> str:
    last, seconds = pace[-1], sum(step.seconds for step in pace)
    speed = sum(step.n_tokens for step in pace) / seconds if seconds > 0 else 0.0
    left = seconds / len(pace) * (last.n_steps - last.step)
    bar = "#" * (20 * last.step // last.n_steps)
    parts = (
        f"{last.step}/{last.n_steps} loss {last.loss:.4f}", validation, f"rate {last.learning_rate:.2e}",
        f"{speed:,.0f} tokens/s", f"about {left:,.0f} s left",
    )
    return f"[{bar:<20}] {', '.join(part for part in parts if part)}"



def _refuse_options(options: argparse.Namespace) -> None:
    names = ("model", "output", "name", "plan")
    given = given_data_flags(options) + [name for name in names if getattr(options, name)]
    given += [item.name for item, _ in options_of(TrainConfig) if hasattr(options, item.name)]
    if given:
        raise UserError(
            f"A resumed run keeps its own options; leave out {', '.join(map(flag_of, given))}.", param=given[0]
        )


def _plan(options: argparse.Namespace, config: TrainConfig, settings: Settings) -> int:
    from llm_app.engine.catalog import find_model
    from llm_app.jobs.train_plan import plan, plan_text

    entry = find_model(options.model or ModelConfig().model, settings)
    made = plan(entry, datasets_of(options, settings), config, settings, has_trial=options.trial)
    print(plan_text(made), flush=True)
    return 0
