"""The process that trains, as the program that started it sees it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import llm_app
from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.train_log import Told, told_of

WORKER = "llm_app.jobs.train_worker"
END_SECONDS = 10.0  # for a process that has said its last word to be gone
KILLED = (
    "The training process was killed by the system, probably for want of memory. Free some and resume the run, or start"
    " one with a smaller batch or a shorter cut-off length."
)


class ProcessLost(UserError):
    """The training process ended without saying why."""

    status, code = 500, "training_process_lost"


@dataclass(frozen=True)
class Outcome:
    """How the work ended: all done, stopped with what there was saved, or failed for a reason that a person is told."""

    status: Literal["done", "stopped", "failed"]
    reason: str = ""
    code: str = ""

    def line(self) -> dict[str, str]:
        """As the last line of what a process tells."""
        return {"type": "outcome", "status": self.status, "reason": self.reason, "code": self.code}


class Doing(Protocol):
    """Training under way, in a process of its own or in this one. Iterate it, then ask how it ended."""

    def __iter__(self) -> Iterator[Told]:
        """What it tells."""
        ...

    def end_soon(self) -> None:
        """Ask it to save and end, within one step. For any thread."""
        ...

    def kill(self) -> None:
        """End it at once, saving nothing. For any thread."""
        ...

    def outcome(self) -> Outcome:
        """How it ended. Raises: UserError if it did not say."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class TrainChild:
    """A process that trains what the run's folder says. Iterate what it tells; then ask for its outcome.

    It dies with the thread that started it, which is the one to iterate.
    """

    def __init__(self, folder: RunFolder, settings: Settings, n_threads: int) -> None:
        # The lock of the log goes with it: while it lives, nobody else can go on with the run.
        self._process = subprocess.Popen(  # noqa: S603 - this program itself
            [sys.executable, "-m", WORKER, str(folder.path), "--parent", str(os.getpid())],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=Path(llm_app.__file__).parent.parent,
            env=os.environ | _environment(settings, n_threads), pass_fds=(folder.fileno(),),
            start_new_session=True,  # Ctrl+C is for this side, which asks for an end in good order
        )
        self._outcome: Outcome | None = None

    def __iter__(self) -> Iterator[Told]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith(b"\n"):  # a kill tore it
                return
            event: Mapping[str, Any] = json.loads(line)
            if event["type"] == "outcome":
                self._outcome = Outcome(event["status"], event["reason"], event["code"])
            elif (told := told_of(event)) is not None:
                yield told

    def end_soon(self) -> None:
        """Ask it to save and end, within one step. For any thread."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once. For any thread."""
        self._process.kill()

    def outcome(self) -> Outcome:
        """How it ended, once it has told all.

        Raises: ProcessLost.
        """
        code = self._process.wait()
        if self._outcome is not None:
            return self._outcome
        if code == -signal.SIGTERM:  # before there was anything to save
            return Outcome("stopped")
        if code == -signal.SIGKILL:
            raise ProcessLost(KILLED)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise ProcessLost(f"The training process ended without a word ({how}); the log of this program may say more.")

    def close(self) -> None:
        """Let go of it; one that still runs is killed."""
        assert self._process.stdout is not None
        try:
            self._process.wait(END_SECONDS if self._outcome is not None else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def _environment(settings: Settings, n_threads: int) -> dict[str, str]:
    """The settings of this program, and as many threads as the run began with: sums depend on it."""
    found = {
        "PROOFBENCH_HOME": str(settings.home), "PROOFBENCH_PUBLIC": "1" if settings.is_public else "0",
        "OMP_NUM_THREADS": str(n_threads), "MKL_NUM_THREADS": str(n_threads), "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    return found if settings.data is None else found | {"PROOFBENCH_DATA": str(settings.data)}
