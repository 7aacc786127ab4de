"""Runs a program that a model wrote, in a child process that can do little; started as a program, it is that child.

What holds: limits on processor time, memory, file size, open files and processes; a deadline, after which the whole
process group is killed; an empty folder of its own, the only place where it may write; no environment; no network, by
a network namespace where the system allows one, and by refusing sockets everywhere. Files of the machine can be read,
but nothing leaves the child except pass or fail and the first words of the exception. It guards against what models
write by accident, not against somebody who attacks Python itself: whoever fears that runs the whole program in a
virtual machine.
Imports nothing but the standard library: the child runs this file alone.
"""

import contextlib
import ctypes
import json
import os
import runpy
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import IO, Any

CPU_SECONDS = 5
WALL_SECONDS = 20.0  # a program that sleeps uses no processor time
MEMORY_BYTES = 2**30
FILE_BYTES = 2**20
OPEN_FILES = 64
MAX_WRITES = 200  # files that may be opened to be written
POLL_SECONDS = 0.005
OUT_OF_TIME = 96  # exit status
MAX_REASON = 200

_NEW_USER, _NEW_NETWORK, _NEW_PROCESSES, _NO_NEW_PRIVILEGES = 0x10000000, 0x40000000, 0x20000000, 38
# Events of Python's audit hooks; whatever begins like this is refused.
_REFUSED = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.kill", "pty.",
    "ctypes.", "sqlite3.", "signal.pthread_kill", "resource.", "syslog.", "webbrowser.", "urllib.", "ftplib.",
)
# These take paths, which must lie in the folder.
_CHANGING = (
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "os.chflags", "os.utime", "os.setxattr", "os.removexattr", "os.lchown", "shutil.",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class SandboxUnavailable(Exception):
    """This system has no limits for processes."""


@dataclass(frozen=True)
class Outcome:
    """Whether a program came to its end, and if not, why."""

    passed: bool
    reason: str


def run_program(program: str, *, wall_seconds: float = WALL_SECONDS) -> Outcome:
    """Run Python source to its end; an exception, an early exit, a limit or the deadline is a failure.

    Raises: SandboxUnavailable where processes cannot be limited (Windows).
    """
    if os.name != "posix":
        raise SandboxUnavailable("Programs written by a model are run on Linux and macOS only.")
    # The end is told by a word that the program is not given, so that leaving early is no way to pass.
    word = secrets.token_hex(16)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as order,
        tempfile.TemporaryFile() as report,
    ):
        order.write(json.dumps({"program": program, "word": word}).encode())
        order.seek(0)
        is_late, status = _wait(folder, order, report, wall_seconds)
        report.seek(0)
        said = report.read(4 * MAX_REASON).decode(errors="replace")
    if said == word:
        return Outcome(True, "passed")
    if is_late or status in (OUT_OF_TIME, -signal.SIGXCPU):
        return Outcome(False, "timed out")
    return Outcome(False, said[:MAX_REASON] or "it ended before the tests did")


def _wait(folder: str, order: IO[bytes], report: IO[bytes], wall_seconds: float) -> tuple[bool, int]:
    """Start the child, wait for it, end all it has started: (whether the deadline passed, its exit status)."""
    environ = {
        "PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    }
    process = subprocess.Popen(  # noqa: S603 - our own file, by a list, without a shell
        [sys.executable, "-I", "-B", __file__, folder], cwd=folder, env=environ, start_new_session=True,
        stdin=order, stdout=report, stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + wall_seconds
    try:
        # Not yet reaped, the child keeps its number, so that the group that is killed is its own.
        while not _has_ended(process.pid):
            if time.monotonic() > deadline:
                return True, -signal.SIGKILL
            time.sleep(POLL_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: the group has only a dead member
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return False, process.returncode


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def main() -> None:
    """The child: read {"program", "word"}, give up what it may not do, run, report."""
    folder = os.path.realpath(sys.argv[1])
    order = json.load(sys.stdin)
    report = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    _isolate()
    _limit()
    path = os.path.join(folder, "program.py")
    with open(path, "w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(order["program"])
    sys.addaudithook(_Guard(folder))
    try:
        for name in ("mkfifo", "mknod"):  # no audit event tells of these
            delattr(os, name)
        runpy.run_path(path)
        said = order["word"]
    except BaseException as error:  # the program's own, SystemExit too: a report, not a crash
        said = f"{type(error).__name__}: {error}"[:MAX_REASON]
    os.write(report, said.encode(errors="replace"))
    os._exit(0)  # nothing the program left behind runs after its report


def _isolate() -> None:
    """Where the system allows: no network, and processes of its own that all end with the first one."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if libc.unshare(_NEW_USER | _NEW_NETWORK | _NEW_PROCESSES) != 0:
        return
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        # The first process of a namespace takes no signal but the last one.
        is_stopped = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
        os._exit(OUT_OF_TIME if is_stopped else 0)


def _limit() -> None:
    import resource

    limits = {
        "RLIMIT_CPU": (CPU_SECONDS, CPU_SECONDS + 1), "RLIMIT_AS": (MEMORY_BYTES,) * 2,
        "RLIMIT_FSIZE": (FILE_BYTES,) * 2, "RLIMIT_NOFILE": (OPEN_FILES,) * 2, "RLIMIT_NPROC": (0, 0),
        "RLIMIT_CORE": (0, 0),
    }
    for name, values in limits.items():
        with contextlib.suppress(AttributeError, ValueError, OSError):  # not on every system, or lower already
            resource.setrlimit(getattr(resource, name), values)


class _Guard:
    """An audit hook; Python offers no way to take it off again."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._n_writes = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | bytes) and os.path.isdir(path):
                self._check(event, os.path.join(os.fsdecode(path), ""))  # names relative to it are not seen here
            if flags & _WRITING:
                self._check(event, path)
                self._n_writes += 1
                if self._n_writes > MAX_WRITES:
                    raise PermissionError(f"more than {MAX_WRITES} files are not allowed here")
        elif event.startswith(_CHANGING):
            paths = [item for item in arguments if isinstance(item, str | bytes | os.PathLike)]
            for path in paths or [""]:
                self._check(event, path)
        elif event.startswith(_REFUSED):
            raise PermissionError(f"{event} is not allowed here")

    def _check(self, event: str, path: Any) -> None:
        if isinstance(path, int):  # a file that is open already
            return
        real = os.path.realpath(os.fsdecode(path))
        if real != self._folder and not real.startswith(self._folder + os.sep):
            raise PermissionError(f"{event} outside of its own folder is not allowed here")


if __name__ == "__main__":
    main()
