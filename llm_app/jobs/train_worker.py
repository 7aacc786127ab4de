"""The process that trains: `python -m llm_app.jobs.train_worker RUN --parent PID`, where RUN is the folder of a run.

It tells what it does on stdout, a line an event and the outcome last, and dies with the process that started it, which
writes the log. SIGTERM makes it save and end after the step that is under way.
"""

import argparse
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from llm_app.config import Settings, quiet_environment
from llm_app.jobs.folder import RunFolder
from llm_app.logs import configure_logging

if TYPE_CHECKING:
    from llm_app.jobs.train_outcome import Stoppable

Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None  # as the module signal has them

PR_SET_PDEATHSIG = 1  # of linux/prctl.h
NICENESS = 5  # a chat beside it goes first
OOM_SCORE = "500"  # where memory runs out, this process goes, and not the one that can say so


def main(arguments: list[str] | None = None) -> int:
    """Train what the run's folder says; gives the exit code."""
    parser = argparse.ArgumentParser(prog="train_worker", description="The process that trains; `train` starts it.")
    parser.add_argument("run", type=Path, metavar="RUN", help="Folder of the run.")
    parser.add_argument("--parent", type=int, required=True, metavar="PID", help="The process that reads this one.")
    options = parser.parse_args(arguments)
    quiet_environment()
    configure_logging()
    tell = _pipe()
    _belong_to(options.parent)
    from llm_app.jobs.train_child import Outcome
    from llm_app.jobs.train_log import line_of
    from llm_app.jobs.train_outcome import outcome_last

    for told in outcome_last(RunFolder(options.run), Settings.from_environment(), stop_on_signals):
        tell(told.line() if isinstance(told, Outcome) else line_of(told))
    return 0


def stop_on_signals(trainer: "Stoppable") -> "list[tuple[signal.Signals, Handler]]":
    """From here on SIGTERM and Ctrl+C mean: save, and end in good order. Gives what they meant before."""
    def stop(number: int, frame: FrameType | None) -> None:
        trainer.stop()

    return [(number, signal.signal(number, stop)) for number in (signal.SIGTERM, signal.SIGINT)]


def _pipe() -> Callable[[dict[str, Any]], None]:
    """Writes lines to what was stdout; what libraries print goes to stderr from here on."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", errors="surrogatepass")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(line: dict[str, Any]) -> None:
        out.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        out.flush()

    return tell


def _belong_to(parent: int) -> None:
    """End with the process that started this one; where the system does not do it, writing to its pipe fails."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, encoding="ascii")
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    if os.getppid() != parent:  # it ended before this
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
